"""Mappings and their ports: what other parts ask of the book and the reconciler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from typing import NamedTuple

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from gateway.edge.tcp import Crowd, TcpEdge, Visit
from gateway.interfaces import IMappingStore, INetwork
from gateway.metrics.tallies import FAULTS
from gateway.ops.events import Emit, unheard
from gateway.ops.refusals import RefusalLog
from gateway.policy.credentials import AgentScope
from gateway.policy.limits import Places
from gateway.policy.mapping import Mapping, MappingChanges, MappingWish, Match
from gateway.policy.ports import PublicPorts
from gateway.policy.reachability import Attempts, Obstacle
from gateway.server.book import (
    REMOVED,
    RESTORED,
    Change,
    Entry,
    MappingBook,
    MappingSettings,
)
from gateway.server.reconciler import ERROR, LISTENING, Reconciler
from gateway.server.routing import Router
from gateway.texts import Texts

DRAINING = "draining"
UNREACHABLE = "unreachable"


def unobstructed(mapping: Mapping, attempts: Attempts) -> None:
    """Judge no mapping."""


class MappingView(NamedTuple):
    """A mapping and how it fares.

    Attributes:
        mapping: as it is.
        state: "listening", "unreachable", "disabled" or "error"; "draining" or
            "removed" in the answer to a removal.
        error: why it does not listen or cannot serve, or None.
        connections: visitors whose socket is open.
        total: visitors ever admitted.
        rejected: visitors turned away, by the setting that is the cause.
        failed: visitors that were not served to the end, by outcome.
        cause: of the state "unreachable", see `Obstacle`; None in others.
        since: Unix seconds since which it cannot serve; None in other states.
        source: see `Entry`.
        before: in the answer to a change: the mapping before it, if there was one.
    """

    mapping: Mapping
    state: str
    error: str | None
    connections: int
    source: str
    total: int = 0
    rejected: Map[str, int] = {}
    failed: Map[str, int] = {}
    cause: str | None = None
    since: float | None = None
    before: Mapping | None = None


class Mappings:
    """All mappings of this gateway; the book and the ports always agree.

    Attributes:
        crowd: what the visitors of all mappings share.
        book: what should be served, and the feed of its changes.
    """

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
        obstacle: Callable[[Mapping, Attempts], Obstacle | None] = unobstructed,
    ) -> None:
        self.crowd = crowd
        self._emit = emit
        self._router = router
        self._obstacle = obstacle
        self._full = RefusalLog(clock, "visitor", "Full", emit)
        self._strangers = RefusalLog(clock, "visitor", emit=emit)
        self._reconciler = Reconciler(
            clock, network, self._edge, texts, lambda entry: self._tell(ERROR, entry)
        )
        self.book = MappingBook(
            clock,
            store,
            ports,
            self._reconciler,
            network.resolve,
            settings,
            wall_clock,
            randrange,
        )
        self._reconciler.objection = self.book.objection
        self.book.follow(self._changed)

    # -- questions ---------------------------------------------------------------

    def views(self) -> list[MappingView]:
        """Return all mappings, ordered by port."""
        return list(self.each())

    def each(self) -> Iterator[MappingView]:
        """Return all mappings, ordered by port, each as it is when it is taken.

        Those that are removed meanwhile are left out.
        """
        for match in self.book.matches():
            entry = self.book.find(match)
            if entry is not None:
                yield self._view(entry)

    def get(self, port: int, protocol: str = "tcp") -> MappingView:
        """Return one mapping.

        Raises:
            MappingMissingError: there is none.
        """
        return self._view(self.book.get(Match(protocol, port)))

    def _view(self, entry: Entry) -> MappingView:
        served = self._reconciler.find(entry.mapping.match)
        assert served is not None  # made by the change that made the entry
        edge, state, error = served.edge, served.state, served.error
        obstacle = None
        if state == LISTENING:
            obstacle = self._obstacle(entry.mapping, edge.attempts)
        if obstacle is not None:
            state, error = UNREACHABLE, obstacle.detail
        outcomes = edge.tally.outcomes
        return MappingView(
            entry.mapping,
            state,
            error,
            len(edge.visits),
            entry.source,
            edge.total,
            dict(edge.rejected),
            {name: outcomes[name] for name in sorted(FAULTS) if outcomes[name]},
            None if obstacle is None else obstacle.cause,
            None if obstacle is None else obstacle.since,
        )

    def public_place(self, port: int) -> str | None:
        """Return the address that a public port is open on, or None.

        An empty address means all interfaces.
        """
        return self._reconciler.bound_to(Match("tcp", port))

    @property
    def places(self) -> Places:
        """How much of `limits.mappings` is used."""
        return self.book.places

    @property
    def visitors(self) -> int:
        """Open visitor sockets, those of removed mappings included."""
        return sum(len(edge.visits) for edge in self.edges())

    def edges(self) -> list[TcpEdge]:
        """Return the edges of all mappings, and of removed ones with visitors."""
        return self._reconciler.edges()

    def served_edges(self) -> list[TcpEdge]:
        """Return the edges of all mappings, ordered by port."""
        return self._reconciler.served_edges()

    def visits(self) -> list[Visit]:
        """Return every visit, those of removed mappings included."""
        return [visit for edge in self.edges() for visit in edge.visits]

    def tell_departed(self, call: Callable[[TcpEdge], None]) -> None:
        """Call with the edge of each removed mapping, before its connections end."""
        self._reconciler.departed = call

    # -- the feed --------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        """Serve a change of the book, then tell of it."""
        gone = None if change.before is None else self._view(change.before)
        self._reconciler.apply(change)
        if change.after is not None:
            if change.action != RESTORED:
                self._tell(change.action, change.after)
        elif gone is not None:
            self._tell_view(change.action, gone, change.version)

    def _tell(self, action: str, entry: Entry) -> None:
        self._tell_view(action, self._view(entry), entry.version)

    def _tell_view(self, action: str, view: MappingView, version: int) -> None:
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
            id=mapping.id,
            version=version,
        )

    def _answer(self, change: Change) -> MappingView:
        assert change.after is not None
        before = None if change.before is None else change.before.mapping
        return self._view(change.after)._replace(before=before)

    # -- start -----------------------------------------------------------------------

    async def restore(self) -> None:
        """Serve every stored mapping; see `MappingBook.restore`."""
        await self.book.restore()

    def serve_configured(self, mapping: Mapping) -> None:
        """Serve a mapping of the configuration."""
        self.book.add_configured(mapping)

    # -- changes; what they raise is the book's ----------------------------------------

    async def create(self, wish: MappingWish) -> MappingView:
        """Make a mapping; see `MappingBook.create`."""
        return self._answer(await self.book.create(wish))

    async def remove(
        self, port: int, protocol: str = "tcp", drain_seconds: float = 0.0
    ) -> MappingView:
        """Close a port at once and forget its mapping; see `MappingBook.remove`."""
        match = Match(protocol, port)
        change = await self.book.remove(match, drain_seconds)
        assert change.before is not None
        mapping, left = change.before.mapping, self._reconciler.draining(match)
        return MappingView(
            mapping,
            DRAINING if left else REMOVED,
            None,
            left,
            change.before.source,
            before=mapping,
        )

    async def update(
        self, port: int, changes: MappingChanges, protocol: str = "tcp"
    ) -> MappingView:
        """Change a mapping for new visitors; see `MappingBook.update`."""
        return self._answer(await self.book.update(Match(protocol, port), changes))

    async def reload(self, port: int, protocol: str = "tcp") -> MappingView:
        """Read one mapping from the store again; see `MappingBook.reload`."""
        return self._answer(await self.book.reload(Match(protocol, port)))

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
            served = self._reconciler.find(Match(protocol, port))
            if served is not None:
                served.edge.close_visits("the mapping was disabled")
        return view

    def open_for_agent(
        self, wish: MappingWish, scope: AgentScope | None = None
    ) -> Mapping:
        """Serve a mapping that lives with its agent; see `MappingBook`."""
        return self.book.open_for_agent(wish, scope)

    def close_for_agent(self, mapping: Mapping) -> None:
        """Take such a mapping back; its visitors are closed."""
        self.book.close_for_agent(mapping)

    # -- visitors ----------------------------------------------------------------------

    def _edge(self, mapping: Mapping) -> TcpEdge:
        return TcpEdge(
            mapping,
            self.crowd,
            self._router.admit,
            lambda addr, cause: self._say_refused(mapping.port, addr, cause),
        )

    def _say_refused(self, port: int, addr: IAddress | None, cause: str) -> None:
        limits = {
            "limits.connections": self.crowd.slots.limit,
            "limits.memory": self.crowd.memory.limit,
            "limits.connections_per_ip": self.crowd.addresses.limit,
        }
        host = getattr(addr, "host", "?")
        if cause in limits:
            self._full.note(host, f"{cause} ({limits[cause]}) is reached")
        elif cause in ("max_connections", "max_connections_per_ip"):
            self._full.note(host, f"{cause} of port {port} is reached")
        else:
            self._strangers.note(host, f"port {port}: {cause}")

    def enforce_bans(self) -> None:
        """Send visitors away who are banned now."""
        for edge in self.edges():
            edge.enforce_bans()

    # -- stop ------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Release every port and open no other; visitors stay."""
        self.book.stop()
        self._reconciler.stop_listening()

    def close_visits(self, why: str) -> None:
        """End every visit at once; may be called twice."""
        self._reconciler.close_visits(why)
        self._full.close()
        self._strangers.close()
