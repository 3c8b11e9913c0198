"""A visitor and a target in one process: each feeds the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import DialError
from gateway.interfaces import (
    IAttempt,
    IByteTransport,
    ISplicing,
    IViewReceiver,
)
from gateway.metrics.tallies import TARGET, VISITOR
from gateway.policy.backlogs import Flow
from gateway.relay.flows import flows_of_pair, flows_of_stream
from gateway.relay.linger import Linger

FINISHED: Final = "both sides finished"
LEFT_EARLY: Final = "the visitor left before the target was reached"

Dial = Callable[[IProtocolFactory, Callable[[Failure], None]], IAttempt]


@implementer(IHalfCloseableProtocol, IViewReceiver)
class DirectVisitor(Protocol):
    """A visitor, joined with the target that it waits for.

    Bytes are only ever in the buffers of the two transports, each of which pauses
    the other one at its mark, or in the kernel.  `_join` is the one place where the
    two meet.

    Attributes:
        sent: bytes from the visitor to the target.
        received: bytes from the target to the visitor.
    """

    log = Logger()
    transport: IByteTransport
    __slots__ = (
        "_closing",
        "_dial",
        "_dialling",
        "_ended",
        "_half_closed",
        "_joined",
        "_linger",
        "_lost",
        "_reason",
        "_target",
        "_waiting",
        "_write",
        "connected",
        "preface",
        "received",
        "sent",
        "transport",
    )

    def __init__(
        self,
        dial: Dial,
        linger: Linger,
        joined: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        """Remember the collaborators.

        Args:
            dial: connects a protocol of the given factory to the target, or calls
                its second argument with a `DialError`.
            linger: closes a side that must still take its last bytes.
            joined: called once if the target is reached.
            ended: called once, with the reason, when no socket is left.
        """
        self._dial = dial
        self._linger = linger
        self._joined = joined
        self._ended = ended
        self.sent = self.received = 0
        self.preface = b""  # what the target is sent first
        self._write = self._hold
        self._dialling: IAttempt | None = None
        self._waiting = True  # for the target
        self._target: DirectTarget | None = None
        self._half_closed = self._closing = self._lost = False
        self._reason = FINISHED

    def flows(self) -> tuple[Flow, ...]:
        """Return what waits for the visitor and for the target."""
        if self._target is not None:
            far = self._target.transport
            return flows_of_pair(self.transport, far, self.sent, self.received)
        return flows_of_stream(self.transport, self.received, 0, self.sent)

    @property
    def closing(self) -> bool:
        """Whether what is left is only being flushed."""
        return self._closing

    @property
    def waits_for(self) -> str | None:
        """Who does not read as fast as the other one speaks; None = nobody."""
        target = self._target
        if target is not None and target.transport.unsent:
            return TARGET
        return VISITOR if not self._lost and self.transport.unsent else None

    def connectionMade(self) -> None:
        """Wait, paused, for the target."""
        self.transport.pauseProducing()
        dialling = self._dial(_TargetFactory(self), self._not_reached)
        if self._waiting:
            self._dialling = dialling

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Hand the bytes to the target."""
        self.sent += len(data)
        self._write(data)

    def _hold(self, data: bytes | memoryview) -> None:
        """Keep what came together with the header of a balancer."""
        self.preface += data

    def readConnectionLost(self) -> None:
        """Pass the half-close on."""
        if self._target is not None:
            self._half_close(self.transport, self._target.transport)

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Let the target go too."""
        self._linger.forget(self.transport)
        self._lost = True
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            self._because(LEFT_EARLY)
            dialling.cancel()
        target = self._target
        self._side_lost("visitor", reason, None if target is None else target.transport)

    def target_made(self, target: DirectTarget) -> None:
        """The target is reached."""
        self._stop_waiting()
        self._target = target
        self._write = target.transport.write
        if self.preface:
            self._write(self.preface)
            self.preface = b""
        self._join(target)
        self._joined()

    def target_finished(self, target: DirectTarget) -> None:
        """The target sends nothing more; it still reads."""
        self._half_close(target.transport, self.transport)

    def target_lost(self, reason: Failure | None) -> None:
        """Let the visitor go too."""
        if self._target is not None:
            self._linger.forget(self._target.transport)
        self._target = None
        self._side_lost("target", reason, None if self._lost else self.transport)

    def close(self, reason: str) -> None:
        """End it: what was taken already is still delivered, the rest is not.

        A visitor whose target is not reached yet is reset.
        """
        if self._closing:
            return
        target = self._target
        if target is None or self._lost:
            self.abort(reason)
            return
        self._because(reason)
        self.transport.unregisterProducer()
        target.transport.unregisterProducer()
        self._close_politely(self.transport, target.transport)

    def abort(self, reason: str) -> None:
        """End it at once: both sides see a reset."""
        self._because(reason)
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.cancel()
        if self._target is not None:
            self._target.transport.abortConnection()
        if not self._lost:
            self.transport.abortConnection()

    def _stop_waiting(self) -> None:
        self._waiting = False
        self._dialling = None

    def _not_reached(self, failure: Failure) -> None:
        self._stop_waiting()
        if failure.check(DialError):
            self.abort(failure.getErrorMessage())
        else:
            self.log.failure("dialling a target failed", failure=failure)
            self.abort("internal error")

    def _join(self, target: DirectTarget) -> None:
        near, far = self.transport, target.transport
        far.registerProducer(near, True)
        near.registerProducer(far, True)
        if ISplicing.providedBy(near):
            near.splice_to(far, self._count_sent)
        if ISplicing.providedBy(far):
            far.splice_to(near, self._count_received)
        near.resumeProducing()

    def _count_sent(self, count: int) -> None:
        self.sent += count

    def _count_received(self, count: int) -> None:
        self.received += count

    def _half_close(self, source: IByteTransport, sink: IByteTransport) -> None:
        """Nothing more comes from `source`; tell `sink` after its flush."""
        sink.unregisterProducer()
        if self._half_closed:  # this is the second direction
            self._close_politely(source, sink)
        else:
            self._half_closed = True
            sink.loseWriteConnection()

    def _side_lost(
        self, side: str, reason: Failure | None, other: IByteTransport | None
    ) -> None:
        """Let the other side go the same way, or say that all is over."""
        broken = reason is not None and not isinstance(reason.value, ConnectionDone)
        if broken:
            self._because(f"the connection of the {side} broke")
        if other is None:
            self._ended(self._reason)
            # who knows this pair: it must not take a collector to find it
            del self._dial, self._joined, self._ended, self._write
            return
        other.unregisterProducer()
        if broken:
            other.abortConnection()
        elif not self._closing:
            self._close_politely(other)

    def _close_politely(self, *transports: IByteTransport) -> None:
        self._closing = True
        for transport in transports:
            self._linger.close(transport)

    def _because(self, reason: str) -> None:
        """Keep the first reason."""
        if self._reason is FINISHED:
            self._reason = reason


@implementer(IHalfCloseableProtocol, IViewReceiver)
class DirectTarget(Protocol):
    """The target of one visitor."""

    transport: IByteTransport
    __slots__ = ("_visitor", "_write", "connected", "transport")

    def __init__(self, visitor: DirectVisitor) -> None:
        self._visitor = visitor
        self._write = visitor.transport.write

    def connectionMade(self) -> None:
        """Join the visitor."""
        self._visitor.target_made(self)

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Hand the bytes to the visitor."""
        self._visitor.received += len(data)
        self._write(data)

    def readConnectionLost(self) -> None:
        """Pass the half-close on."""
        self._visitor.target_finished(self)

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Let the visitor go too."""
        self._visitor.target_lost(reason)


@implementer(IProtocolFactory)
class _TargetFactory:
    """Build the protocol of one visitor's target."""

    __slots__ = ("_visitor",)

    def __init__(self, visitor: DirectVisitor) -> None:
        self._visitor = visitor

    def buildProtocol(self, addr: IAddress | None) -> DirectTarget:
        return DirectTarget(self._visitor)

    def doStart(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing to prepare."""

    def doStop(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing to release."""
