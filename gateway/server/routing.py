"""Which link or target a visitor gets, and the life of a visit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from gateway.edge.tcp import TcpEdge
from gateway.errors import PayloadError
from gateway.interfaces import IAttempt, IByteTransport
from gateway.link.stream import StreamTransport
from gateway.mux.stream import Ending
from gateway.ops.logs import InfoLogger
from gateway.policy.rates import Bucket
from gateway.relay.deadlines import Deadlines
from gateway.relay.dial import Dialer
from gateway.relay.near import NearProtocol
from gateway.relay.pair import DirectVisitor
from gateway.server.links import Links
from gateway.server.own import OwnPlaces
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.messages import OpenRequest
from gateway.wire.proxy import Place, encode

_LOG: Final = InfoLogger(__name__)
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
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for the open timeout.
            links: live agents.
            dialer: for direct mappings.
            own: what an agent on this machine may not be asked to dial.
            texts: for the documented log phrases.
            open_timeout: seconds that a visitor waits for its target.
            trace_prefix: makes trace ids of this process unlike any other's.
        """
        self.openings = Deadlines(clock, open_timeout)
        self.links = links
        self.own = own
        self.texts = texts
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
    ) -> IAttempt:
        """Connect to the target of a direct mapping."""
        mapping = edge.mapping
        host, port = mapping.target_host, mapping.target_port
        return self._dialer.reach(host, port, factory, failed)

    def say(self, phrase: str, edge: TcpEdge, visit: str, detail: str) -> None:
        """Log one line of a visit's life."""
        _LOG.info(
            "{phrase}: port {port} {visit}: {detail}",
            phrase=self.texts(phrase),
            port=edge.mapping.port,
            visit=visit,
            detail=detail,
        )


def _visitor_text(addr: IAddress | None) -> str:
    return f"{getattr(addr, 'host', '?')}:{getattr(addr, 'port', '?')}"


def _preface(edge: TcpEdge, addr: IAddress | None, own: IAddress) -> bytes:
    """Return the header that tells the target of the visitor, if it asks for one."""
    form = edge.mapping.rules.proxy_protocol
    ends = [
        Place(one.host, one.port) for one in (addr, own) if isinstance(one, TCP_TYPES)
    ]
    return b"" if form == "off" or len(ends) < 2 else encode(form, *ends)


