"""Live links by agent name: who is admitted, who takes over, who gets a stream."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Final, NamedTuple
from typing import Protocol as Seam

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway import SOFTWARE
from gateway.errors import ProtocolError
from gateway.interfaces import (
    IArrivingLink,
    ILink,
    IStream,
    IStreamListener,
    NamedLink,
)
from gateway.link.proof import SCRAM, GatewayProof, ProofError
from gateway.metrics.tallies import LATENCY_BOUNDS, Histogram, Tally
from gateway.mux.core import SessionSettings
from gateway.mux.session import CROWDED
from gateway.mux.stream import StreamRequest
from gateway.ops.events import Emit, unheard
from gateway.ops.refusals import RefusalLog
from gateway.policy.credentials import AgentCredential, AgentScope
from gateway.policy.expiry import Expiries
from gateway.policy.limits import Slots
from gateway.policy.links import Recent
from gateway.policy.rates import Bucket
from gateway.policy.shares import Shares
from gateway.relay.linger import Linger
from gateway.relay.near import NearProtocol
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.hello import (
    MAX_LINKS,
    NAME_TAKEN,
    Hello,
    HelloAck,
    Register,
    RegisterAck,
)
from gateway.wire.messages import Goaway
from gateway.wire.plain import cleaned

DEFAULT_AGENT: Final = "default"
MAX_UNDECIDED: Final = 200
REMEMBERED_INSTANCES: Final = 16
REMEMBERED_AGENTS: Final = 1000
NONCE_BYTES: Final = 16
MOST_REGISTERING: Final = 100  # requests of a link that are not answered yet
# errors of strangers that count as wrong credentials do
FLOODS: Final = frozenset({CROWDED, "too_large"})
LONGEST_LOOK_SECONDS: Final = 3600.0
PEPPER_BYTES: Final = 32
FEATURES: Final = frozenset({"register"})
_CROWDED: Final = "too many connections have not said who they are"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """Who may connect, and what they are told.

    Attributes:
        token: shared secret of the agents; None admits anybody.
        max_links: links of all agents together; 0 = unlimited.
        streams_per_link: 0 = unlimited.
        open_timeout: seconds, told to agents.
        by_certificate: every link comes with a certificate that we trust, and an
            agent may only have a name that stands there.
        session: settings of each session.
    """

    token: str | None
    max_links: int
    streams_per_link: int
    open_timeout: float
    session: SessionSettings
    by_certificate: bool = False


class AgentTally(Tally):
    """What visits of one agent have carried.

    Attributes:
        links: how many links it has ever had.
    """

    __slots__ = ("links",)

    def __init__(self) -> None:
        super().__init__()
        self.links = 0


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
        self, near: NearProtocol, listener: IStreamListener, request: StreamRequest
    ) -> IStream:
        """Open a stream for a visitor; see `ILink.open`."""
        return self.link.open(near, listener, request)


class _Agent:
    """The links of one agent, all of one process."""

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

    def may_serve(self, scope: AgentScope, port: int | None) -> bool:
        """Tell whether one more visitor is within what it may do."""
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
        """Tell whether it has proved to be an agent by a valid frame."""
        return any(one.link.spoken for one in self.links.values())


class Links:
    """Registry of live links; the newest process of a name wins.

    Attributes:
        made: links ever admitted.
        given: how often a visitor was given a link.
        given_again: how often it was one that had served others before.
        waits: seconds that visitors waited for their target.
    """

    log = Logger()

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
        self._clock = clock
        self._emit = emit
        self._bans = bans
        self._credentials = credentials
        credentials.changed = self._credential_changed
        self._pepper = random_bytes(PEPPER_BYTES)
        self._proofs: dict[IArrivingLink, tuple[Hello, GatewayProof]] = {}
        self._settings = settings
        self._texts = texts
        self._events = events
        self._random = random_bytes
        self._wall_clock = wall_clock
        self._agents: dict[str, _Agent] = {}
        self._place: dict[ILink, AgentLink] = {}
        self._connections: dict[IArrivingLink, None] = {}  # in the order of arrival
        self._candidates: list[IArrivingLink] = []
        self._slots = Slots(settings.max_links)
        self._leaving = False
        self._expiries = Expiries()  # of the keys of connected agents
        self._expiry: IDelayedCall | None = None  # until the next of them
        self._given = self._full = 0  # streams
        self._tallies: dict[str, AgentTally] = {}
        self._gone_sent = self._gone_received = 0
        self.made = self.given = self.given_again = 0
        self.waits = Histogram(LATENCY_BOUNDS)
        self._empty: list[Deferred[None]] = []
        self._unproven: Shares[ILink] = Shares()  # those without a name
        word = "Dropped" if settings.session.allow_legacy else "Unauthorized"
        self._surplus: set[IArrivingLink] = set()  # those that their agents close
        self._refusals = RefusalLog(clock, "link", word, emit)
        self._offences = RefusalLog(clock, "link", emit=emit)  # wrong credentials
        self.linger = Linger(clock)

    def configure(self, settings: AdmissionSettings) -> None:
        """Admit by other settings, and begin links by them; live links go on."""
        self._settings = settings
        self._slots.limit = settings.max_links

    # -- what others ask ---------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether any agent is up."""
        return bool(self._agents)

    def views(self) -> list[AgentView]:
        """Return all agents, ordered by name."""
        return list(self.each())

    def each(self) -> Iterator[AgentView]:
        """Return all agents, ordered by name, each as it is when it is taken.

        Those that leave meanwhile are left out.
        """
        for name in sorted(self._agents):
            agent = self._agents.get(name)
            if agent is not None:
                yield self._view(name, agent)

    def named(self) -> list[NamedLink]:
        """Return every connection, also of those who have no name yet."""
        found = []
        for link in self._connections:
            one = self._place.get(link)
            name, number = (None, None) if one is None else (one.agent, one.number)
            found.append(NamedLink(name, number, link))
        return found

    def _view(self, name: str, agent: _Agent) -> AgentView:
        links = [one.link for one in agent.links.values()]
        trips = [link.round_trip for link in links]
        known = [trip for trip in trips if trip is not None]
        return AgentView(
            name=name,
            instance=agent.instance,
            negotiated=all(link.negotiated for link in links),
            links=len(links),
            streams=agent.streams,
            rtt_seconds=min(known) if known else None,
            connected_at=agent.connected_at,
            address=links[0].address if links else "",
            software=agent.software,
            links_total=self._tallies[name].links,
        )

    def pick(self, name: str | None, port: int | None = None) -> AgentLink | None:
        """Return the link for a new stream, the one with least to do, or None.

        Args:
            name: the agent asked for; None = the default agent, else the only
                one there is.
            port: public port of the visitor; None = whatever.
        """
        agent = self._default() if name is None else self._agents.get(name)
        if agent is None:
            return None
        best, least = None, inf
        limit, now = self._settings.streams_per_link or inf, self._clock.seconds()
        full = False
        for one in agent.links.values():
            if not one.link.usable:
                continue
            full = True
            load = one.load(now)
            if one.link.streams < limit and load < least:
                best, least = one, load
        if port is not None:
            self._given += best is not None
            self._full += full and best is None
        if best is None or best.scope is None:
            return best
        return best if agent.may_serve(best.scope, port) else None

    def forbids(self, name: str | None, port: int) -> bool:
        """Return whether a key keeps visitors of a public port from an agent.

        Args:
            name: the agent asked for; None = the default agent.
            port: public port of the visitor.
        """
        agent = self._default() if name is None else self._agents.get(name)
        links = () if agent is None else agent.links.values()
        return any(one.scope and not one.scope.has_port(port) for one in links)

    @property
    def stream_places(self) -> StreamPlaces:
        """How much of the streams of one link is used."""
        return StreamPlaces(
            limit=self._settings.streams_per_link,
            active=max(
                (
                    one.link.streams
                    for agent in self._agents.values()
                    for one in agent.links.values()
                ),
                default=0,
            ),
            total=self._given,
            rejected=self._full,
        )

    def _default(self) -> _Agent | None:
        """Return the default agent, else the only one.

        A legacy peer that has said nothing yet may be a port scan: it serves only
        while there is nobody else.
        """
        agent = self._agents.get(DEFAULT_AGENT)
        if agent is not None and agent.has_spoken():
            return agent
        others = [one for one in self._agents.values() if one is not agent]
        if not others:
            return agent
        return others[0] if len(others) == 1 else None

    def note_given(self, link: AgentLink) -> None:
        """Count that a visitor is given a link."""
        self.given += 1
        if link.served:
            self.given_again += 1
        link.served = True

    @property
    def refusals(self) -> dict[str, RefusalLog]:
        """What is told of links and of agents that are turned away."""
        return {"link": self._refusals, "agent": self._offences}

    def reachable(self, name: str | None) -> bool:
        """Tell whether a visitor of a mapping with this `agent` would find one."""
        return self.pick(name) is not None

    def has(self, name: str) -> bool:
        """Tell whether the agent has a live link."""
        return name in self._agents

    # -- making links ------------------------------------------------------------

    def note_refused(self, address: str, why: str) -> None:
        """Log that somebody did not even become a link."""
        self._refusals.note(address, why)

    def session_for(self, address: IAddress | None) -> SessionSettings | None:
        """Return how the session of a connection behaves, or None = reset it.

        When too many connections have not said who they are, the oldest of the
        address with the most of them makes room. An agent says HELLO at once, so
        neither a scan nor a flood from another address keeps it out.
        """
        if self._leaving:
            return None
        host = getattr(address, "host", "?")
        if not self._bans.admits(host):
            self._refusals.note(host, "it is banned")
            return None
        if len(self._unproven) >= MAX_UNDECIDED and not self._make_room(host):
            self._refusals.note(host, _CROWDED)
            return None
        settings = self._settings.session
        if settings.allow_legacy and self._credentials:
            return replace(settings, allow_legacy=False)
        return settings

    def _make_room(self, host: str) -> bool:
        """Drop a connection that must give way to one from `host`, if any must."""
        victim = self._unproven.victim(host, self._clock.seconds())
        if victim is None:
            return False
        self._unproven.discard(victim)
        self._refusals.note(victim.host, _CROWDED)
        victim.abort(_CROWDED)
        return True

    def _add_unproven(self, link: ILink) -> None:
        self._unproven.add(link, link.host, self._clock.seconds())

    def link_made(self, link: IArrivingLink) -> None:
        """Count it; it is nobody's until it is decided."""
        self._connections[link] = None
        self._add_unproven(link)

    def link_hello(self, link: IArrivingLink, hello: Hello) -> None:
        """Check the credential, then the name."""
        if hello.auth == SCRAM:
            nonce = self._random(NONCE_BYTES).hex()
            proof = GatewayProof(self._credentials.verifier, self._pepper, nonce)
            self._proofs[link] = hello, proof
            return
        if not self._authentic(hello):
            self._reject(link, f"agent {hello.agent}: wrong or missing token")
            return
        self._admit(link, hello)

    def _reject(self, link: IArrivingLink, why: str) -> None:
        self._offend(link, why)
        link.refuse(self._texts("authentication_failed"))

    def _offend(self, link: IArrivingLink, why: str) -> None:
        self._offences.note(link.host, why)
        self._bans.failed(link.host)

    def link_auth(self, link: IArrivingLink, message: str) -> None:
        """Go on with an agent's proof; at its end the agent is admitted or not."""
        if link not in self._proofs:
            self._reject(link, "a proof of a kind that is not known")
            return
        hello, proof = self._proofs[link]
        try:
            answer = proof.answer(message)
        except ProofError as fault:
            del self._proofs[link]
            self._reject(link, f"agent {hello.agent}: wrong key: {fault}")
            return
        if not proof.proven:
            link.authenticate(answer)
            return
        del self._proofs[link]
        credential = self._credentials.get(proof.name)
        if credential is None or hello.agent != credential.name:
            self._reject(link, f"agent {hello.agent}: the key is of {proof.name}")
            return
        link.authenticate(answer)
        self._credentials.note_used(credential.name, proof.key_id)
        agent = self._agents.get(hello.agent)
        most = credential.scope.max_links
        if agent is not None and 0 < most <= len({*agent.links} - {hello.link}):
            link.refuse(f"{self._texts('max_tunnels')}: {most} of this agent")
            return
        self._admit(link, hello, credential.scope)

    def _admit(
        self, link: IArrivingLink, hello: Hello, scope: AgentScope | None = None
    ) -> None:
        """Give an agent that is who it says its place."""
        if self._settings.by_certificate and hello.agent not in link.peer_names:
            names = cleaned(", ".join(sorted(link.peer_names)), 200) or "nobody by name"
            self._offend(link, f"agent {hello.agent}: its certificate is for {names}")
            link.refuse(self._texts("unauthorized"))
            return
        if link in self._candidates:
            self._candidates.remove(link)
        self._displace(link, "it said HELLO after all")
        if hello.probe is not None:
            self._answer_probe(link, hello, scope, hello.probe)
            return
        error = self._claim(link, hello, scope)
        if error is not None:
            self.log.warn(
                "agent {agent} at {address} refused: {error}",
                agent=hello.agent,
                address=link.address,
                error=error,
            )
            self._tell("refused", hello.agent, link, hello.link, error)
            link.refuse(error)
            return
        link.accept(self._ack(hello, scope))

    def _ack(self, hello: Hello, scope: AgentScope | None) -> HelloAck:
        settings = self._settings
        return HelloAck(
            session=self._random(8).hex(),
            features=FEATURES & hello.features,
            window=settings.session.window,
            max_frame=settings.session.max_frame,
            heartbeat=settings.session.heartbeat_seconds,
            open_timeout=settings.open_timeout,
            links=min(MAX_LINKS, (scope and scope.max_links) or MAX_LINKS),
        )

    def _answer_probe(
        self,
        link: IArrivingLink,
        hello: Hello,
        scope: AgentScope | None,
        padding: int,
    ) -> None:
        """Say that the agent would be taken; the link stays nobody's, and ends."""
        self.log.info(
            "agent {agent} at {address}: a probe, which takes no place",
            agent=hello.agent,
            address=link.address,
        )
        ack = self._ack(hello, scope)
        link.accept(
            replace(ack, software=SOFTWARE, clock=self._wall_clock(), probe=True)
        )
        link.pad(padding)
        link.leave(frames.STOPPING, "a probe")

    def _authentic(self, hello: Hello) -> bool:
        token = self._settings.token
        if token is None:
            return not self._credentials
        return hmac.compare_digest(token.encode(), (hello.token or "").encode())

    def _claim(
        self, link: IArrivingLink, hello: Hello, scope: AgentScope | None
    ) -> str | None:
        """Give the link its place among the agent's; return why not."""
        agent = self._agents.get(hello.agent)
        if agent is not None and agent.instance != hello.instance:
            if hello.instance in agent.replaced:
                return NAME_TAKEN
            agent = self._take_over(hello.agent, agent, hello)
        if agent is None:
            agent = _Agent(hello, self._wall_clock())
        before = agent.links.get(hello.link)
        if before is not None:
            why = "replaced by a new link of the same agent"
            self._displace(before.link, why)
            before.link.abort(why)
        if not self._slots.acquire():
            return self._texts("max_tunnels")
        self._settle(link, hello.agent, hello.link, agent, scope)
        return None

    def _take_over(self, name: str, old: _Agent, hello: Hello) -> _Agent:
        """Let another process have the name; the old one is told."""
        agent = _Agent(hello, self._wall_clock())
        agent.replaced.extend(old.replaced)
        agent.replaced.append(old.instance)
        self.log.warn(
            "agent {agent}: taken over by instance {new} from {old}",
            agent=name,
            new=hello.instance,
            old=old.instance or "a legacy agent",
        )
        for one in list(old.links.values()):
            self._displace(one.link, NAME_TAKEN)
            one.link.leave(frames.REPLACED, NAME_TAKEN)
        return agent

    def _settle(
        self,
        link: IArrivingLink,
        name: str,
        number: int,
        agent: _Agent,
        scope: AgentScope | None = None,
    ) -> None:
        arrived = self._agents.get(name) is not agent
        self._agents[name] = agent
        one = AgentLink(link, name, number, scope, self._tally(name))
        agent.links[number] = self._place[link] = one
        if scope is not None:
            one.buckets = agent.share(scope.bandwidth_limit, self._clock.seconds())
            self._watch_key(name)
        self.made += 1
        self._unproven.discard(link)
        if arrived:
            self._emit("link", "arrived", agent=name, software=agent.software)
            self._events.agent_arrived(name)

    def _tally(self, name: str) -> AgentTally:
        """Return what is counted of an agent, also while it is away."""
        tally = self._tallies.pop(name, None) or AgentTally()
        self._tallies[name] = tally  # the longest unused comes first
        if len(self._tallies) > REMEMBERED_AGENTS:
            gone = next((one for one in self._tallies if one not in self._agents), None)
            if gone is not None:
                del self._tallies[gone]
        tally.links += 1
        return tally

    def tallies(self) -> dict[str, AgentTally]:
        """Return what is counted of agents, by name, those who left included."""
        return dict(self._tallies)

    @property
    def wire_bytes(self) -> tuple[int, int]:
        """Bytes to agents and from them since the start, frames and all."""
        live = self._connections
        sent = sum(link.sent_bytes for link in live)
        return (
            self._gone_sent + sent,
            self._gone_received + sum(link.received_bytes for link in live),
        )

    def _tell(
        self,
        action: str,
        agent: str,
        link: ILink,
        number: int,
        reason: str | None = None,
    ) -> None:
        self._emit(
            "link",
            action,
            agent=agent,
            link=number,
            address=link.address,
            reason=reason,
        )

    def _displace(self, link: ILink, why: str) -> None:
        """Take a link out of the tables; its connection may live a little on."""
        place = self._place.pop(link, None)
        if place is None:
            return
        self._add_unproven(link)
        self._slots.release()
        name, number = place.agent, place.number
        if link in self._surplus:
            self.log.info(
                "agent {agent} closed its link {number} at {address}: not needed now",
                agent=name,
                number=number,
                address=link.address,
            )
            self._tell("closed", name, link, number)
        else:
            self.log.info(
                "{phrase}: agent {agent} link {number} at {address}: {why}",
                phrase=self._texts("link_down"),
                agent=name,
                number=number,
                address=link.address,
                why=why,
            )
            self._tell("down", name, link, number, why)
        agent = self._agents[name]
        del agent.links[number]
        if not agent.links:
            del self._agents[name]
            self._expiries.discard(name)
            self._emit("link", "left", agent=name)
            self._events.agent_left(name)

    def link_decided(self, link: IArrivingLink, ack: HelloAck | None) -> None:
        """Log a negotiated link; give a legacy one its name."""
        if ack is None:
            self._admit_legacy(link)
        elif link in self._place:
            self._say_up(link)

    def _say_up(self, link: IArrivingLink) -> None:
        one = self._place[link]
        name, number = one.agent, one.number
        self.log.info(
            "{phrase}: agent {agent} link {number} at {address}",
            phrase=self._texts("link_up"),
            agent=name,
            number=number,
            address=link.address,
        )
        self._tell("up", name, link, number)

    def _admit_legacy(self, link: IArrivingLink) -> None:
        """Name a peer without HELLO: "default", where no other has it.

        A silent connection beside other agents waits until its first valid frame,
        so that a port scan takes neither a name nor visitors from anybody.
        """
        if self._credentials:  # the first key came after the connection
            why = "agents need a key now"
            self._offences.note(link.host, why)
            link.abort(why)
            return
        if self._agents and not link.spoken:
            self._candidates.append(link)
            link.awaits_word = True
            return
        agent = self._agents.get(DEFAULT_AGENT)
        if agent is not None and agent.instance:
            self._refusals.note(link.host, NAME_TAKEN)
            link.abort(NAME_TAKEN)
            return
        if agent is not None:
            why = "replaced by another legacy agent"
            for old in list(agent.links.values()):
                self._displace(old.link, why)
                old.link.abort(why)
        if not self._slots.acquire():
            link.abort(self._texts("max_tunnels"))
            return
        self._settle(link, DEFAULT_AGENT, 0, _Agent(None, self._wall_clock()))
        self._say_up(link)

    def link_spoke(self, link: IArrivingLink) -> None:
        """A legacy candidate sent its first valid frame."""
        if link in self._candidates:
            self._candidates.remove(link)
            self._admit_legacy(link)

    def link_refused(self, link: IArrivingLink, error: str) -> None:
        """Gateways are not refused."""

    def link_listener(self, link: IArrivingLink) -> IStreamListener:
        """Agents open no streams: the session refuses the frame."""
        raise AssertionError("a gateway dials for nobody")

    def link_register(self, link: IArrivingLink, wish: Register) -> None:
        """Answer an agent's wish for a public port."""
        place = self._place.get(link)
        if place is None:
            return
        if place.registering >= MOST_REGISTERING:
            why = f"{MOST_REGISTERING} requests of this link wait for their answers"
            link.answer_registration(RegisterAck(id=wish.id, error=why))
            return
        place.registering += 1
        answer = self._events.agent_registers(place.agent, wish, place.scope)
        answer.addErrback(self._registration_failed, wish)
        answer.addCallback(self._registered, place)

    def _registered(self, ack: RegisterAck, place: AgentLink) -> None:
        place.registering -= 1
        place.link.answer_registration(ack)

    def _registration_failed(self, failure: Failure, wish: Register) -> RegisterAck:
        self.log.failure("registration failed", failure=failure)
        return RegisterAck(id=wish.id, error=self._texts("internal"))

    def link_registered(self, link: IArrivingLink, ack: RegisterAck) -> None:
        """Gateways do not register."""

    def link_goodbye(self, link: IArrivingLink, goodbye: Goaway) -> None:
        """The agent leaves: it gets no new streams."""
        if goodbye.reason == frames.SURPLUS:
            self._surplus.add(link)
            return
        self.log.info(
            "agent at {address} leaves: {text}",
            address=link.address,
            text=goodbye.text or f"reason {goodbye.reason}",
        )

    def link_failed(self, link: IArrivingLink, fault: ProtocolError) -> None:
        """Say what was wrong, for strangers without a flood of lines."""
        words = fault.text(self._texts.language)
        if link.undecided and fault.kind in FLOODS:
            self._bans.failed(link.host)
        if not link.negotiated:
            self._refusals.note(link.host, words)
        else:
            self.log.warn(
                "link of {address} dropped: {fault}", address=link.address, fault=words
            )

    def link_unknown_kind(self, link: IArrivingLink, kind: int) -> None:
        """Say so of an agent; a newer one may know more than we do."""
        if link in self._place:
            self.log.warn(
                "{phrase}: passed over, as are all such frames of {address}",
                phrase=self._texts("unknown_kind", kind=kind),
                address=link.address,
            )

    def link_lost(self, link: IArrivingLink, why: str) -> None:
        """Take the link out of the tables."""
        if link in self._candidates:
            self._candidates.remove(link)
        self._proofs.pop(link, None)
        self._displace(link, why)

    def link_closed(self, link: IArrivingLink) -> None:
        """Forget the connection."""
        self._connections.pop(link, None)
        self._unproven.discard(link)
        self._surplus.discard(link)
        self._gone_sent += link.sent_bytes
        self._gone_received += link.received_bytes
        if not self._connections:
            waiting, self._empty = self._empty, []
            for waiter in waiting:
                waiter.callback(None)

    # -- credentials ---------------------------------------------------------------

    @property
    def slots(self) -> Slots:
        """The places of links."""
        return self._slots

    @property
    def open_to_all(self) -> bool:
        """Whether agents need no credential of any kind."""
        settings = self._settings
        return not (
            settings.token is not None or settings.by_certificate or self._credentials
        )

    def _credential_changed(
        self, name: str, credential: AgentCredential | None
    ) -> None:
        """End the links of a revoked agent, and of those whom nobody knows any more.

        Others get what they may do now.
        """
        if credential is None:
            self._send_away(name, "the key is revoked")
            return
        keyed = [one for one in self._links_of(name) if one.scope is not None]
        for one in keyed:
            one.scope = credential.scope
            rate = credential.scope.bandwidth_limit
            one.buckets = self._agents[name].share(rate, self._clock.seconds())
        if keyed:
            for answer in self._events.agent_limited(name, credential.scope):
                keyed[0].link.answer_registration(answer)
        if name in self._agents:
            self._watch_key(name)
        if self._settings.token is None:
            for other in list(self._agents):
                if any(one.scope is None for one in self._links_of(other)):
                    self._send_away(other, "agents need a key now")

    def disconnect(self, name: str, why: str) -> int:
        """End the links of an agent, which may come again; return how many."""
        count = len(self._links_of(name))
        self._send_away(name, why)
        return count

    def _watch_key(self, name: str) -> None:
        """Note when the key of a connected agent expires."""
        credential = self._credentials.get(name)
        self._expiries.put(name, None if credential is None else credential.expires_at)
        self._watch_expiry()

    def _watch_expiry(self) -> None:
        """Look again when the next key of a connected agent expires.

        That is in an hour at the latest: the wall clock may be set.
        """
        self._stop_expiry()
        at = self._expiries.next_at()
        if at is not None and not self._leaving:
            left = max(0.0, at - self._wall_clock())
            self._expiry = self._clock.callLater(
                min(left, LONGEST_LOOK_SECONDS), self._end_expired
            )

    def _stop_expiry(self) -> None:
        expiry, self._expiry = self._expiry, None
        if expiry is not None and expiry.active():
            expiry.cancel()

    def _end_expired(self) -> None:
        """End the links of agents whose key has expired."""
        self._expiry = None
        for name in self._expiries.due(self._wall_clock()):
            keyed = any(one.scope is not None for one in self._links_of(name))
            if keyed and self._credentials.get(name) is None:
                self._send_away(name, "the key has expired")
        self._watch_expiry()

    def _links_of(self, name: str) -> list[AgentLink]:
        agent = self._agents.get(name)
        return [] if agent is None else list(agent.links.values())

    def _send_away(self, name: str, why: str) -> None:
        for one in self._links_of(name):
            self._displace(one.link, why)
            one.link.leave(frames.REVOKED, why)

    # -- leaving -----------------------------------------------------------------

    def leave(self, text: str) -> None:
        """Tell every agent that the gateway stops; admit nobody any more."""
        self._leaving = True
        self._stop_expiry()
        for link in list(self._connections):
            link.leave(frames.STOPPING, text)

    def gone(self) -> Deferred[None]:
        """Return a Deferred that fires when no connection is left."""
        if not self._connections:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._forget_waiter)
        self._empty.append(waiter)
        return waiter

    def _forget_waiter(self, waiter: Deferred[None]) -> None:
        self._empty.remove(waiter)

    def part(self, text: str) -> None:
        """Close every connection behind what was said last."""
        for link in list(self._connections):
            link.close_after_last_words(text)

    def abort(self) -> None:
        """Close every connection at once; may be called twice."""
        self._leaving = True
        self._stop_expiry()
        for link in list(self._connections):
            link.abort("the gateway stops")
        self.linger.stop()
        self._refusals.close()
        self._offences.close()
