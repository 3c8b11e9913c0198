"""Who becomes a link of an agent, and what links tell the gateway."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway import SOFTWARE
from gateway.errors import ProtocolError
from gateway.interfaces import IArrivingLink, IStreamListener
from gateway.link.proof import SCRAM, ProofError
from gateway.mux.core import SessionSettings
from gateway.mux.session import CROWDED
from gateway.ops.events import Emit, unheard
from gateway.ops.refusals import RefusalLog
from gateway.policy.credentials import AgentScope
from gateway.relay.linger import Linger
from gateway.server.agents import AgentEvents, AgentLink
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.key_proofs import KeyProofs
from gateway.server.link_connections import LinkConnections
from gateway.server.link_counts import LinkCounts
from gateway.server.link_registry import LinkRegistry
from gateway.server.link_settings import AdmissionSettings
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

MOST_REGISTERING: Final = 100  # requests of a link that are not answered yet
# errors of strangers that count as wrong credentials do
FLOODS: Final = frozenset({CROWDED, "too_large"})
FEATURES: Final = frozenset({"register"})


class LinkAdmission:
    """The owner of every connection to the link port.

    Attributes:
        connections: all of them.
        registry: knows the links that are admitted.
        refusals: what is told of links and of agents that are rejected.
        linger: flushes near sockets whose stream is over.
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
        counts: LinkCounts,
        emit: Emit = unheard,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._texts = texts
        self._events = events
        self._random = random_bytes
        self._wall_clock = wall_clock
        self._credentials = credentials
        self._bans = bans
        self._counts = counts
        self._proofs = KeyProofs(credentials, random_bytes)
        self._candidates: list[IArrivingLink] = []
        word = "Dropped" if settings.session.allow_legacy else "Unauthorized"
        self._refusals = RefusalLog(clock, "link", word, emit)
        self._offences = RefusalLog(clock, "link", emit=emit)  # wrong credentials
        self.connections = LinkConnections(clock, bans, self._refusals)
        self.linger = Linger(clock)
        self.registry = LinkRegistry(
            clock,
            settings,
            texts,
            events,
            wall_clock,
            credentials,
            counts,
            self.connections.disown,
            emit,
        )
        credentials.changed = self.registry.credential_changed

    def configure(self, settings: AdmissionSettings) -> None:
        """Admit by other settings, and begin links by them; live links go on."""
        self._settings = settings
        self.registry.configure(settings)

    @property
    def refusals(self) -> dict[str, RefusalLog]:
        """What is told of links and of agents that are rejected."""
        return {"link": self._refusals, "agent": self._offences}

    @property
    def open_to_all(self) -> bool:
        """Whether agents need no credential of any kind."""
        settings = self._settings
        return not (
            settings.token is not None or settings.by_certificate or self._credentials
        )

    # -- connections that nobody knows yet ------------------------------------------

    def note_refused(self, address: str, why: str) -> None:
        """Log that somebody did not even become a link."""
        self._refusals.note(address, why)

    def session_for(self, address: IAddress | None) -> SessionSettings | None:
        """Return how the session of a connection behaves, or None = reset it."""
        if not self.connections.admits(getattr(address, "host", "?")):
            return None
        settings = self._settings.session
        if settings.allow_legacy and self._credentials:
            return replace(settings, allow_legacy=False)
        return settings

    def link_made(self, link: IArrivingLink) -> None:
        """Count it; it is nobody's until it is decided."""
        self.connections.add(link)

    # -- agents that say who they are -------------------------------------------------

    def link_hello(self, link: IArrivingLink, hello: Hello) -> None:
        """Check the credential, then the name."""
        if hello.auth == SCRAM:
            self._proofs.begin(link, hello)
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
        try:
            answer, hello, credential = self._proofs.go_on(link, message)
        except ProofError as fault:
            self._reject(link, str(fault))
            return
        link.authenticate(answer)
        if credential is None:
            return
        most = credential.scope.max_links
        others = {one.number for one in self.registry.links_of(hello.agent)}
        if 0 < most <= len(others - {hello.link}):
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
        self.registry.displace(link, "it said HELLO after all")
        if hello.probe is not None:
            self._answer_probe(link, hello, scope, hello.probe)
            return
        error = self.registry.claim(link, hello, scope)
        if error is not None:
            self.log.warn(
                "agent {agent} at {address} refused: {error}",
                agent=hello.agent,
                address=link.address,
                error=error,
            )
            self.registry.tell("refused", hello.agent, link, hello.link, error)
            link.refuse(error)
            return
        self._own(link)
        link.accept(self._ack(hello, scope))

    def _own(self, link: IArrivingLink) -> None:
        if self.registry.find(link) is not None:
            self.connections.own(link)

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

    def link_decided(self, link: IArrivingLink, ack: HelloAck | None) -> None:
        """Log a negotiated link; give a legacy one its name."""
        if ack is None:
            self._admit_legacy(link)
        elif self.registry.find(link) is not None:
            self.registry.say_up(link)

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
        if self.registry.connected and not link.spoken:
            self._candidates.append(link)
            link.awaits_word = True
            return
        error = self.registry.claim_default(link)
        if error is not None:
            if error == NAME_TAKEN:
                self._refusals.note(link.host, error)
            link.abort(error)
            return
        self._own(link)
        self.registry.say_up(link)

    def link_spoke(self, link: IArrivingLink) -> None:
        """A legacy candidate sent its first valid frame."""
        if link in self._candidates:
            self._candidates.remove(link)
            self._admit_legacy(link)

    # -- what links tell ---------------------------------------------------------------

    def link_refused(self, link: IArrivingLink, error: str) -> None:
        """Gateways are not refused."""

    def link_listener(self, link: IArrivingLink) -> IStreamListener:
        """Agents open no streams: the session refuses the frame."""
        raise AssertionError("a gateway dials for nobody")

    def link_register(self, link: IArrivingLink, wish: Register) -> None:
        """Answer an agent's wish for a public port."""
        place = self.registry.find(link)
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
            self.registry.note_surplus(link)
            return
        self.log.info(
            "agent at {address} leaves: {text}",
            address=link.address,
            text=goodbye.text or f"reason {goodbye.reason}",
        )

    def link_failed(self, link: IArrivingLink, fault: ProtocolError) -> None:
        """Say what was wrong, for strangers without a flood of lines."""
        words = fault.text(self._texts.language)
        self._counts.faults[fault.kind] += 1
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
        if self.registry.find(link) is not None:
            self.log.warn(
                "{phrase}: passed over, as are all such frames of {address}",
                phrase=self._texts("unknown_kind", kind=kind),
                address=link.address,
            )

    def link_lost(self, link: IArrivingLink, why: str) -> None:
        """Take the link out of the tables."""
        if link in self._candidates:
            self._candidates.remove(link)
        self._proofs.forget(link)
        self.registry.displace(link, why)

    def link_closed(self, link: IArrivingLink) -> None:
        """Forget the connection."""
        self.registry.forget(link)
        self._counts.closed(link)
        self.connections.closed(link)

    # -- leaving -----------------------------------------------------------------

    def leave(self, text: str) -> None:
        """Tell every agent that the gateway stops; admit nobody any more."""
        self.registry.stop()
        self.connections.leave(text)

    def abort(self) -> None:
        """Close every connection at once; may be called twice."""
        self.registry.stop()
        self.connections.abort("the gateway stops")
        self.linger.stop()
        self._refusals.close()
        self._offences.close()
