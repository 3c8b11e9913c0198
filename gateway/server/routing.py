"""Which link or target a visitor gets, and the life of a visit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.edge.tcp import TcpEdge, Visit
from gateway.errors import DeniedError, PayloadError, UnresolvableError
from gateway.interfaces import (
    Dialled,
    IAttempt,
    IByteTransport,
    IPaced,
    IStream,
    IStreamListener,
)
from gateway.metrics.tallies import (
    BROKEN,
    DENIED,
    FINISHED,
    KILLED,
    LEFT,
    NO_AGENT,
    RATE,
    UNREACHED,
    Tally,
)
from gateway.mux.stream import Ending, StreamRequest
from gateway.net.sockets import is_bound
from gateway.ops.access_log import AccessLog
from gateway.ops.events import Emit, unheard
from gateway.policy.addresses import holder_of, join_host_port
from gateway.policy.backlogs import Flow
from gateway.policy.hops import CIRCLE, MOST_HOPS, Hops
from gateway.policy.rates import Bucket
from gateway.relay.deadlines import Deadlines
from gateway.relay.dial import Dialer
from gateway.relay.flows import flows_of_stream
from gateway.relay.near import NearProtocol
from gateway.relay.pair import FINISHED as DONE
from gateway.relay.pair import LEFT_EARLY, DirectVisitor
from gateway.server.agents import AgentLink
from gateway.server.links import Links
from gateway.server.own import OwnPlaces
from gateway.server.visit_log import VisitLog
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.messages import OpenRequest
from gateway.wire.proxy import Place, encode

_log = Logger()
LOOK_UP_SECONDS: Final = 1.0  # of a target that might be the gateway itself
TCP_TYPES: Final[tuple[type[Any], ...]] = (IPv4Address, IPv6Address)


class Router:
    """Give each visitor a stream to an agent, or a connection to its target."""

    def __init__(
        self,
        clock: IReactorTime,
        links: Links,
        dialer: Dialer,
        own: OwnPlaces,
        texts: Texts,
        open_timeout: float,
        trace_prefix: str,
        access: AccessLog | None = None,
        emit: Emit = unheard,
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for time limits.
            links: live agents.
            dialer: for direct mappings.
            own: what an agent on this machine may not be asked to dial.
            texts: for the documented log phrases.
            open_timeout: seconds that a visitor waits for its target.
            trace_prefix: makes trace ids of this process unlike any other's.
            access: takes visits that are over; None = nobody wants them.
            emit: told of visitors that come and go.
        """
        self._emit = emit
        self.openings = Deadlines(clock, open_timeout)
        self.links = links
        self.own = own
        self.texts = texts
        self.log = VisitLog(texts, access)
        self.clock = clock
        self.hops = Hops(is_bound)
        self._dialer = dialer
        self._trace_prefix = trace_prefix
        self._traces = count(1)

    def admit(self, edge: TcpEdge, addr: IAddress | None) -> Protocol:
        """Return the protocol for a visitor of `edge`."""
        trace = f"{self._trace_prefix}-{next(self._traces):x}"
        if edge.mapping.use_tunnel:
            return TunnelVisit(self, edge, addr, trace).near
        return DirectVisit(self, edge, addr, trace).near

    def dial(
        self,
        edge: TcpEdge,
        factory: IProtocolFactory,
        failed: Callable[[Failure], None],
        dialled: Dialled,
    ) -> IAttempt:
        """Connect to the target of a direct mapping."""
        mapping = edge.mapping
        host, port = mapping.target_host, mapping.target_port
        return self._dialer.reach(host, port, factory, failed, dialled=dialled)

    def resolve(self, host: str) -> Deferred[list[str]]:
        """Return the addresses of a name; none at all if they do not come soon."""
        found: Deferred[list[str]] = self._dialer.network.resolve(host)
        found.addTimeout(LOOK_UP_SECONDS, self.clock)
        found.addErrback(_nothing_found)
        return found

    def hops_of(self, addr: IAddress | None) -> int:
        """Return how often what comes from there has passed this gateway.

        Args:
            addr: far end of the socket, whatever a header says of the visitor.
        """
        host, port = getattr(addr, "host", None), getattr(addr, "port", None)
        return 0 if host is None or port is None else self.hops.of(host, port)

    def tell_opened(self, edge: TcpEdge, visit: Visit) -> None:
        """Tell that a visitor has reached its target."""
        self._emit(
            "connection",
            "opened",
            id=visit.id,
            port=edge.mapping.port,
            visitor=visit.visitor,
            agent=visit.agent,
        )

    def tell_over(self, edge: TcpEdge, visit: Visit) -> None:
        """Tell that a visitor's socket is gone, or that it reached nothing."""
        refused = visit.opened_at is None and visit.outcome != LEFT
        self._emit(
            "connection",
            "refused" if refused else "closed",
            id=visit.id,
            port=edge.mapping.port,
            visitor=visit.visitor,
            agent=visit.agent,
            outcome=visit.outcome,
            bytes_sent=visit.sent,
            bytes_received=visit.received,
            seconds=round(edge.clock.seconds() - visit.started_at, 3),
        )


