"""What the gateway knows of a connected agent and of each of its links."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple
from typing import Protocol as Seam

from twisted.internet.defer import Deferred
from zope.interface import implementer

from gateway.interfaces import ICarrier, ILink, IStream, IStreamListener
from gateway.metrics.tallies import Tally
from gateway.mux.stream import StreamRequest
from gateway.policy.credentials import AgentScope
from gateway.policy.links import Recent
from gateway.policy.rates import Bucket
from gateway.relay.near import Near
from gateway.wire.hello import Hello, Register, RegisterAck

REMEMBERED_INSTANCES: Final = 16


class AgentView(NamedTuple):
    """What the API tells of an agent.

    Attributes:
        name: the agent's name.
        instance: 16 hex digits of its process; empty = a legacy agent.
        negotiated: whether its links are.
        links: how many links are up.
        streams: streams on all of them.
        rtt_seconds: shortest last round trip of its links, or None.
        connected_at: Unix seconds since which a link is up.
        address: address and port of its first link.
        software: what it says it is.
        links_total: links that it ever had.
    """

    name: str
    instance: str
    negotiated: bool
    links: int
    streams: int
    rtt_seconds: float | None
    connected_at: float
    address: str
    software: str
    links_total: int = 0


class AgentTally(Tally):
    """What visits of one agent have carried.

    Attributes:
        links: how many links it has ever had.
        left_at: Unix seconds of the end of its last link; None = it has not left.
    """

    __slots__ = ("left_at", "links")

    def __init__(self) -> None:
        super().__init__()
        self.links = 0
        self.left_at: float | None = None


class Standing(NamedTuple):
    """Whether an agent is there to serve a mapping.

    Attributes:
        connected: whether it is.
        since: Unix seconds since which it is, or is not; the latest change of its key
            if that was later; None = it was never seen, or is forgotten.
        scope: what its key allows; None = everything, or it is not connected.
        others: agents that are connected.
    """

    connected: bool
    since: float | None
    scope: AgentScope | None
    others: int


class AgentEvents(Seam):
    """Whoever wants to know of agents and their wishes."""

    def agent_arrived(self, name: str) -> None:
        """An agent has its first link, or another process has its name now."""

    def agent_left(self, name: str) -> None:
        """An agent's last link is gone."""

    def agent_registers(
        self, name: str, wish: Register, scope: AgentScope | None
    ) -> Deferred[RegisterAck]:
        """An agent wants a public port; `scope` = what it may have, None = all."""

    def agent_limited(self, name: str, scope: AgentScope) -> list[RegisterAck]:
        """Take back the ports that an agent's changed key forbids.

        Returns:
            What to tell the agent, which learns of it at its next link otherwise.
        """


@implementer(ICarrier)
class AgentLink:
    """A link of an agent, and what the gateway knows of it.

    Attributes:
        link: the link itself.
        host: address of the agent.
        agent: name of the agent.
        number: of this link among the agent's.
        scope: what the agent may do; None = all.
        tally: what visits of this agent have carried.
        buckets: what its visitors' bytes pass, in and out; None = nothing.
        recent: what the link moved of late.
        served: whether it was given to a visitor before.
        registering: requests for public ports that are not answered yet.
    """

    __slots__ = (
        "agent",
        "buckets",
        "host",
        "link",
        "number",
        "recent",
        "registering",
        "scope",
        "served",
        "tally",
    )

    def __init__(
        self,
        link: ILink,
        agent: str,
        number: int,
        scope: AgentScope | None,
        tally: AgentTally,
    ) -> None:
        self.link = link
        self.host = link.host
        self.agent = agent
        self.number = number
        self.scope = scope
        self.tally = tally
        self.buckets: tuple[Bucket, Bucket] | None = None
        self.recent = Recent()
        self.served = False
        self.registering = 0

    @property
    def usable(self) -> bool:
        """Whether new streams may be opened."""
        return self.link.usable

    def load(self, now: float) -> float:
        """Return how much it has to do, in streams.

        Bytes of the last second count as well: one download fills a link more than
        many idle streams do.

        Args:
            now: monotonic seconds.
        """
        link = self.link
        moved = link.received_bytes + link.sent_bytes
        return link.streams + self.recent.weight(moved, now)

    def open(
        self, near: Near, listener: IStreamListener, request: StreamRequest
    ) -> IStream:
        """Open a stream for a visitor; see `ILink.open`."""
        return self.link.open(near, listener, request)


class ConnectedAgent:
    """The links of one agent, all of one process.

    Attributes:
        instance: 16 hex digits of the process; empty = a legacy agent.
        software: what it says it is.
        connected_at: Unix seconds since which a link is up.
        links: by their numbers.
        replaced: instances that had the name before.
    """

    def __init__(self, hello: Hello | None, connected_at: float) -> None:
        self.instance = hello.instance if hello is not None else ""
        self.software = hello.software if hello is not None else ""
        self.connected_at = connected_at
        self.links: dict[int, AgentLink] = {}
        self.replaced: deque[str] = deque(maxlen=REMEMBERED_INSTANCES)
        self._buckets: tuple[Bucket, Bucket] | None = None

    def share(self, rate: int, now: float) -> tuple[Bucket, Bucket] | None:
        """Return what the bytes of all its visitors pass, each way; None = nothing.

        Visitors who are here already keep what they pass, at the new rate; where
        there was no rate, or is none any more, it is for those to come.
        """
        if not rate:
            self._buckets = None
        elif self._buckets is None:
            self._buckets = Bucket(rate, now), Bucket(rate, now)
        else:
            for bucket in self._buckets:
                bucket.rate = rate
        return self._buckets

    def view(self, name: str, links_total: int) -> AgentView:
        """Return what the API tells of it.

        Args:
            name: the agent's.
            links_total: links that it ever had.
        """
        links = [one.link for one in self.links.values()]
        trips = [link.round_trip for link in links]
        known = [trip for trip in trips if trip is not None]
        return AgentView(
            name=name,
            instance=self.instance,
            negotiated=all(link.negotiated for link in links),
            links=len(links),
            streams=self.streams,
            rtt_seconds=min(known) if known else None,
            connected_at=self.connected_at,
            address=links[0].address if links else "",
            software=self.software,
            links_total=links_total,
        )

    def may_serve(self, scope: AgentScope, port: int | None) -> bool:
        """Return whether one more visitor is within what it may do."""
        if port is not None and not scope.has_port(port):
            return False
        if not scope.max_streams:
            return True
        return self.streams < scope.max_streams

    @property
    def streams(self) -> int:
        """Live streams on all its links."""
        return sum(one.link.streams for one in self.links.values())

    def has_spoken(self) -> bool:
        """Return whether it has proved to be an agent by a valid frame."""
        return any(one.link.spoken for one in self.links.values())