class TunnelVisit:
    """A visitor that reaches its target through an agent."""

    __slots__ = (
        "_addr",
        "_edge",
        "_router",
        "_stream",
        "_trace",
        "_visitor",
        "buckets",
        "near",
    )

    def __init__(
        self, router: Router, edge: TcpEdge, addr: IAddress | None, trace: str
    ) -> None:
        self._router = router
        self._edge = edge
        self._addr = addr
        self._visitor = _visitor_text(addr)
        self._trace = trace
        self._stream: StreamTransport | None = None
        self.buckets: tuple[Bucket, Bucket] | None = None
        self.near = NearProtocol(self._made, self._lost)
        edge.enter(self, addr)

    def _made(self, near: NearProtocol) -> None:
        """Ask an agent for the target; the visitor waits."""
        router, edge = self._router, self._edge
        mapping = edge.mapping
        link = router.links.pick(mapping.agent, mapping.port)
        if link is None:
            self._turn_away(self._why_no_link())
            return
        self.buckets = link.buckets
        if edge.paced or link.buckets:
            edge.pace(self)
        host, port = mapping.target_host, mapping.target_port
        denied = router.own.refusal_through(link.host, host, port)
        if denied is None and link.scope is not None:
            denied = link.scope.refusal(host, port)
        if denied is not None:
            self._turn_away(denied)
            return
        meta: dict[str, object] = {
            "visitor": self._visitor,
            "mapping": mapping.id,
            "trace": self._trace,
        }
        router.openings.add(self)
        try:
            self._stream = link.open(near, self, port, host, meta)
        except PayloadError as fault:
            router.openings.discard(self)
            self._turn_away(str(fault))
            return
        if mapping.rules.proxy_protocol != "off":
            own = near.transport.getHost()
            self._stream.write(_preface(edge, self._addr, own))

    def _turn_away(self, why: str) -> None:
        self._say("stream_closed", f"{self._trace}: {why}")
        self.near.transport.abortConnection()

    def _why_no_link(self) -> str:
        wanted, links = self._edge.mapping.agent, self._router.links
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

    def stream_requested(self, stream: StreamTransport, request: OpenRequest) -> None:
        """Gateways open streams; nobody asks them to."""

    def stream_opened(self, stream: StreamTransport) -> None:
        """The target is confirmed."""
        self._router.openings.discard(self)
        self._say("stream_opened", self._trace)

    def stream_ended(self, stream: StreamTransport, ending: Ending) -> None:
        """The stream is over; the socket may still be flushed."""
        self._router.openings.discard(self)
        detail = (
            f"{ending.reason}, {stream.sent} bytes sent, {stream.received} received"
        )
        self._say("stream_closed", f"{self._trace}: {detail}")

    def _lost(self, near: NearProtocol) -> None:
        self._router.openings.discard(self)
        self._edge.left(self)

    @property
    def holder(self) -> StreamTransport | None:
        """The stream, once there is one."""
        return self._stream

    @property
    def moved(self) -> int:
        """Bytes that it has sent and got."""
        stream = self._stream
        return 0 if stream is None else stream.sent + stream.received

    @property
    def transport(self) -> IByteTransport | None:
        """Its socket, once there is one."""
        return getattr(self.near, "transport", None)

    def close(self, why: str) -> None:
        """End it at once, by the operator's word."""
        if self._stream is not None and not self._stream.over:
            self._stream.kill(frames.KILLED, why)
        else:
            self.near.transport.abortConnection()

    def _say(self, phrase: str, detail: str) -> None:
        self._router.say(phrase, self._edge, self._visitor, detail)


class DirectVisit:
    """A visitor whose target the gateway reaches itself."""

    buckets = None
    __slots__ = ("_addr", "_edge", "_router", "_trace", "_visitor", "near")

    def __init__(
        self, router: Router, edge: TcpEdge, addr: IAddress | None, trace: str
    ) -> None:
        self._router = router
        self._edge = edge
        self._addr = addr
        self._visitor = _visitor_text(addr)
        self._trace = trace
        self.near = DirectVisitor(
            self._dial, router.links.linger, self._joined, self._ended
        )
        edge.enter(self, addr)

    def _dial(
        self, factory: IProtocolFactory, failed: Callable[[Failure], None]
    ) -> IAttempt:
        """Connect to the target; the visitor waits."""
        edge, near = self._edge, self.near
        if edge.paced:
            edge.pace(self)
        if edge.mapping.rules.proxy_protocol != "off":
            near.preface = _preface(edge, self._addr, near.transport.getHost())
        return self._router.dial(edge, factory, failed)

    def _joined(self) -> None:
        self._router.say("stream_opened", self._edge, self._visitor, self._trace)

    def _ended(self, reason: str) -> None:
        near = self.near
        detail = f"{reason}, {near.sent} bytes sent, {near.received} received"
        self._router.say(
            "stream_closed", self._edge, self._visitor, f"{self._trace}: {detail}"
        )
        self._edge.left(self)

    @property
    def holder(self) -> DirectVisitor:
        """The pair of sockets."""
        return self.near

    @property
    def moved(self) -> int:
        """Bytes that it has sent and got."""
        return self.near.sent + self.near.received

    @property
    def transport(self) -> IByteTransport | None:
        """Its socket, once there is one."""
        return getattr(self.near, "transport", None)

    def close(self, why: str) -> None:
        """End it at once, by the operator's word; a cut answer must not look whole."""
        self.near.abort(why)
