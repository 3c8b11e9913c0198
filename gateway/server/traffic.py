"""What has been carried, by mapping and in all, those who are still here included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gateway.edge.tcp import TcpEdge, Visit
from gateway.metrics.tallies import Tally
from gateway.ops.slices import LOOK, VIEW, Shared, Slices
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


NOTHING: Final = Carried(0, 0, 0, 0, 0, 0, 0)


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


class Sums(NamedTuple):
    """Numbers of one moment.

    Attributes:
        total: of all mappings, removed ones included.
        agents: what each agent has served, those that left included.
    """

    total: Carried
    agents: dict[str, Served]


class Traffic:
    """Sums up what edges and links have counted.

    Who is here is read in slices; whoever asks meanwhile gets the same numbers.
    """

    def __init__(self, mappings: Mappings, links: Links, slices: Slices) -> None:
        self._mappings = mappings
        self._links = links
        self._slices = slices
        self._crowd = mappings.crowd
        self._sums: Shared[Sums] = Shared()
        self._ports: Shared[list[tuple[TcpEdge, Carried]]] = Shared()

    async def sums(self) -> Sums:
        """Return the numbers of all mappings together, and of each agent."""
        return await self._sums.join(None, self._sum_up)

    async def total(self) -> Carried:
        """Return the numbers of all mappings, removed ones included."""
        return (await self.sums()).total

    async def by_port(self) -> list[tuple[TcpEdge, Carried]]:
        """Return the numbers of each mapping there is, ordered by port."""
        return await self._ports.join(None, self._by_port)

    async def of(self, edge: TcpEdge) -> Carried:
        """Return the numbers of one mapping."""
        # both of one moment, so that who leaves meanwhile is counted once
        over, here = _over(edge.tally, edge.rejected), list(edge.visits)
        async for piece in self._slices.pieces(here, LOOK):
            over = _with(over, piece)
        return over

    def wire(self) -> tuple[int, int]:
        """Return bytes to agents and from them, frames and all."""
        return self._links.wire_bytes

    def visits(self) -> Iterator[tuple[TcpEdge, Visit]]:
        """Return everybody who is here when this is called."""
        here = [(edge, list(edge.visits)) for edge in self._mappings.edges()]
        return ((edge, visit) for edge, visits in here for visit in visits)

    async def _sum_up(self) -> Sums:
        # all of one moment, so that who leaves meanwhile is counted once
        total = _over(self._crowd.tally, self._crowd.rejected)
        agents = {
            name: [tally.sent, tally.received, tally.visits]
            for name, tally in self._links.tallies().items()
        }
        here = [visit for edge in self._mappings.edges() for visit in edge.visits]
        async for piece in self._slices.pieces(here, LOOK):
            total = _with(total, piece)
            for visit in piece:
                served = agents.get(visit.agent or "")
                if served is not None:
                    served[0] += visit.sent
                    served[1] += visit.received
                    served[2] += 1
        return Sums(total, {name: Served(*served) for name, served in agents.items()})

    async def _by_port(self) -> list[tuple[TcpEdge, Carried]]:
        found = []
        edges = self._mappings.served_edges()
        async for piece in self._slices.pieces(edges, VIEW):
            for edge in piece:
                if edge.visits:
                    found.append((edge, await self.of(edge)))
                else:
                    found.append((edge, _over(edge.tally, edge.rejected)))
        return found


def _over(tally: Tally, rejected: Counter[str]) -> Carried:
    """Return the numbers of those who are gone."""
    return Carried(
        sent=tally.sent,
        received=tally.received,
        connections=tally.visits,
        errors=tally.errors,
        active=0,
        pending=0,
        rejected=rejected.total(),
    )


def _with(carried: Carried, visits: Sequence[Visit]) -> Carried:
    """Return the same with some who are here, or were a moment ago."""
    sent, received, pending = carried.sent, carried.received, 0
    for visit in visits:
        sent += visit.sent
        received += visit.received
        pending += visit.opened_at is None
    return carried._replace(
        sent=sent,
        received=received,
        connections=carried.connections + len(visits),
        active=carried.active + len(visits) - pending,
        pending=carried.pending + pending,
    )