def _nothing_found(failure: Failure) -> list[str]:
    failure.trap(UnresolvableError, DeferredTimeoutError)
    return []


def _visitor_text(addr: IAddress | None) -> str:
    host = getattr(addr, "host", None)
    return "?" if host is None else join_host_port(host, getattr(addr, "port", 0))


def _holder_of(addr: IAddress | None) -> str:
    return holder_of(str(getattr(addr, "host", "?")))


def _preface(edge: TcpEdge, addr: IAddress | None, own: IAddress) -> bytes:
    """Return the header that tells the target of the visitor, if it asks for one."""
    form = edge.mapping.rules.proxy_protocol
    ends = [
        Place(one.host, one.port) for one in (addr, own) if isinstance(one, TCP_TYPES)
    ]
    return b"" if form == "off" or len(ends) < 2 else encode(form, *ends)


TARGET_ANSWER: Final = "target_answer"  # what a visit waits for at first


def _rate_bound(transport: object) -> bool:
    return IPaced.providedBy(transport) and IPaced(transport).rate_bound


@implementer(IStreamListener)
class TunnelVisit:
    """A visitor that reaches its target through an agent."""

    __slots__ = (
        "_addr",
        "_edge",
        "_hops",
        "_link",
        "_resolving",
        "_router",
        "_stream",
        "buckets",
        "id",
        "near",
        "opened_at",
        "outcome",
        "started_at",
        "visitor",
    )

    def __init__(
        self, router: Router, edge: TcpEdge, addr: IAddress | None, trace: str
    ) -> None:
        self._router = router
        self._edge = edge
        self._addr = addr
        self.visitor = _visitor_text(addr)
        self.id = trace
        self._hops = 0
        self._resolving: Deferred[list[str]] | None = None
        self._stream: IStream | None = None
        self._link: AgentLink | None = None
        self.started_at = edge.clock.seconds()
        self.opened_at: float | None = None
        self.outcome = LEFT
        self.buckets: tuple[Bucket, Bucket] | None = None
        self.near = NearProtocol(self._made, self._lost)
        edge.enter(self, addr)

    def _made(self, near: NearProtocol) -> None:
        """Choose a link to an agent; the visitor waits."""
        own, mapping = self._router.own, self._edge.mapping
        self._hops = self._router.hops_of(near.transport.getPeer())
        if self._hops > MOST_HOPS:
            self._turn_away(DENIED, CIRCLE)
            return
        link = self._pick()
        if link is None:
            return
        host, port = mapping.target_host, mapping.target_port
        if own.has_port(port) and own.must_resolve(link.host, host, port):
            resolving = self._resolving = self._router.resolve(host)
            resolving.addCallback(self._resolved, link)
            resolving.addErrback(self._not_asked)
        else:
            self._ask(link, ())

    def _pick(self) -> AgentLink | None:
        mapping = self._edge.mapping
        link = self._router.links.pick(mapping.agent, mapping.port)
        if link is None:
            self._turn_away(NO_AGENT, self._why_no_link())
        return link

    def _resolved(self, addresses: list[str], link: AgentLink) -> None:
        """Ask for a target that might be the gateway: its addresses are known."""
        self._resolving = None
        usable = link if link.usable else self._pick()
        if usable is not None:
            self._ask(usable, addresses)

    def _not_asked(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("a visitor's target could not be asked for", failure=failure)
            self.near.transport.abortConnection()

    def _ask(self, link: AgentLink, addresses: Sequence[str]) -> None:
        """Ask an agent for the target, whose name has these addresses."""
        router, edge, near = self._router, self._edge, self.near
        mapping = edge.mapping
        self._link = link
        router.links.note_given(link)
        self.buckets = link.buckets
        if edge.paced or link.buckets:
            edge.pace(self)
        host, port = mapping.target_host, mapping.target_port
        denied = router.own.refusal_through(link.host, host, port, addresses)
        if denied is None and link.scope is not None:
            denied = link.scope.refusal(host, port)
        if denied is not None:
            self._turn_away(DENIED, denied)
            return
        meta: dict[str, object] = {
            "visitor": self.visitor,
            "mapping": mapping.id,
            "trace": self.id,
        }
        peer = near.transport.getPeer()
        if peer != self._addr:  # a balancer's
            meta["peer"] = _visitor_text(peer)
        if self._hops:
            meta["hops"] = self._hops
        if router.own.is_open(port):
            meta["gateway_port"] = True
        router.openings.add(self)
        try:
            request = StreamRequest(frames.PROTOCOL_TCP, port, host, meta)
            self._stream = link.open(near, self, request)
        except PayloadError as fault:
            router.openings.discard(self)
            self._turn_away(DENIED, str(fault))
            return
        if mapping.rules.proxy_protocol != "off":
            own = near.transport.getHost()
            self._stream.write(_preface(edge, self._addr, own))

    def _turn_away(self, outcome: str, why: str) -> None:
        self.outcome = outcome
        self._router.log.closed(self, self._edge, why)
        self.near.transport.abortConnection()

    def _why_no_link(self) -> str:
        wanted, links = self._edge.mapping.agent, self._router.links
        port = self._edge.mapping.port
        if links.forbids(wanted, port):
            return f"the key of agent {wanted or 'any'} forbids port {port}"
        if wanted is not None:
            what = "has no room" if links.has(wanted) else "is not connected"
            return f"agent {wanted} {what}"
        if not links.connected:
            return "no agent is connected"
        return "no agent is the default one, or it has no room"

    def timed_out(self) -> None:
        """The target was not confirmed in time."""
        if self._stream is not None:
            phrase = self._router.texts("open_timeout")
            self._stream.kill(frames.TIMED_OUT, phrase)

    def stream_requested(self, stream: IStream, request: OpenRequest) -> None:
        """Gateways open streams; nobody asks them to."""

    def stream_opened(self, stream: IStream) -> None:
        """The target is confirmed."""
        self._router.openings.discard(self)
        self.opened_at = self._edge.clock.seconds()
        seconds = self.opened_at - self.started_at
        self._edge.opened(seconds)
        self._router.links.waits.observe(seconds)
        self._router.log.opened(self, self._edge)
        self._router.tell_opened(self._edge, self)

    def stream_ended(self, stream: IStream, ending: Ending) -> None:
        """The stream is over; the socket may still be flushed."""
        self._router.openings.discard(self)
        if self.outcome is LEFT:
            self.outcome = self._how_it_ended(ending)
        self._router.log.closed(
            self, self._edge, ending.reason, stream.sent, stream.received
        )

    def _lost(self, near: NearProtocol) -> None:
        resolving, self._resolving = self._resolving, None
        if resolving is not None:
            resolving.cancel()
        self._router.openings.discard(self)
        self._router.tell_over(self._edge, self)
        self._edge.left(self)

    @property
    def address(self) -> str:
        """Whose it is."""
        return _holder_of(self._addr)

    def flows(self) -> tuple[Flow, ...]:
        """Return what waits for the visitor and for the link."""
        stream, near = self._stream, self.transport
        if stream is not None and not stream.over:
            return stream.flows()
        return () if near is None else flows_of_stream(near, self.received, 0, 0)

    def break_off(self, why: str) -> None:
        """End it at once for what it holds."""
        if self._stream is not None and not self._stream.over:
            self._stream.break_off(why)
        else:
            self.near.transport.abortConnection()

    def _how_it_ended(self, ending: Ending) -> str:
        if self.opened_at is not None:
            return FINISHED if ending.flush else BROKEN
        return LEFT if self.near.gone else UNREACHED

    @property
    def agent(self) -> str | None:
        """The agent that it was given to, if any was there."""
        return None if self._link is None else self._link.agent

    @property
    def sent(self) -> int:
        """Bytes from the visitor."""
        return 0 if self._stream is None else self._stream.sent

    @property
    def received(self) -> int:
        """Bytes for the visitor."""
        return 0 if self._stream is None else self._stream.received

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """Its agent's."""
        return () if self._link is None else (self._link.tally,)

    @property
    def waits_for(self) -> str | None:
        """What its bytes wait for now."""
        if self.opened_at is None:
            return TARGET_ANSWER
        stalled = None if self._stream is None else self._stream.waits_for
        return stalled or (RATE if _rate_bound(self.transport) else None)

    @property
    def over(self) -> bool:
        """Whether only its last bytes are being flushed."""
        return self._stream is not None and self._stream.over

    @property
    def transport(self) -> IByteTransport | None:
        """Its socket, once there is one."""
        return getattr(self.near, "transport", None)

    def close(self, why: str) -> None:
        """End it at once, by the operator's word."""
        self.outcome = KILLED
        if self._stream is not None and not self._stream.over:
            self._stream.kill(frames.KILLED, why)
        else:
            self.near.transport.abortConnection()


class DirectVisit:
    """A visitor whose target the gateway reaches itself."""

    buckets = agent = None
    tallies: tuple[Tally, ...] = ()
    __slots__ = (
        "_addr",
        "_edge",
        "_hops",
        "_router",
        "id",
        "near",
        "opened_at",
        "outcome",
        "started_at",
        "visitor",
    )

    def __init__(
        self, router: Router, edge: TcpEdge, addr: IAddress | None, trace: str
    ) -> None:
        self._router = router
        self._edge = edge
        self._addr = addr
        self.visitor = _visitor_text(addr)
        self.id = trace
        self._hops = 0
        self.started_at = edge.clock.seconds()
        self.opened_at: float | None = None
        self.outcome = LEFT
        self.near = DirectVisitor(
            self._dial, router.links.linger, self._joined, self._ended
        )
        edge.enter(self, addr)

    def _dial(
        self, factory: IProtocolFactory, failed: Callable[[Failure], None]
    ) -> IAttempt:
        """Connect to the target; the visitor waits."""
        edge, near = self._edge, self.near
        self._hops = self._router.hops_of(near.transport.getPeer())
        if self._hops > MOST_HOPS:
            failed(Failure(DeniedError(CIRCLE)))
            return cast(IAttempt, succeed(None))  # there is nothing to give up
        if edge.paced:
            edge.pace(self)
        if edge.mapping.rules.proxy_protocol != "off":
            near.preface = _preface(edge, self._addr, near.transport.getHost())
        return self._router.dial(edge, factory, failed, self._dialled)

    def _dialled(self, local: str, port: int, address: str, fd: int) -> None:
        self._router.hops.note(local, port, address, fd, self._hops)

    def _joined(self) -> None:
        self.opened_at = self._edge.clock.seconds()
        self._edge.opened(self.opened_at - self.started_at)
        self._router.log.opened(self, self._edge)
        self._router.tell_opened(self._edge, self)

    def _ended(self, reason: str) -> None:
        near = self.near
        if self.outcome is LEFT:
            self.outcome = self._how_it_ended(reason)
        self._router.log.closed(self, self._edge, reason, near.sent, near.received)
        self._router.tell_over(self._edge, self)
        self._edge.left(self)

    @property
    def address(self) -> str:
        """Whose it is."""
        return _holder_of(self._addr)

    def flows(self) -> tuple[Flow, ...]:
        """Return what waits for the visitor and for the target."""
        return () if self.transport is None else self.near.flows()

    def break_off(self, why: str) -> None:
        """End it at once for what it holds."""
        self.near.abort(why)

    def _how_it_ended(self, reason: str) -> str:
        if self.opened_at is None:
            return LEFT if reason is LEFT_EARLY else UNREACHED
        return FINISHED if reason is DONE else BROKEN

    @property
    def sent(self) -> int:
        """Bytes from the visitor."""
        return self.near.sent

    @property
    def received(self) -> int:
        """Bytes for the visitor."""
        return self.near.received

    @property
    def waits_for(self) -> str | None:
        """What its bytes wait for now."""
        if self.opened_at is None:
            return TARGET_ANSWER
        return self.near.waits_for or (RATE if _rate_bound(self.transport) else None)

    @property
    def over(self) -> bool:
        """Whether only its last bytes are being flushed."""
        return self.near.closing

    @property
    def transport(self) -> IByteTransport | None:
        """Its socket, once there is one."""
        return getattr(self.near, "transport", None)

    def close(self, why: str) -> None:
        """End it at once, by the operator's word; a cut answer must not look whole."""
        self.outcome = KILLED
        self.near.abort(why)
