"""The links of all agents, for the rest of the gateway."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from gateway.interfaces import NamedLink
from gateway.metrics.tallies import Histogram
from gateway.ops.events import Emit, unheard
from gateway.server.agents import AgentEvents, AgentView
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.link_admission import LinkAdmission
from gateway.server.link_counts import LinkCounts, StreamPlaces
from gateway.server.link_settings import AdmissionSettings
from gateway.texts import Texts


class Links:
    """What admission, registry and counts of links offer to others.

    Attributes:
        admission: owns every connection to the link port.
        registry: knows the links that are admitted.
        counts: counts them, and their visitors.
        linger: flushes near sockets whose stream is over.
        slots: the places of links.
        refusals: what is told of links and of agents that are rejected.
        faults: links dropped because the other end broke the protocol, by kind.
    """

    def __init__(
        self,
        clock: IReactorTime,
        settings: AdmissionSettings,
        texts: Texts,
        events: AgentEvents,
        random_bytes: Callable[[int], bytes],
        wall_clock: Callable[[], float],
        credentials: Credentials,
        bans: BanTable,
        emit: Emit = unheard,
    ) -> None:
        counts = self.counts = LinkCounts()
        admission = self.admission = LinkAdmission(
            clock,
            settings,
            texts,
            events,
            random_bytes,
            wall_clock,
            credentials,
            bans,
            counts,
            emit,
        )
        registry = self.registry = admission.registry
        self.linger = admission.linger
        self.slots = registry.slots
        self.refusals = admission.refusals
        self.note_refused = admission.note_refused
        self.configure = admission.configure
        self.leave, self.abort = admission.leave, admission.abort
        connections = admission.connections
        self.gone, self.part = connections.gone, connections.part
        self.each, self.has = registry.each, registry.has
        self.pick, self.reachable = registry.pick, registry.reachable
        self.forbids, self.standing = registry.forbids, registry.standing
        self.faults = counts.faults
        self.disconnect = registry.disconnect
        self.note_given, self.tallies = counts.note_given, counts.tallies

    @property
    def connected(self) -> bool:
        """Whether any agent is up."""
        return self.registry.connected

    @property
    def open_to_all(self) -> bool:
        """Whether agents need no credential of any kind."""
        return self.admission.open_to_all

    @property
    def stream_places(self) -> StreamPlaces:
        """How much of the streams of one link is used."""
        return self.registry.stream_places

    @property
    def made(self) -> int:
        """Links ever admitted."""
        return self.counts.made

    @property
    def given(self) -> int:
        """How often a visitor was given a link."""
        return self.counts.given

    @property
    def given_again(self) -> int:
        """How often it was one that had served others before."""
        return self.counts.given_again

    @property
    def waits(self) -> Histogram:
        """Seconds that visitors waited for their target."""
        return self.counts.waits

    @property
    def wire_bytes(self) -> tuple[int, int]:
        """Bytes to agents and from them since the start, frames and all."""
        return self.counts.wire_bytes(self.admission.connections.live)

    def views(self) -> list[AgentView]:
        """Return all agents, ordered by name."""
        return list(self.registry.each())

    def named(self) -> list[NamedLink]:
        """Return every connection, also of those who have no name yet."""
        found = []
        for link in self.admission.connections.live:
            one = self.registry.find(link)
            name, number = (None, None) if one is None else (one.agent, one.number)
            found.append(NamedLink(name, number, link))
        return found
