"""Routes of agents and of their keys."""

from __future__ import annotations

from twisted.web.iweb import IRequest

from gateway.api.answers import (
    AgentKeyList,
    AgentList,
    agent_row,
    key_row,
    new_key,
)
from gateway.api.audit import Outcome
from gateway.api.bodies import (
    AgentKeyBody,
    AgentKeyUpdateBody,
    AgentNameBody,
    RetireBody,
)
from gateway.api.exchange import Endpoint, Exchange
from gateway.api.listing import array
from gateway.policy.credentials import AgentCredential
from gateway.server.credentials import Credentials, KeyChange
from gateway.server.links import Links
from gateway.server.traffic import Served, Traffic


class AgentRoutes:
    """Show agents; make, change and show their keys."""

    def __init__(
        self,
        exchange: Exchange,
        links: Links,
        credentials: Credentials,
        traffic: Traffic,
    ) -> None:
        self._exchange = exchange
        self._links = links
        self._credentials = credentials
        self._traffic = traffic

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("GET", "/api/agents", self._agents),
            Endpoint("POST", "/api/agent-key/create", self._create_key),
            Endpoint("POST", "/api/agent-key/rotate", self._rotate_key),
            Endpoint("POST", "/api/agent-key/update", self._update_key),
            Endpoint("POST", "/api/agent-key/retire", self._retire_key),
            Endpoint("POST", "/api/agent-key/revoke", self._revoke_key),
            Endpoint("GET", "/api/agent-key/list", self._list_keys),
        ]

    async def _agents(self, request: IRequest) -> bytes:
        served = (await self._traffic.sums()).agents
        is_open = self._links.open_to_all
        return await self._exchange.reply_list(
            request,
            "agents_listed",
            lambda count: AgentList(agents=[], count=count, open_to_all=is_open),
            "agents",
            array(
                agent_row(view, served.get(view.name, Served()))
                for view in self._links.each()
            ),
        )

    async def _create_key(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, AgentKeyBody)
        act = self._exchange.act(request, "agent_key.create", body.name)
        making = self._credentials.create(body.name, body.scope(), body.expires_in)
        made = await self._exchange.change(act, making, _change)
        row = new_key(made.secret, made.credential)
        return self._exchange.reply(request, "agent_key_created", row)

    async def _rotate_key(self, request: IRequest) -> bytes:
        name = self._exchange.body(request, AgentNameBody).name
        act = self._exchange.act(request, "agent_key.rotate", name)
        making = self._credentials.rotate(name)
        made = await self._exchange.change(act, making, _change)
        row = new_key(made.secret, made.credential)
        return self._exchange.reply(request, "agent_key_created", row)

    async def _update_key(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, AgentKeyUpdateBody)
        act = self._exchange.act(request, "agent_key.update", body.name)
        changing = self._credentials.update(body.name, body.limits(), body.lifetime())
        made = await self._exchange.change(act, changing, _change)
        row = key_row(made.credential)
        return self._exchange.reply(request, "agent_key_updated", row)

    async def _retire_key(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, RetireBody)
        act = self._exchange.act(request, "agent_key.retire", body.name)
        retiring = self._credentials.retire(body.name, force=body.force)
        made = await self._exchange.change(act, retiring, _change)
        row = key_row(made.credential)
        return self._exchange.reply(request, "agent_key_retired", row)

    async def _revoke_key(self, request: IRequest) -> bytes:
        name = self._exchange.body(request, AgentNameBody).name
        act = self._exchange.act(request, "agent_key.revoke", name)
        revoking = self._credentials.revoke(name)
        gone = await self._exchange.change(
            act, revoking, lambda made: Outcome(name, _facts(made.before))
        )
        row = key_row(gone.credential)
        return self._exchange.reply(request, "agent_key_revoked", row)

    async def _list_keys(self, request: IRequest) -> bytes:
        return await self._exchange.reply_list(
            request,
            "agent_keys_listed",
            lambda count: AgentKeyList(keys=[], count=count),
            "keys",
            array(
                key_row(credential, source, expired=expired)
                for credential, source, expired in self._credentials.views()
            ),
        )


def _change(made: KeyChange) -> Outcome:
    name = made.credential.name
    return Outcome(name, _facts(made.before), _facts(made.credential))


def _facts(credential: AgentCredential | None) -> object:
    return None if credential is None else key_row(credential).model_dump(mode="json")
