"""A visitor's socket, and the flow that takes its bytes to a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import (
    IAttempt,
    IByteTransport,
    ICarrier,
    IJoinedFlow,
    IUpstream,
    IUpstreamRequest,
    IUpstreamTaker,
    IViewReceiver,
)
from gateway.metrics.tallies import LEFT
from gateway.policy.backlogs import Flow
from gateway.relay.flows import flows_of_stream
from gateway.relay.linger import Linger
from gateway.relay.near import Far
from gateway.wire import frames

LEFT_EARLY: Final = "the visitor left before the target was reached"


@implementer(IHalfCloseableProtocol, IViewReceiver, IUpstreamTaker)
class Visitor(Protocol):
    """A visitor that waits for the flow to its target, and is then joined to it.

    A subclass chooses the upstream in `connectionMade`, by `ask`, and learns how it
    went by `reached`, `missed`, `parted` and `left`.

    Attributes:
        sent: bytes from the visitor.
        flow: the flow to the target, kept for its numbers; None before there is one.
        far: where the visitor's bytes go; None before there is a flow and after it.
        gone: whether the socket is no more.
    """

    flow: IJoinedFlow | None
    transport: IByteTransport
    __slots__ = (
        "_attempt",
        "_held",
        "_linger",
        "_remains",
        "_waiting",
        "_write",
        "connected",
        "far",
        "flow",
        "gone",
        "sent",
        "transport",
    )

    def __init__(self, linger: Linger) -> None:
        """Remember what closes a socket that must still take its last bytes."""
        self.transport = None  # type: ignore[assignment] # until it is connected
        self._linger = linger
        self._attempt: IAttempt | None = None
        self._held = b""  # what the target gets first
        self._waiting = True  # for a flow
        self._remains = False  # the target's side, when the socket is gone
        self._write: Callable[[bytes | memoryview], None] = self._hold
        self.sent = 0
        self.flow = None
        self.far: Far | None = None
        self.gone = False

    # -- what a subclass does and learns -------------------------------------------

    def ask(self, upstream: IUpstream, request: IUpstreamRequest) -> None:
        """Ask for a flow; the socket is paused until there is one."""
        attempt = upstream.open(request, self)
        if self._waiting:
            self._attempt = attempt

    @property
    def address(self) -> str:
        """Whose it is: an IPv4 address or an IPv6 /64."""
        return ""

    def flow_carried(self, carrier: ICarrier) -> None:
        """Learn who carries the flow."""

    def reached(self) -> None:
        """The target is reached."""

    def missed(self, stage: str, why: str) -> None:
        """There is no flow; the socket is about to be reset."""

    def parted(self, why: str, *, whole: bool) -> None:
        """The flow is over; the socket may still be flushed."""

    def left(self) -> None:
        """The socket is gone, and nothing remains of its flow."""

    # -- numbers ---------------------------------------------------------------------

    @property
    def received(self) -> int:
        """Bytes for the visitor."""
        return 0 if self.flow is None else self.flow.received

    @property
    def over(self) -> bool:
        """Whether only the last bytes are being flushed."""
        return self.flow is not None and self.flow.over

    def flows(self) -> tuple[Flow, ...]:
        """Return what waits for the visitor and for the target."""
        if self.far is not None and self.flow is not None:
            return self.flow.flows()
        if getattr(self, "transport", None) is None:
            return ()
        return flows_of_stream(self.transport, self.received, 0, self.sent)

    # -- the socket ------------------------------------------------------------------

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Hand the bytes on."""
        self.sent += len(data)
        self._write(data)

    def count_sent(self, count: int) -> None:
        """Count bytes that passed by another way, see `ISplicing`."""
        self.sent += count

    def _hold(self, data: bytes | memoryview) -> None:
        """Keep what came together with the header of a balancer."""
        self._held += data

    def readConnectionLost(self) -> None:
        """Pass the half-close on."""
        if self.far is not None:
            self.far.near_finished()

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def close_after_flush(self, linger: Linger) -> None:
        """Close the socket; the flow is over."""
        linger.close(self.transport)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Let the target go too."""
        self.gone = True
        self._linger.forget(self.transport)
        attempt = self._stop_waiting()
        if attempt is not None:
            attempt.cancel()
            self.missed(LEFT, LEFT_EARLY)
        in_order = reason is None or isinstance(reason.value, ConnectionDone)
        if self.far is None or self.far.near_lost(in_order=in_order):
            self._leave()
        else:
            self._remains = True

    def _leave(self) -> None:
        self.left()
        del self._write  # it knows this visitor, or who does: no collector is needed

    def _stop_waiting(self) -> IAttempt | None:
        self._waiting = False
        attempt, self._attempt = self._attempt, None
        return attempt

    # -- IUpstreamTaker --------------------------------------------------------------

    def flow_begun(self, flow: IJoinedFlow) -> None:
        """Send what was held, and from now on all that comes, into the flow."""
        self._stop_waiting()
        self.flow = flow
        self._write = flow.write
        if self._held:
            held, self._held = self._held, b""
            flow.write(held)

    def flow_opened(self) -> None:
        """The target is reached."""
        self.reached()

    def flow_failed(self, stage: str, why: str) -> None:
        """There will be no flow: reset the visitor."""
        self._stop_waiting()
        self.missed(stage, why)
        self.transport.abortConnection()

    def flow_ended(self, why: str, *, whole: bool) -> None:
        """The flow is over."""
        self.far = None
        self.parted(why, whole=whole)
        if self._remains:
            self._leave()

    # -- an early end ------------------------------------------------------------------

    def abort(self, why: str, reason: int = frames.ABORTED) -> None:
        """End it at once: both sides see a reset."""
        attempt = self._stop_waiting()
        if attempt is not None:
            attempt.cancel()
            self.missed(LEFT, why)
        if self.far is not None and self.flow is not None:
            self.flow.abort(reason, why)
        if not self.gone:
            self.transport.abortConnection()
