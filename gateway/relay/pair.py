"""A visitor and a target whose sockets are in one process: each feeds the other."""

from __future__ import annotations

from typing import Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import (
    IByteTransport,
    IJoinedFlow,
    ISplicing,
    IUpstreamTaker,
    IViewReceiver,
)
from gateway.metrics.tallies import TARGET, VISITOR
from gateway.policy.backlogs import Flow
from gateway.relay.flows import flows_of_pair, flows_of_stream
from gateway.relay.linger import Linger

FINISHED: Final = "both sides finished"


@implementer(IHalfCloseableProtocol, IJoinedFlow, IViewReceiver)
class DirectTarget(Protocol):
    """The target of one visitor, joined to it as soon as it is reached.

    Bytes are only ever in the buffers of the two transports, each of which pauses
    the other one at its mark, or in the kernel.  `_join` is the one place where the
    two meet.

    Attributes:
        received: bytes from the target to the visitor.
        write: sends bytes to the target.
    """

    transport: IByteTransport
    __slots__ = (
        "_closing",
        "_half_closed",
        "_linger",
        "_lost",
        "_near_lost",
        "_reason",
        "_taker",
        "_write",
        "connected",
        "received",
        "transport",
        "write",
    )

    def __init__(self, taker: IUpstreamTaker, linger: Linger) -> None:
        """Remember the collaborators.

        Args:
            taker: the visitor, whose socket is paused.
            linger: closes a side that must still take its last bytes.
        """
        self._taker = taker
        self._linger = linger
        self.received = 0
        self._half_closed = self._closing = self._lost = self._near_lost = False
        self._reason = FINISHED

    @property
    def over(self) -> bool:
        """Whether what is left is only being flushed."""
        return self._closing

    @property
    def waits_for(self) -> str | None:
        """Who does not read as fast as the other one speaks; None = nobody."""
        if not self._lost and self.transport.unsent:
            return TARGET
        if not self._near_lost and self._taker.transport.unsent:
            return VISITOR
        return None

    def flows(self) -> tuple[Flow, ...]:
        """Return what waits for the visitor and for the target."""
        taker, near = self._taker, self._taker.transport
        if self._lost:
            return flows_of_stream(near, self.received, 0, taker.sent)
        return flows_of_pair(near, self.transport, taker.sent, self.received)

    # -- the target's socket -----------------------------------------------------------

    def connectionMade(self) -> None:
        """Join the visitor."""
        taker = self._taker
        self.write = self.transport.write
        self._write = taker.transport.write
        taker.far = self
        taker.flow_begun(self)
        self._join()
        taker.flow_opened()

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Hand the bytes to the visitor."""
        self.received += len(data)
        self._write(data)

    def readConnectionLost(self) -> None:
        """Pass the half-close on."""
        self._half_close(self.transport, self._taker.transport)

    def writeConnectionLost(self) -> None:
        """Nothing to do: it was our own half-close."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Let the visitor go too."""
        self._linger.forget(self.transport)
        self._lost = True
        broken = reason is not None and not isinstance(reason.value, ConnectionDone)
        near = None if self._near_lost else self._taker.transport
        self._side_lost("target", near, broken=broken)

    # -- what the visitor says (`Far`) ----------------------------------------------

    def near_finished(self) -> None:
        """The visitor sends nothing more; it still reads."""
        self._half_close(self._taker.transport, self.transport)

    def near_lost(self, *, in_order: bool) -> bool:
        """The visitor is gone; let the target go too."""
        self._near_lost = True
        far = None if self._lost else self.transport
        self._side_lost("visitor", far, broken=not in_order)
        return self._lost

    def abort(self, reason: int, why: str) -> None:
        """End it at once: both sides see a reset."""
        self._because(why)
        if not self._lost:
            self.transport.abortConnection()
        if not self._near_lost:
            self._taker.transport.abortConnection()

    def close(self, why: str) -> None:
        """End it: what was taken already is still delivered, the rest is not."""
        if self._closing:
            return
        near = self._taker.transport
        self._because(why)
        near.unregisterProducer()
        self.transport.unregisterProducer()
        self._close_politely(near, self.transport)

    # -- the two together ----------------------------------------------------------

    def _join(self) -> None:
        near, far = self._taker.transport, self.transport
        far.registerProducer(near, True)
        near.registerProducer(far, True)
        if ISplicing.providedBy(near):
            near.splice_to(far, self._taker.count_sent)
        if ISplicing.providedBy(far):
            far.splice_to(near, self._count_received)
        near.resumeProducing()

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
        self, side: str, other: IByteTransport | None, *, broken: bool
    ) -> None:
        """Let the other side go the same way, or say that all is over."""
        if broken:
            self._because(f"the connection of the {side} broke")
        if other is None:
            self._taker.flow_ended(self._reason, whole=self._reason is FINISHED)
            # who knows this pair: it must not take a collector to find it
            del self._taker, self._write, self.write
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
