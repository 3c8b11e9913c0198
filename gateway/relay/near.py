"""The socket in this process that belongs to one stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Seam

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import IByteTransport


class Far(Seam):
    """Where the bytes of a near socket go."""

    def write(self, data: bytes) -> None:
        """Take bytes; pauses the near transport when they must wait."""

    def near_finished(self) -> None:
        """The near side sends nothing more; it still reads."""

    def near_lost(self) -> None:
        """The near socket is gone."""


@implementer(IHalfCloseableProtocol)
class NearProtocol(Protocol):
    """A visitor or a target; every byte goes to its far side.

    Attributes:
        far: where bytes go; None until a stream is attached, and the transport
            stays paused as long.
    """

    transport: IByteTransport
    __slots__ = ("_lost", "_made", "far")

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
        self.far: Far | None = None

    def connectionMade(self) -> None:
        """Wait, paused, for a stream."""
        self.transport.pauseProducing()
        self._made(self)

    def dataReceived(self, data: bytes) -> None:
        """Hand the bytes on."""
        if self.far is not None:
            self.far.write(data)

    def readConnectionLost(self) -> None:
        """Pass the half-close on."""
        if self.far is not None:
            self.far.near_finished()

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell the far side, then whoever counts sockets."""
        far, self.far = self.far, None
        if far is not None:
            far.near_lost()
        self._lost(self)
