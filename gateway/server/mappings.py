"""Stored mappings and running edges: create, remove, update, restore."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.edge.tcp import Crowd, TcpEdge, Visit
from gateway.errors import (
    AgentMappingError,
    BadRequestError,
    BadTargetError,
    CallerError,
    ConfiguredMappingError,
    ListenError,
    MappingMissingError,
    NoFreePortError,
    NotAvailableError,
    PortForbiddenError,
    PortInUseError,
    PortMappedError,
    PortPrivilegedError,
    StoppingError,
    StoreError,
    StoreFailedError,
    TargetDeniedError,
    TooManyMappingsError,
    TunnelDisabledError,
    UnresolvableError,
)
from gateway.interfaces import IListening, IMappingStore, INetwork
from gateway.ops.events import Emit, unheard
from gateway.ops.refusals import RefusalLog
from gateway.policy.addresses import join_host_port
from gateway.policy.credentials import AgentScope
from gateway.policy.mapping import (
    Mapping,
    MappingChanges,
    MappingWish,
    Match,
    Target,
    changed,
    resolve_target_port,
    wants_tunnel,
)
from gateway.policy.ports import PublicPorts
from gateway.server.routing import Router
from gateway.texts import Texts
from gateway.wire.plain import cleaned, is_plain

_IN_USE: Final = frozenset({errno.EADDRINUSE})
_PRIVILEGED: Final = frozenset({errno.EACCES, errno.EPERM})
LONGEST_TEXT: Final = 255  # characters of a stored name, agent or label
LOOK_UP_SECONDS: Final = 5.0
_LONGEST_WAIT_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 60.0  # after the store failed
_MOST_TRIES: Final = 3  # of a change that others overtake
Key = tuple[str, int]


class MappingView(NamedTuple):
    """A mapping and how it fares.

    Attributes:
        state: "listening", "disabled", "error" or "draining".
        error: why it does not listen, or None.
        connections: visitors whose socket is open.
        total: visitors ever admitted.
        rejected: visitors turned away, by the setting that is the cause.
        source: "stored", "agent" for one that an agent asked for, "config" for one
            that stands in the configuration.
    """

    mapping: Mapping
    state: str
    error: str | None
    connections: int
    source: str
    total: int = 0
    rejected: Map[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """What the mapping rules need to know.

    Attributes:
        tunnel_enabled: whether the tunnel service is on.
        port_offset: public port less target port of tunnel mappings.
        max_mappings: stored and agent-requested ones together.
        refusal: tells why (host, address, port) may not be dialled, or None.
    """

    tunnel_enabled: bool
    port_offset: int
    max_mappings: int
    refusal: Callable[[str, str, int], str | None]


def _target(mapping: Mapping) -> tuple[bool, str, int]:
    return mapping.use_tunnel, mapping.target_host, mapping.target_port


class _MovedError(Exception):
    """A mapping leads elsewhere than when its target was looked up."""


def _plain(mapping: Mapping) -> Mapping:
    """Return a stored mapping with texts that can be shown.

    Older releases, and whoever writes into the database, accept more than we do.
    """
    places = [(one.host, one.agent or "") for one in mapping.targets]
    texts = chain([mapping.name], *places, *mapping.labels.items())
    if all(map(is_plain, texts)):
        return mapping
    return replace(
        mapping,
        name=cleaned(mapping.name, LONGEST_TEXT),
        targets=tuple(
            replace(
                one,
                host=cleaned(one.host, LONGEST_TEXT),
                agent=one.agent and cleaned(one.agent, LONGEST_TEXT),
            )
            for one in mapping.targets
        ),
        labels={
            cleaned(key, LONGEST_TEXT): cleaned(text, LONGEST_TEXT)
            for key, text in mapping.labels.items()
        },
    )


class _Served:
    """A mapping, its port, and where it comes from."""

    __slots__ = ("edge", "error", "expiry", "listening", "source")

    def __init__(self, edge: TcpEdge, source: str) -> None:
        self.edge = edge
        self.source = source
        self.listening: IListening | None = None
        self.error: str | None = None
        self.expiry: IDelayedCall | None = None

    def view(self) -> MappingView:
        edge = self.edge
        closed = "error" if edge.mapping.enabled else "disabled"
        state = closed if self.listening is None else "listening"
        return MappingView(
            edge.mapping,
            state,
            self.error,
            len(edge.visits),
            self.source,
            edge.total,
            dict(edge.rejected),
        )

    def stop_expiry(self) -> None:
        expiry, self.expiry = self.expiry, None
        if expiry is not None and expiry.active():
            expiry.cancel()

    def stop_listening(self) -> None:
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.stopListening()


class Mappings:
    """All mappings of this gateway; the store and the ports always agree."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        network: INetwork,
        store: IMappingStore,
        ports: PublicPorts,
        router: Router,
        crowd: Crowd,
        settings: MappingSettings,
        texts: Texts,
        wall_clock: Callable[[], float],
        randrange: Callable[[int], int],
        emit: Emit = unheard,
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._network = network
        self._store = store
        self._ports = ports
        self._router = router
        self._crowd = crowd
        self._settings = settings
        self._texts = texts
        self._wall_clock = wall_clock
        self._randrange = randrange
        self._served: dict[Key, _Served] = {}
        self._draining: dict[TcpEdge, IDelayedCall] = {}
        self._lock = DeferredLock()
        self._full = RefusalLog(clock, "visitor", "Full", emit)
        self._strangers = RefusalLog(clock, "visitor", emit=emit)
        self._stopping = False

    # -- questions ---------------------------------------------------------------

    def views(self) -> list[MappingView]:
        """Return all mappings, ordered by port."""
        return list(self.each())

    def each(self) -> Iterator[MappingView]:
        """Return all mappings, ordered by port, each as it is when it is taken.

        Those that are removed meanwhile are left out.
        """
        for key in sorted(self._served, key=lambda key: (key[1], key[0])):
            served = self._served.get(key)
            if served is not None:
                yield served.view()

    def get(self, port: int, protocol: str = "tcp") -> MappingView:
        """Return one mapping.

        Raises:
            MappingMissingError: there is none.
        """
        return self._find(protocol, port).view()

    def _find(self, protocol: str, port: int) -> _Served:
        served = self._served.get((protocol, port))
        if served is None:
            raise MappingMissingError(port=port)
        return served

    def public_place(self, port: int) -> str | None:
        """Return the address that a public port is open on, or None.

        An empty address means all interfaces.
        """
        served = self._served.get(("tcp", port))
        if served is None or served.listening is None:
            return None
        return served.edge.mapping.listen

    @property
    def visitors(self) -> int:
        """Open visitor sockets, those of removed mappings included."""
        return sum(len(edge.visits) for edge in self.edges())

    # -- start --------------------------------------------------------------------

    async def restore(self) -> None:
        """Serve every stored mapping; one that cannot be does not stop the others.

        Raises:
            StoreError: the store cannot be read at all.
        """
        stored = await self._store.load()
        for fault in stored.faults:
            self.log.error("stored mapping passed over: {fault}", fault=fault)
        for mapping in map(_plain, stored.mappings):
            taken = self._served.get((mapping.protocol, mapping.port))
            if taken is not None:
                self.log.error(
                    "stored mapping on port {port} passed over: the configuration "
                    "uses its port",
                    port=mapping.port,
                )
                continue
            served = self._place(mapping, "stored")
            self._serve(served)
            self._plan_expiry(served)

    def serve_configured(self, mapping: Mapping) -> None:
        """Serve a mapping that stands in the configuration."""
        self._serve(self._place(mapping, "config"))

    def _serve(self, served: _Served) -> None:
        """Open the port of a known mapping, or note why not."""
        mapping = served.edge.mapping
        if not mapping.enabled:
            served.error = None
            return
        try:
            if served.source == "stored":
                self._ports.check(mapping.port)  # the rules may have changed
            if mapping.use_tunnel and not self._settings.tunnel_enabled:
                raise TunnelDisabledError()
            served.listening = self._reserve(served.edge)
            served.error = None
            self._accept(served)
        except CallerError as fault:
            served.error = str(fault)
            self.log.error(
                "mapping on port {port} cannot be served: {fault}",
                port=mapping.port,
                fault=fault,
            )
            self._tell("error", served)

    def _tell(self, action: str, served: _Served) -> None:
        view = served.view()
        mapping = view.mapping
        self._emit(
            "mapping",
            action,
            port=mapping.port,
            protocol=mapping.protocol,
            mapping_name=mapping.name,
            use_tunnel=mapping.use_tunnel,
            agent=mapping.agent,
            source=view.source,
            state=view.state,
            error=view.error,
        )

    # -- changes --------------------------------------------------------------------

    def _whole(
        self, change: Callable[..., Coroutine[Any, Any, MappingView]], *given: object
    ) -> Deferred[MappingView]:
        """Make one change after another, each of them to its end.

        Cancelling ends the waiting alone: a store may carry out a call that was
        cancelled, and would then not agree with the ports.
        """
        outcome: Deferred[MappingView] = Deferred()
        self._lock.run(change, *given).chainDeferred(outcome)
        return outcome

    async def create(self, wish: MappingWish) -> MappingView:
        """Make a mapping: reserve the port, store it, then accept.

        Raises:
            CallerError: why not; nothing is left of the attempt.
        """
        use_tunnel = self._check_wish(wish)
        addresses = None if use_tunnel else await self._look_up(wish.target_host or "")
        return await self._whole(self._create, wish, addresses)

    async def _create(
        self, wish: MappingWish, addresses: list[str] | None
    ) -> MappingView:
        """Make a mapping to a target with these addresses; None = by an agent."""
        use_tunnel = self._check(wish)
        served = self._open_port(wish, use_tunnel, "stored")
        mapping = served.edge.mapping
        try:
            if addresses is not None:
                self._judge(mapping, addresses)
            stored = await self._store.insert(mapping)
        except BaseException as fault:
            self._forget(served)
            served.stop_listening()
            if isinstance(fault, StoreError):
                raise StoreFailedError(detail=str(fault)) from fault
            raise
        served.edge.mapping = stored
        if stored.enabled:
            self._accept(served)
        else:
            served.stop_listening()
        self._plan_expiry(served)
        self._tell("created", served)
        return served.view()

    async def _look_up(self, host: str) -> list[str]:
        """Return the addresses of a direct target.

        Never called by a change that others wait for: a name server may be silent.

        Raises:
            BadTargetError: there is no target, or its name has no address.
        """
        if not host:
            raise BadTargetError(detail="a direct mapping needs a target host")
        look_up = self._network.resolve(host).addTimeout(LOOK_UP_SECONDS, self._clock)
        try:
            return await look_up
        except UnresolvableError as fault:
            why = str(fault)
        except DeferredTimeoutError:
            why = f"no answer from the name server within {LOOK_UP_SECONDS:g} seconds"
        raise BadTargetError(detail=f"{host!r} does not resolve: {why}")

    def _judge(self, mapping: Mapping, addresses: list[str]) -> None:
        """Judge the target of a direct mapping; it is judged again at each dial.

        Raises:
            TargetDeniedError: none of its addresses may be dialled.
        """
        host, port = mapping.target_host, mapping.target_port
        refusals = [self._settings.refusal(host, one, port) for one in addresses]
        if refusals and None not in refusals:
            raise TargetDeniedError(host=host, port=port, detail=refusals[0])

    def _check(self, wish: MappingWish) -> bool:
        """Judge what can be judged before a port is touched."""
        use_tunnel = self._check_wish(wish)
        if wish.port and (wish.protocol, wish.port) in self._served:
            raise PortMappedError(port=wish.port)
        if len(self._served) >= self._settings.max_mappings:
            raise TooManyMappingsError(limit=self._settings.max_mappings)
        return use_tunnel

    def _check_wish(self, wish: MappingWish) -> bool:
        """Judge a wish, whatever mappings there are."""
        if self._stopping:
            raise StoppingError()
        if wish.protocol != "tcp":
            raise NotAvailableError(feature=f"protocol {wish.protocol}")
        use_tunnel = wants_tunnel(wish, tunnel_enabled=self._settings.tunnel_enabled)
        if use_tunnel and not self._settings.tunnel_enabled:
            raise TunnelDisabledError()
        if wish.port:
            self._ports.check(wish.port)
        return use_tunnel

    def _open_port(
        self,
        wish: MappingWish,
        use_tunnel: bool,
        source: str,
        scope: AgentScope | None = None,
    ) -> _Served:
        """Reserve the wished port, or the first free one that can be had."""
        if wish.port:
            if scope is not None and not scope.has_port(wish.port):
                raise PortForbiddenError(port=wish.port, ports=scope.ports)
            return self._try_port(wish, use_tunnel, source)
        taken = {port for _, port in self._served}
        for port in self._ports.pick(taken, self._randrange):
            if scope is not None and not scope.has_port(port):
                continue
            try:
                return self._try_port(replace(wish, port=port), use_tunnel, source)
            except (PortInUseError, PortPrivilegedError):
                continue
        raise NoFreePortError(first=self._ports.first, last=self._ports.last)

    def _try_port(self, wish: MappingWish, use_tunnel: bool, source: str) -> _Served:
        now = int(self._wall_clock())
        target_port = resolve_target_port(
            wish, use_tunnel=use_tunnel, offset=self._settings.port_offset
        )
        mapping = Mapping(
            protocol=wish.protocol,
            port=wish.port,
            listen=wish.listen,
            targets=(
                Target(
                    host=wish.target_host or "",
                    port=target_port,
                    use_tunnel=use_tunnel,
                    agent=wish.agent,
                ),
            ),
            name=wish.name,
            labels=dict(wish.labels),
            rules=wish.rules,
            enabled=wish.enabled,
            expires_at=None if wish.expires_in is None else now + wish.expires_in,
            created_at=now,
            updated_at=now,
        )
        edge = self._edge(mapping)
        listening = self._reserve(edge)
        served = self._place(mapping, source, edge)
        served.listening = listening
        return served

    def _place(
        self, mapping: Mapping, source: str, edge: TcpEdge | None = None
    ) -> _Served:
        edge = edge or self._edge(mapping)
        served = _Served(edge, source)
        self._served[mapping.protocol, mapping.port] = served
        return served

    def _edge(self, mapping: Mapping) -> TcpEdge:
        return TcpEdge(
            mapping,
            self._crowd,
            self._router.admit,
            lambda addr, cause: self._say_refused(mapping.port, addr, cause),
        )

    def _say_refused(self, port: int, addr: IAddress | None, cause: str) -> None:
        limits = {
            "limits.connections": self._crowd.slots.limit,
            "limits.memory": self._crowd.memory.limit,
            "limits.connections_per_ip": self._crowd.addresses.limit,
        }
        host = getattr(addr, "host", "?")
        if cause in limits:
            self._full.note(host, f"{cause} ({limits[cause]}) is reached")
        elif cause in ("max_connections", "max_connections_per_ip"):
            self._full.note(host, f"{cause} of port {port} is reached")
        else:
            self._strangers.note(host, f"port {port}: {cause}")

    def edges(self) -> list[TcpEdge]:
        """Return the edges of all mappings, and of removed ones with visitors."""
        return [*(one.edge for one in self._served.values()), *self._draining]

    def served_edges(self) -> list[TcpEdge]:
        """Return the edges of all mappings, ordered by port."""
        keys = sorted(self._served, key=lambda key: (key[1], key[0]))
        return [self._served[key].edge for key in keys]

    def visits(self) -> list[Visit]:
        """Return every visit, those of removed mappings included."""
        return [visit for edge in self.edges() for visit in edge.visits]

    def enforce_bans(self) -> None:
        """Send visitors away who are banned now."""
        for edge in self.edges():
            edge.enforce_bans()

    @property
    def crowd(self) -> Crowd:
        """What the visitors of all mappings share."""
        return self._crowd

    def _forget(self, served: _Served) -> None:
        mapping = served.edge.mapping
        self._served.pop((mapping.protocol, mapping.port), None)

    def _reserve(self, edge: TcpEdge) -> IListening:
        """Bind and listen, without accepting yet."""
        mapping = edge.mapping
        port, address = mapping.port, mapping.listen
        try:
            listening: IListening = self._network.listen(address, port, edge)
        except OSError as fault:
            detail = fault.strerror or str(fault)
            if fault.errno in _IN_USE:
                raise PortInUseError(port=port, detail=detail) from fault
            if fault.errno == errno.EADDRNOTAVAIL:
                detail = f"listen: {address} is no address of this machine"
                raise BadRequestError(detail=detail) from fault
            if fault.errno in _PRIVILEGED:
                raise PortPrivilegedError(port=port) from fault
            raise ListenError(
                address=address or "all interfaces", port=port, detail=detail
            ) from fault
        return listening

    def _accept(self, served: _Served) -> None:
        mapping = served.edge.mapping
        if served.listening is None:
            return
        served.listening.startAccepting()
        way = f"agent {mapping.agent or 'any'}" if mapping.use_tunnel else "direct"
        self.log.info(
            "{phrase}: port {port} to {target} ({way})",
            phrase=self._texts("forward_started"),
            port=mapping.port,
            target=join_host_port(
                mapping.target_host or "the agent", mapping.target_port
            ),
            way=way,
        )

    async def remove(
        self, port: int, protocol: str = "tcp", drain_seconds: float = 0.0
    ) -> MappingView:
        """Close the port at once and forget the mapping.

        Args:
            port: public port.
            protocol: of the public port.
            drain_seconds: how long visitors may stay; 0 = they are closed now.

        Raises:
            MappingMissingError: there is none.
            AgentMappingError: an agent asked for it.
            StoreFailedError: it is still stored, and still served.
        """
        return await self._whole(self._remove, port, protocol, drain_seconds)

    async def _remove(
        self, port: int, protocol: str, drain_seconds: float
    ) -> MappingView:
        served = self._own(protocol, port)
        try:
            await self._store.delete(Match(protocol, port))
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        view = served.view()
        self._withdraw(served, drain_seconds)
        return view._replace(state="draining" if served.edge.visits else view.state)

    def _own(self, protocol: str, port: int) -> _Served:
        served = self._find(protocol, port)
        if served.source == "agent":
            raise AgentMappingError(port=port, agent=served.edge.mapping.agent)
        if served.source == "config":
            raise ConfiguredMappingError(port=port)
        return served

    def _withdraw(
        self, served: _Served, drain_seconds: float, action: str = "removed"
    ) -> None:
        """Stop serving; visitors go now, or have `drain_seconds` left."""
        self._tell(action, served)
        self._forget(served)
        served.stop_listening()
        served.stop_expiry()
        edge = served.edge
        self.log.info(
            "{phrase}: port {port}",
            phrase=self._texts("forward_stopped"),
            port=edge.mapping.port,
        )
        if drain_seconds <= 0 or not edge.visits:
            edge.close_visits("the mapping was removed")
            return
        self._draining[edge] = self._clock.callLater(
            drain_seconds, edge.close_visits, "the mapping was removed"
        )
        edge.when_empty(lambda: self._drained(edge))

    def _drained(self, edge: TcpEdge) -> None:
        call = self._draining.pop(edge)
        if call.active():
            call.cancel()

    async def update(
        self, port: int, changes: MappingChanges, protocol: str = "tcp"
    ) -> MappingView:
        """Change a mapping for new visitors; those under way stay.

        Raises:
            CallerError: why not; the mapping is as it was.
        """
        found: dict[str, list[str]] = {}
        for _ in range(_MOST_TRIES):
            after = self._changed(port, changes, protocol)
            host = after.target_host
            if self._must_judge(port, after) and host not in found:
                found[host] = await self._look_up(host)
            try:
                return await self._whole(self._update, port, changes, protocol, found)
            except _MovedError:
                continue
        raise BadTargetError(detail="others change this mapping now; try again")

    def _changed(self, port: int, changes: MappingChanges, protocol: str) -> Mapping:
        before = self._own(protocol, port).edge.mapping
        after = changed(before, changes, int(self._wall_clock()))
        if after.use_tunnel and not self._settings.tunnel_enabled:
            raise TunnelDisabledError()
        return after

    def _must_judge(self, port: int, after: Mapping) -> bool:
        before = self._own(after.protocol, port).edge.mapping
        return not after.use_tunnel and _target(after) != _target(before)

    async def _update(
        self,
        port: int,
        changes: MappingChanges,
        protocol: str,
        found: dict[str, list[str]],
    ) -> MappingView:
        """Change a mapping; `found` has the addresses of the host it leads to.

        Raises:
            _MovedError: it has not, because another change came before this one.
        """
        served = self._own(protocol, port)
        after = self._changed(port, changes, protocol)
        if self._must_judge(port, after):
            if after.target_host not in found:
                raise _MovedError
            self._judge(after, found[after.target_host])
        try:
            kept = await self._store.update(after)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        if not kept:
            raise StoreFailedError(detail="the mapping is not in it any more")
        self._apply(served, after)
        return served.view()

    def _apply(self, served: _Served, after: Mapping) -> None:
        """Let a mapping be what it is now; who may stay does not notice."""
        before = served.edge.mapping
        elsewhere = after.listen != before.listen
        served.edge.change(after)
        self._plan_expiry(served)
        if elsewhere or not after.enabled:
            self._stop_serving(served)
        if after.enabled and served.listening is None and not self._stopping:
            self._serve(served)
        switched = "enabled" if after.enabled else "disabled"
        self._tell("updated" if after.enabled == before.enabled else switched, served)

    async def reload(self, port: int, protocol: str = "tcp") -> MappingView:
        """Read one mapping from the store anew, and let it be what is there.

        One that is stored and not served yet is served from now on; one that is not
        stored any more is closed.

        Raises:
            MappingMissingError: it is not in the store.
            StoreFailedError: it cannot be read; everything is as it was.
            CallerError: it is none of those that are stored.
        """
        return await self._whole(self._reload, port, protocol)

    async def _reload(self, port: int, protocol: str) -> MappingView:
        if self._stopping:
            raise StoppingError()
        served = None
        if (protocol, port) in self._served:
            served = self._own(protocol, port)
        try:
            stored = await self._store.load()
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        rows = [one for one in stored.mappings if one.port == port]
        found = next((one for one in rows if one.protocol == protocol), None)
        wanted = str(Match(protocol, port))
        unreadable = next((one for one in stored.faults if one.match == wanted), None)
        if unreadable is not None:
            raise StoreFailedError(detail=unreadable.text)
        if found is None:
            if served is not None:
                self._withdraw(served, 0.0)
            raise MappingMissingError(port=port)
        found = _plain(found)
        if served is None:
            if len(self._served) >= self._settings.max_mappings:
                raise TooManyMappingsError(limit=self._settings.max_mappings)
            served = self._place(found, "stored")
        self._apply(served, found)
        return served.view()

    async def disable(
        self, port: int, protocol: str = "tcp", *, close: bool = False
    ) -> MappingView:
        """Close the port of a mapping that is kept, also over a restart.

        Args:
            port: public port.
            protocol: of the public port.
            close: end the visits under way too.

        Raises:
            CallerError: why not; the mapping is as it was.
        """
        view = await self.update(port, MappingChanges(enabled=False), protocol)
        if close:
            served = self._served.get((protocol, port))
            if served is not None:
                served.edge.close_visits("the mapping was disabled")
        return view

    def _stop_serving(self, served: _Served) -> None:
        if served.listening is not None:
            served.stop_listening()
            self.log.info(
                "{phrase}: port {port}",
                phrase=self._texts("forward_stopped"),
                port=served.edge.mapping.port,
            )

    # -- expiry ------------------------------------------------------------------------

    def _plan_expiry(self, served: _Served) -> None:
        served.stop_expiry()
        expires_at = served.edge.mapping.expires_at
        if expires_at is not None and not self._stopping:
            # looked at anew now and then: the wall clock may be set
            left = max(0.0, expires_at - self._wall_clock())
            served.expiry = self._clock.callLater(
                min(left, _LONGEST_WAIT_SECONDS), self._look_at_expiry, served
            )

    def _look_at_expiry(self, served: _Served) -> None:
        served.expiry = None
        expires_at = served.edge.mapping.expires_at
        if expires_at is None or self._wall_clock() < expires_at:
            self._plan_expiry(served)
            return
        self._whole(self._expire, served).addErrback(self._not_expired, served)

    async def _expire(self, served: _Served) -> MappingView:
        mapping = served.edge.mapping
        key = (mapping.protocol, mapping.port)
        due = (
            mapping.expires_at is not None and mapping.expires_at <= self._wall_clock()
        )
        if self._served.get(key) is served and due:
            await self._store.delete(mapping.match)
            self.log.info("mapping on port {port} has expired", port=mapping.port)
            self._withdraw(served, 0.0, "expired")
        return served.view()

    def _not_expired(self, failure: Failure, served: _Served) -> None:
        mapping = served.edge.mapping
        self.log.error(
            "mapping on port {port} has expired and cannot be removed yet: {fault}",
            port=mapping.port,
            fault=failure.getErrorMessage(),
        )
        if not self._stopping:
            served.expiry = self._clock.callLater(
                _RETRY_SECONDS, self._look_at_expiry, served
            )

    # -- what agents ask for -----------------------------------------------------------

    def open_for_agent(
        self, wish: MappingWish, scope: AgentScope | None = None
    ) -> Mapping:
        """Serve a mapping that lives with its agent and is not stored.

        Args:
            wish: the mapping; port 0 = any that the agent may have.
            scope: what it may have; None = all.

        Raises:
            CallerError: why not.
        """
        self._check(wish)
        served = self._open_port(wish, True, "agent", scope)
        self._accept(served)
        self._tell("created", served)
        return served.edge.mapping

    def close_for_agent(self, mapping: Mapping) -> None:
        """Take such a mapping back; its visitors are closed."""
        served = self._served.get((mapping.protocol, mapping.port))
        if served is not None and served.source == "agent":
            self._withdraw(served, 0.0)

    # -- stop ------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Release every port and open no other; visitors stay."""
        self._stopping = True
        for served in self._served.values():
            served.stop_expiry()
            self._stop_serving(served)

    def close_visits(self, why: str) -> None:
        """End every visit at once; may be called twice."""
        for edge in self.edges():
            edge.close_visits(why)
        for call in self._draining.values():
            if call.active():
                call.cancel()
        self._full.close()
        self._strangers.close()
