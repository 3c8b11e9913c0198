"""Who is connected now: find, sort, time and end visits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import Any, Final, NamedTuple

from twisted.internet.interfaces import IReactorTime

from gateway.edge.tcp import TcpEdge, Visit
from gateway.ops.slices import LOOK, VIEW, Shared, Slices
from gateway.policy.addresses import join_host_port
from gateway.policy.mapping import Mapping
from gateway.server.traffic import Traffic

_RATE_SECONDS: Final = 1.0  # between two looks that rates are made from
_FORGET_SECONDS: Final = 15.0  # after which a look is too old to compare with
PENDING: Final = "pending"
ACTIVE: Final = "active"
CLOSING: Final = "closing"
STATES: Final = (PENDING, ACTIVE, CLOSING)


class Connection(NamedTuple):
    """A visit as an operator sees it.

    Attributes:
        visit: the visit.
        mapping: its mapping as it is now.
        age: seconds since the accept.
        rate_sent: bytes a second to the target.
        rate_received: bytes a second to the visitor.
    """

    visit: Visit
    mapping: Mapping
    age: float
    rate_sent: float
    rate_received: float

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.visit.over:
            return CLOSING
        return PENDING if self.visit.opened_at is None else ACTIVE

    @property
    def target(self) -> str:
        """What it is taken to."""
        host = self.mapping.target_host
        return (
            join_host_port(host, self.mapping.target_port)
            if host
            else (f":{self.mapping.target_port}")
        )

    @property
    def rate(self) -> float:
        """Bytes a second, both ways together."""
        return self.rate_sent + self.rate_received


SORTS: Final[dict[str, Callable[[Connection], object]]] = {
    "age": lambda one: one.age,
    "sent": lambda one: one.visit.sent,
    "received": lambda one: one.visit.received,
    "rate": lambda one: one.rate,
    "visitor": lambda one: one.visit.visitor,
    "port": lambda one: one.mapping.port,
    "agent": lambda one: one.visit.agent or "",
}


class Wanted(NamedTuple):
    """Which connections to show; None = whatever.

    Attributes:
        port: public port.
        agent: name of the agent.
        visitor: part of its address.
        state: one of `STATES`.
    """

    port: int | None = None
    agent: str | None = None
    visitor: str | None = None
    state: str | None = None

    def has(self, one: Connection) -> bool:
        """Tell whether a connection is among them."""
        return (
            self.port in (None, one.mapping.port)
            and self.agent in (None, one.visit.agent)
            and (self.visitor is None or self.visitor in one.visit.visitor)
            and self.state in (None, one.state)
        )


class Connections:
    """Everybody who is connected now.

    Rates are what passed between two looks; the first look gives the average since
    the accept.
    """

    def __init__(self, clock: IReactorTime, traffic: Traffic, slices: Slices) -> None:
        self._clock = clock
        self._traffic = traffic
        self._slices = slices
        self._looks: Shared[None] = Shared()
        self._looked_at: float | None = None
        self._seen: dict[str, tuple[float, int, int]] = {}  # when, sent, received
        self._rates: dict[str, tuple[float, float]] = {}

    async def page(
        self, wanted: Wanted, sort: str, *, descending: bool, offset: int, count: int
    ) -> tuple[list[Connection], int]:
        """Return some of the wanted connections, and how many there are in all.

        Args:
            wanted: which ones.
            sort: a key of `SORTS`.
            descending: the largest first.
            offset: how many are passed over.
            count: how many are returned at most.
        """
        await self._looks.join(None, self._look)
        sort_key = SORTS[sort]

        def key(one: Connection) -> tuple[Any, str]:
            # by id as well, so that pages do not overlap
            return sort_key(one), one.visit.id

        total, runs = 0, []
        async for piece in self._slices.pieces(self._traffic.visits(), VIEW):
            run = [one for one in self._seen_now(piece) if wanted.has(one)]
            run.sort(key=key, reverse=descending)
            runs.append(run)
            total += len(run)
        merged = merge(*runs, key=key, reverse=descending)
        found: list[Connection] = []
        async for some in self._slices.pieces(islice(merged, offset + count), VIEW):
            found += some
        return found[offset:], total

    async def find(self, visit_id: str) -> tuple[TcpEdge, Visit] | None:
        """Return the visit of that id and its edge, if it is still here."""
        async for piece in self._slices.pieces(self._traffic.visits(), LOOK):
            for edge, visit in piece:
                if visit.id == visit_id:
                    return (edge, visit) if visit in edge.visits else None
        return None

    def _seen_now(self, piece: Iterable[tuple[TcpEdge, Visit]]) -> Iterator[Connection]:
        now = self._clock.seconds()
        rates = self._rates
        for edge, visit in piece:
            age = now - visit.started_at
            rate = rates.get(visit.id)
            if rate is None:
                since = max(age, _RATE_SECONDS)
                rate = visit.sent / since, visit.received / since
            yield Connection(visit, edge.mapping, age, *rate)

    async def _look(self) -> None:
        """Take new rates, unless that was done a moment ago."""
        now, then = self._clock.seconds(), self._looked_at
        if then is not None and now - then < _RATE_SECONDS:
            return
        is_old = then is None or now - then > _FORGET_SECONDS
        before = {} if is_old else self._seen
        seen: dict[str, tuple[float, int, int]] = {}
        rates: dict[str, tuple[float, float]] = {}
        async for piece in self._slices.pieces(self._traffic.visits(), LOOK):
            at = self._clock.seconds()
            for _, visit in piece:
                sent, received = visit.sent, visit.received
                seen[visit.id] = (at, sent, received)
                old = before.get(visit.id)
                if old is not None and at > old[0]:
                    seconds = at - old[0]
                    rates[visit.id] = (
                        (sent - old[1]) / seconds,
                        (received - old[2]) / seconds,
                    )
        self._looked_at, self._seen, self._rates = now, seen, rates
