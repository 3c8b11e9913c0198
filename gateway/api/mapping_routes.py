"""Routes of mappings."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.iweb import IRequest

from gateway.api.answers import (
    ChangedRow,
    MappingList,
    RemovedRow,
    changed_row,
    mapping_row,
)
from gateway.api.audit import Outcome, mapping_facts
from gateway.api.bodies import (
    CreateBody,
    DisableBody,
    EnableBody,
    ReloadBody,
    RemoveBody,
    UpdateBody,
)
from gateway.api.exchange import Endpoint, Exchange
from gateway.api.listing import array
from gateway.errors import BadRequestError
from gateway.policy.addresses import PORTS
from gateway.policy.mapping import MappingChanges
from gateway.server.links import Links
from gateway.server.mappings import Mappings, MappingView


class MappingRoutes:
    """Make, change, remove and show mappings."""

    def __init__(self, exchange: Exchange, mappings: Mappings, links: Links) -> None:
        self._exchange = exchange
        self._mappings = mappings
        self._links = links

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("POST", "/api/mapping/create", self._create),
            Endpoint("POST", "/api/mapping/remove", self._remove),
            Endpoint("POST", "/api/mapping/update", self._update),
            Endpoint("POST", "/api/mapping/enable", self._enable),
            Endpoint("POST", "/api/mapping/disable", self._disable),
            Endpoint("POST", "/api/mapping/reload", self._reload),
            Endpoint("GET", "/api/mapping/list", self._list),
            Endpoint("GET", "/api/mapping/<port:port>", self._get),
        ]

    async def _create(self, request: IRequest) -> bytes:
        wish = self._exchange.body(request, CreateBody).wish()
        act = self._exchange.act(request, "mapping.create", str(wish.port))
        view = await self._exchange.change(act, self._mappings.create(wish), _change)
        return self._exchange.reply(request, "mapping_created", self._changed(view))

    async def _remove(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, RemoveBody)
        act = self._exchange.act(request, "mapping.remove", str(body.port))
        removal = self._mappings.remove(body.port, body.protocol, body.drain)
        await self._exchange.change(act, removal, _removal)
        return self._exchange.reply(
            request, "mapping_removed", RemovedRow(port=body.port)
        )

    async def _update(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, UpdateBody)
        act = self._exchange.act(request, "mapping.update", str(body.port))
        update = self._mappings.update(body.port, body.changes(), body.protocol)
        view = await self._exchange.change(act, update, _change)
        return self._exchange.reply(request, "mapping_updated", self._changed(view))

    async def _enable(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, EnableBody)
        changes = MappingChanges(enabled=True)
        enabling = self._mappings.update(body.port, changes, body.protocol)
        return await self._switch(request, "mapping.enable", body, enabling)

    async def _disable(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, DisableBody)
        disabling = self._mappings.disable(body.port, body.protocol, close=body.close)
        return await self._switch(request, "mapping.disable", body, disabling)

    async def _reload(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, ReloadBody)
        reloading = self._mappings.reload(body.port, body.protocol)
        return await self._switch(request, "mapping.reload", body, reloading)

    async def _switch(
        self,
        request: IRequest,
        action: str,
        body: EnableBody,
        change: Coroutine[Deferred[Any], Any, MappingView],
    ) -> bytes:
        act = self._exchange.act(request, action, str(body.port))
        view = await self._exchange.change(act, change, _change)
        return self._exchange.reply(request, "mapping_updated", self._changed(view))

    async def _list(self, request: IRequest) -> bytes:
        enabled = self._exchange.settings.tunnel_enabled
        return await self._exchange.reply_list(
            request,
            "mappings_listed",
            lambda count: MappingList(mappings=[], count=count, use_tunnel=enabled),
            "mappings",
            array(map(mapping_row, self._mappings.each())),
        )

    def _get(self, request: IRequest, port: int) -> bytes:
        if port not in PORTS:
            raise BadRequestError(detail=f"port {port} is not from 1 to 65535")
        return self._exchange.reply(
            request, "mapping_found", mapping_row(self._mappings.get(port))
        )

    def _changed(self, view: MappingView) -> ChangedRow:
        reachable = self._links.reachable(view.mapping.agent)
        return changed_row(view, tunnel_connected=reachable)


def _change(view: MappingView) -> Outcome:
    before = None if view.before is None else mapping_facts(view.before)
    return Outcome(str(view.mapping.port), before, mapping_facts(view.mapping))


def _removal(view: MappingView) -> Outcome:
    return Outcome(str(view.mapping.port), mapping_facts(view.mapping))
