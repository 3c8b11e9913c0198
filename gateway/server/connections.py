"""Who is connected now: find, sort, time and end visits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.internet.interfaces import IReactorTime

from gateway.edge.tcp import TcpEdge, Visit
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

    def __init__(self, clock: IReactorTime, traffic: Traffic) -> None:
        self._clock = clock
        self._traffic = traffic
        self._looked_at: float | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        self._rates: dict[str, tuple[float, float]] = {}

    def page(
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
        self._look()
        found = [one for one in self._all() if wanted.has(one)]
        # by id as well, so that pages do not overlap
        found.sort(key=lambda one: one.visit.id)
        found.sort(key=SORTS[sort], reverse=descending)  # type: ignore[arg-type] # one kind for each sort
        return found[offset : offset + count], len(found)

    def find(self, visit_id: str) -> tuple[TcpEdge, Visit] | None:
        """Return the visit of that id and its edge, if it is still here."""
        for edge, visit in self._traffic.visits():
            if visit.id == visit_id:
                return edge, visit
        return None

    def _all(self) -> list[Connection]:
        now = self._clock.seconds()
        rates = self._rates
        found = []
        for edge, visit in self._traffic.visits():
            age = now - visit.started_at
            rate = rates.get(visit.id)
            if rate is None:
                since = max(age, _RATE_SECONDS)
                rate = visit.sent / since, visit.received / since
            found.append(Connection(visit, edge.mapping, age, *rate))
        return found

    def _look(self) -> None:
        """Take new rates, unless that was done a moment ago."""
        now, then = self._clock.seconds(), self._looked_at
        if then is not None and now - then < _RATE_SECONDS:
            return
        seen = {
            visit.id: (visit.sent, visit.received)
            for _, visit in self._traffic.visits()
        }
        self._rates = {}
        if then is not None and now - then <= _FORGET_SECONDS:
            before, seconds = self._seen, now - then
            self._rates = {
                key: ((sent - old[0]) / seconds, (received - old[1]) / seconds)
                for key, (sent, received) in seen.items()
                if (old := before.get(key)) is not None
            }
        self._looked_at, self._seen = now, seen
