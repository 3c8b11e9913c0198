"""The socket in this process that belongs to one stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Seam

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import IByteTransport, IViewReceiver
from gateway.relay.linger import Linger


class Far(Seam):
    """Where the bytes of a near socket go."""

    def write(self, data: bytes | memoryview) -> None:
        """Take bytes; pauses the near transport when they must wait."""

    def near_finished(self) -> None:
        """The near side sends nothing more; it still reads."""

    def near_lost(self, *, in_order: bool) -> bool:
        """The near socket is gone; `in_order` = both its directions had ended.

        Returns:
            Whether nothing remains that its owner still counts.
        """


class Near(Seam):
    """The near socket of a stream.

    Attributes:
        transport: where the far side's bytes are written.
        far: where bytes go; set by the far side while it is joined.
    """

    transport: IByteTransport
    far: Far | None

    def close_after_flush(self, linger: Linger) -> None:
        """Close the socket; the far side is over."""


@implementer(IHalfCloseableProtocol, IViewReceiver)
class NearProtocol(Protocol):
    """A visitor or a target; every byte goes to its far side.

    Attributes:
        far: where bytes go; None until a stream is attached, and the transport
            stays paused as long.
        gone: the socket is no more.
    """

    transport: IByteTransport
    __slots__ = ("_linger", "_lost", "_made", "far", "gone")

    def __init__(
        self,
        made: Callable[[NearProtocol], None],
        lost: Callable[[NearProtocol], None],
    ) -> None:
        """Remember the callbacks.

        Args:
            made: called once when the connection is up, paused.
            lost: called once when the socket is gone, after `far` was told.
        """
        self._made = made
        self._lost = lost
        self._linger: Linger | None = None
        self.far: Far | None = None
        self.gone = False

    def connectionMade(self) -> None:
        """Wait, paused, for a stream."""
        self.transport.pauseProducing()
        self._made(self)

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Hand the bytes on."""
        if self.far is not None:
            self.far.write(data)

    def readConnectionLost(self) -> None:
        """Pass the half-close on."""
        if self.far is not None:
            self.far.near_finished()

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def close_after_flush(self, linger: Linger) -> None:
        """Close the socket; the stream is over."""
        self._linger = linger
        linger.close(self.transport)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell the far side, then whoever counts sockets."""
        self.gone = True
        if self._linger is not None:
            self._linger.forget(self.transport)
        far, self.far = self.far, None
        if far is not None:
            far.near_lost(
                in_order=reason is not None and isinstance(reason.value, ConnectionDone)
            )
        self._lost(self)
        del self._made, self._lost  # whose owner knows this socket
