"""Join a visitor to a target that this process reaches itself."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import DialError
from gateway.interfaces import IByteTransport
from gateway.relay.linger import Linger

Dial = Callable[[IProtocolFactory], Deferred[IProtocol]]


@implementer(IHalfCloseableProtocol)
class DirectVisitor(Protocol):
    """The visitor's side of a direct connection.

    The visitor waits, paused, until its target is reached; if it is not, the
    visitor sees a reset.  After that each transport is the other's producer: what
    one cannot take pauses the other, and bytes wait in the transports only.

    Attributes:
        sent: bytes from the visitor to the target.
        received: bytes from the target to the visitor.
    """

    log = Logger()
    transport: IByteTransport
    __slots__ = (
        "_dial",
        "_dialing",
        "_ended",
        "_finished",
        "_joined",
        "_linger",
        "_reason",
        "_target",
        "received",
        "sent",
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
            dial: connects to the target; fails with `DialError`.
            linger: flushes a side whose other side has closed.
            joined: called when the target is reached.
            ended: called once with the reason when the visitor's socket is gone.
        """
        self._dial = dial
        self._linger = linger
        self._joined = joined
        self._ended = ended
        self._dialing: Deferred[IProtocol] | None = None
        self._target: _DirectTarget | None = None
        self._finished = False
        self._reason = ""
        self.sent = 0
        self.received = 0

    def connectionMade(self) -> None:
        """Dial; nothing is read before the target is there."""
        self.transport.pauseProducing()
        self._dialing = self._dial(_TargetFactory(self))
        self._dialing.addCallbacks(self._reached, self._missed)
        self._dialing.addErrback(self._broken)

    def _reached(self, target: IProtocol) -> None:
        assert isinstance(target, _DirectTarget)
        self._dialing = None
        self._target = target
        self._joined()
        self.transport.registerProducer(target.transport, True)
        target.transport.registerProducer(self.transport, True)
        self.transport.resumeProducing()
        target.transport.resumeProducing()

    def _missed(self, failure: Failure) -> None:
        self._dialing = None
        if not failure.check(CancelledError):
            failure.trap(DialError)
            self.close(failure.getErrorMessage())

    def _broken(self, failure: Failure) -> None:
        """A bug: it costs this visitor, and is logged."""
        self.log.failure("a visitor could not be joined", failure=failure)
        self.close("internal error")

    def dataReceived(self, data: bytes) -> None:
        """To the target."""
        if self._target is not None:
            self.sent += len(data)
            self._target.transport.write(data)

    def readConnectionLost(self) -> None:
        """Half-close the target behind what it was given."""
        self._finished = True
        if self._target is not None:
            self._target.transport.loseWriteConnection()
            self.close_if_finished()

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def target_finished(self) -> None:
        """Half-close the visitor behind what it was given."""
        self.transport.loseWriteConnection()
        self.close_if_finished()

    def close_if_finished(self) -> None:
        """Close both sides, flushing, once both have nothing more to say."""
        target = self._target
        if target is not None and self._finished and target.finished:
            self._reason = self._reason or "finished"
            self._part(target)
            self._linger.close(target.transport)
            self._linger.close(self.transport)

    def _part(self, target: _DirectTarget) -> None:
        self._target = None
        target.visitor = None
        self.transport.unregisterProducer()
        target.transport.unregisterProducer()

    def target_lost(self, reason: Failure) -> None:
        """The target's socket is gone: flush after a clean end, else abort."""
        target = self._target
        if target is None:
            return
        self._part(target)
        if reason.check(ConnectionDone):
            self._reason = self._reason or "closed by the target"
            self._linger.close(self.transport)
        else:
            self.close(f"target lost: {reason.getErrorMessage()}")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The visitor's socket is gone."""
        if self._dialing is not None:
            self._dialing.cancel()
        target = self._target
        clean = reason is not None and reason.check(ConnectionDone)
        if target is not None:
            self._part(target)
            if clean:
                self._linger.close(target.transport)
            else:
                target.transport.abortConnection()
        words = reason.getErrorMessage() if reason is not None else "lost"
        self._ended(self._reason or f"visitor left: {words}")

    def close(self, why: str) -> None:
        """Abort both sides."""
        self._reason = self._reason or why
        self.transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class _DirectTarget(Protocol):
    """The target's side."""

    transport: IByteTransport
    __slots__ = ("finished", "visitor")

    def __init__(self, visitor: DirectVisitor) -> None:
        self.visitor: DirectVisitor | None = visitor
        self.finished = False

    def connectionMade(self) -> None:
        """Wait until the visitor is joined."""
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """To the visitor."""
        visitor = self.visitor
        if visitor is not None:
            visitor.received += len(data)
            visitor.transport.write(data)

    def readConnectionLost(self) -> None:
        """The target sends nothing more; it still reads."""
        self.finished = True
        if self.visitor is not None:
            self.visitor.target_finished()

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell the visitor's side."""
        if self.visitor is not None and reason is not None:
            self.visitor.target_lost(reason)


class _TargetFactory(Factory):
    noisy = False

    def __init__(self, visitor: DirectVisitor) -> None:
        self._visitor = visitor

    def buildProtocol(self, addr: IAddress | None) -> _DirectTarget:
        """Return the protocol for the target's connection."""
        return _DirectTarget(self._visitor)
