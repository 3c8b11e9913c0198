"""What has been carried, by mapping and in all, those who are still here included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from gateway.edge.tcp import TcpEdge, Visit
from gateway.metrics.tallies import Tally
from gateway.server.links import Links
from gateway.server.mappings import Mappings


class Carried(NamedTuple):
    """Numbers since the start of the gateway, or of a mapping.

    Attributes:
        sent: bytes from visitors to targets.
        received: bytes from targets to visitors.
        connections: visitors ever admitted.
        errors: those whose target was not reached, or that broke off.
        active: visitors whose target is reached.
        pending: visitors that wait for it.
        rejected: visitors turned away.
    """

    sent: int
    received: int
    connections: int
    errors: int
    active: int
    pending: int
    rejected: int


class Served(NamedTuple):
    """What an agent has served since the gateway started.

    Attributes:
        sent: bytes to its targets.
        received: bytes from its targets.
        visits: visitors, those who are here included.
    """

    sent: int = 0
    received: int = 0
    visits: int = 0


class Traffic:
    """Sums up what edges and links have counted."""

    def __init__(self, mappings: Mappings, links: Links) -> None:
        self._mappings = mappings
        self._links = links
        self._crowd = mappings.crowd

    def total(self) -> Carried:
        """Return the numbers of all mappings, removed ones included."""
        edges = self._mappings.edges()
        visits = chain.from_iterable(edge.visits for edge in edges)
        return _carried(self._crowd.tally, visits, self._crowd.rejected.total())

    def of(self, edge: TcpEdge) -> Carried:
        """Return the numbers of one mapping."""
        return _carried(edge.tally, edge.visits, edge.rejected.total())

    def by_port(self) -> list[tuple[TcpEdge, Carried]]:
        """Return the numbers of each mapping there is, ordered by port."""
        return [(edge, self.of(edge)) for edge in self._mappings.served_edges()]

    def by_agent(self) -> dict[str, Served]:
        """Return what each agent has served, those that left included."""
        found = {
            name: Served(tally.sent, tally.received, tally.visits)
            for name, tally in self._links.tallies().items()
        }
        for _, visit in self.visits():
            if visit.agent in found:
                sent, received, visits = found[visit.agent]
                found[visit.agent] = Served(
                    sent + visit.sent, received + visit.received, visits + 1
                )
        return found

    def wire(self) -> tuple[int, int]:
        """Return bytes to agents and from them, frames and all."""
        return self._links.wire_bytes

    def visits(self) -> Iterator[tuple[TcpEdge, Visit]]:
        """Return everybody who is here."""
        for edge in self._mappings.edges():
            for visit in list(edge.visits):
                yield edge, visit


def _carried(tally: Tally, visits: Iterable[Visit], rejected: int) -> Carried:
    sent, received = tally.sent, tally.received
    here = pending = 0
    for visit in visits:
        here += 1
        sent += visit.sent
        received += visit.received
        pending += visit.opened_at is None
    return Carried(
        sent=sent,
        received=received,
        connections=tally.visits + here,
        errors=tally.errors,
        active=here - pending,
        pending=pending,
        rejected=rejected,
    )
