"""Routes of bans, limits, the audit log and what is read anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.web.iweb import IRequest

from gateway.api.answers import (
    AuditList,
    BanList,
    LimitList,
    LimitRow,
    ReloadedRow,
    audit_row,
    ban_row,
)
from gateway.api.audit import AuditLog, Outcome
from gateway.api.bodies import BanBody, EmptyBody, NetworkBody
from gateway.api.exchange import Endpoint, Exchange, query_number
from gateway.api.listing import array
from gateway.errors import BadRequestError, StoreError, StoreFailedError
from gateway.ops.reloading import Reloaded
from gateway.ops.usage import ProcessUsage
from gateway.policy.access import AddressRules
from gateway.policy.bans import Ban
from gateway.policy.budget import Budget
from gateway.policy.limits import Counted
from gateway.server.bans import BanTable
from gateway.server.links import Links
from gateway.server.mappings import Mappings

MOST_ENTRIES: Final = 1000  # of the audit log in one answer


class SecurityRoutes:
    """Keep out, count and look back."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        mappings: Mappings,
        links: Links,
        bans: BanTable,
        audit: AuditLog,
        connections: Counted,
        api_memory: Budget,
        handshakes: Mapping[str, Counted],
        reload: Callable[[], Reloaded],
        usage: Callable[[], ProcessUsage],
    ) -> None:
        self._exchange = exchange
        self._mappings = mappings
        self._links = links
        self._bans = bans
        self._audit = audit
        self._connections = connections
        self._api_memory = api_memory
        self._handshakes = handshakes
        self._reload = reload
        self._usage = usage

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("POST", "/api/ban/add", self._add_ban),
            Endpoint("POST", "/api/ban/remove", self._remove_ban),
            Endpoint("GET", "/api/ban/list", self._list_bans),
            Endpoint("GET", "/api/audit", self._list_audit),
            Endpoint("POST", "/api/reload", self._read_anew),
            Endpoint("GET", "/api/limits", self._list_limits),
        ]

    async def _add_ban(self, request: IRequest) -> bytes:
        body = self._exchange.body(request, BanBody)
        act = self._exchange.act(request, "ban.add", body.network)
        if _holds(body.network, act.caller.address):
            raise BadRequestError(
                detail=f"{body.network}: you are there yourself, at "
                f"{act.caller.address}, and could not take it back"
            )
        adding = self._bans.add(body.network, body.duration, body.reason)
        ban = await self._exchange.change(
            act, adding, lambda ban: Outcome(ban.network, after=_ban_facts(ban))
        )
        self._mappings.enforce_bans()
        return self._exchange.reply(request, "ban_added", ban_row(ban))

    async def _remove_ban(self, request: IRequest) -> bytes:
        network = self._exchange.body(request, NetworkBody).network
        act = self._exchange.act(request, "ban.remove", network)
        removing = self._bans.remove(network)
        ban = await self._exchange.change(
            act, removing, lambda gone: Outcome(gone.network, _ban_facts(gone))
        )
        return self._exchange.reply(request, "ban_removed", ban_row(ban))

    async def _list_bans(self, request: IRequest) -> bytes:
        return await self._exchange.reply_list(
            request,
            "bans_listed",
            lambda count: BanList(bans=[], count=count),
            "bans",
            array(map(ban_row, self._bans.views())),
        )

    async def _list_audit(self, request: IRequest) -> bytes:
        before = query_number(request, b"before", None, 1 << 62)
        count = query_number(request, b"count", 100, MOST_ENTRIES) or 100
        try:
            found = await self._audit.entries(before, count)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        return await self._exchange.reply_list(
            request,
            "audit_listed",
            lambda count: AuditList(entries=[], count=count),
            "entries",
            array(map(audit_row, found)),
        )

    async def _read_anew(self, request: IRequest) -> bytes:
        self._exchange.body(request, EmptyBody)
        act = self._exchange.act(request, "reload", "configuration")
        done = await self._exchange.change(act, self._reloaded(), _reload_outcome)
        return self._exchange.reply(request, "reloaded", _reloaded_row(done))

    async def _reloaded(self) -> Reloaded:
        return self._reload()

    def _list_limits(self, request: IRequest) -> bytes:
        crowd, slots = self._mappings.crowd, self._links.slots
        memory, usage = crowd.memory, self._usage()
        rows = [
            _limit_row("limits.connections", crowd.slots),
            _limit_row("limits.connections_per_ip", crowd.per_address),
            _limit_row("limits.mappings", self._mappings.places),
            _limit_row("limits.tunnels", slots),
            _limit_row("limits.streams_per_tunnel", self._links.stream_places),
            _limit_row("limits.api_connections", self._connections),
            *(
                _limit_row(f"limits.handshakes of {port}", counted)
                for port, counted in self._handshakes.items()
            ),
            _memory_row("limits.memory", memory, memory.refused),
            _memory_row("limits.api_memory", self._api_memory, self._api_memory.broken),
            LimitRow(
                name="descriptors",
                limit=usage.descriptor_limit,
                active=usage.descriptors,
                total=0,
                rejected=0,
            ),
        ]
        found = LimitList(limits=rows, banned=self._bans.rejected)
        return self._exchange.reply(request, "limits_listed", found)


def _holds(network: str, address: str) -> bool:
    try:
        return AddressRules((network,)).allows(address)
    except ValueError:
        return False  # it is told by what follows


def _reloaded_row(done: Reloaded) -> ReloadedRow:
    return ReloadedRow(
        read_anew=done.certificates, applied=done.applied, needs_restart=done.restart
    )


def _reload_outcome(done: Reloaded) -> Outcome:
    return Outcome("configuration", after=_reloaded_row(done).model_dump(mode="json"))


def _ban_facts(ban: Ban) -> object:
    return ban_row(ban).model_dump(mode="json")


def _memory_row(name: str, memory: Budget, rejected: int) -> LimitRow:
    return LimitRow(
        name=name, limit=memory.limit, active=memory.used, total=0, rejected=rejected
    )


def _limit_row(name: str, counted: Counted) -> LimitRow:
    return LimitRow(
        name=name,
        limit=counted.limit,
        active=counted.active,
        total=counted.total,
        rejected=counted.rejected,
    )
