"""Count links, the visitors that were given one, and what agents carried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from typing import Final, NamedTuple

from gateway.interfaces import ILink
from gateway.metrics.tallies import LATENCY_BOUNDS, Histogram
from gateway.server.agents import AgentLink, AgentTally

REMEMBERED_AGENTS: Final = 1000


class StreamPlaces(NamedTuple):
    """The streams that one link may have.

    Attributes:
        limit: 0 = unlimited.
        active: of the fullest link.
        total: visitors for whom there was room, on all links.
        rejected: visitors for whom there was none.
    """

    limit: int
    active: int
    total: int
    rejected: int


class LinkCounts:
    """What has happened on links since the start.

    Attributes:
        made: links ever admitted.
        found: visitors for whom a link had room.
        full: visitors for whom none had.
        given: how often a visitor was given a link.
        given_again: how often it was one that had served others before.
        waits: seconds that visitors waited for their target.
        faults: links dropped because the other end broke the protocol, by kind.
    """

    def __init__(self) -> None:
        self.made = self.found = self.full = self.given = self.given_again = 0
        self.waits = Histogram(LATENCY_BOUNDS)
        self.faults: Counter[str] = Counter()
        self._tallies: dict[str, AgentTally] = {}
        self._gone_sent = self._gone_received = 0
        self._left_at: float | None = None  # the agent that left last

    def left(self, name: str, at: float) -> None:
        """Note when the last link of an agent ended, in Unix seconds."""
        self._left_at = at
        if name in self._tallies:
            self._tallies[name].left_at = at

    def left_at(self, name: str | None) -> float | None:
        """Return when an agent left last, in Unix seconds.

        Args:
            name: the agent's; None = any agent.

        Returns:
            None if it was never seen, is forgotten, or has not left.
        """
        if name is None:
            return self._left_at
        tally = self._tallies.get(name)
        return None if tally is None else tally.left_at

    def admitted(self, name: str, live: Container[str]) -> AgentTally:
        """Count a link of an agent; return what is counted of it, also while away.

        Args:
            name: the agent's.
            live: names of agents that must not be forgotten.
        """
        self.made += 1
        tally = self._tallies.pop(name, None) or AgentTally()
        self._tallies[name] = tally  # the longest unused comes first
        if len(self._tallies) > REMEMBERED_AGENTS:
            gone = next((one for one in self._tallies if one not in live), None)
            if gone is not None:
                del self._tallies[gone]
        tally.links += 1
        return tally

    def note_given(self, link: AgentLink) -> None:
        """Count that a visitor is given a link."""
        self.given += 1
        if link.served:
            self.given_again += 1
        link.served = True

    def links_of(self, name: str) -> int:
        """Return how many links a connected agent has ever had."""
        return self._tallies[name].links

    def tallies(self) -> dict[str, AgentTally]:
        """Return what is counted of agents, by name, those who left included."""
        return dict(self._tallies)

    def closed(self, link: ILink) -> None:
        """Add the bytes of a link whose connection is gone."""
        self._gone_sent += link.sent_bytes
        self._gone_received += link.received_bytes

    def wire_bytes(self, live: Iterable[ILink]) -> tuple[int, int]:
        """Return bytes to agents and from them since the start, frames and all.

        Args:
            live: the connections that there are.
        """
        sent, received = self._gone_sent, self._gone_received
        for link in live:
            sent += link.sent_bytes
            received += link.received_bytes
        return sent, received
