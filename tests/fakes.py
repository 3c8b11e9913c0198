"""Doubles that Twisted lacks."""

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from gateway.interfaces import IByteTransport


class TurnClock(Clock):
    """A `Clock` that can make a single turn.

    `advance` goes on until nothing is due any more, as if it were many turns.
    """

    def turn(self):
        """Make the calls that are due now, but none that they ask for."""
        for call in [one for one in self.calls if one.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


@implementer(IByteTransport)
class BoundedTransport(StringTransport):
    """A `StringTransport` that pauses its producer like a real socket.

    Attributes:
        unsent: bytes written since the peer last read.
        pause_mark: `unsent` above which the producer is paused.
        read_size: bytes of one read at most; nothing is read here.
        resume_mark: `unsent` at which it is resumed.
        aborted: `abortConnection` was called.
        half_closed: `loseWriteConnection` was called.
        paused: `pauseProducing` was called last.
    """

    producer: Any = None

    def __init__(self, capacity=65536, peerAddress=None):
        super().__init__(peerAddress=peerAddress)
        self.pause_mark = capacity
        self.read_size = 65536
        self.resume_mark = 0
        self.unsent = 0
        self.aborted = self.half_closed = self.paused = False
        self._producer_paused = False
        self._no_delay = self._keep_alive = True

    def write(self, data):
        if self.disconnecting or self.half_closed or self.aborted:
            return
        super().write(bytes(data))
        self.unsent += len(data)
        if (
            self.producer is not None
            and self.streaming
            and self.unsent > self.pause_mark
            and not self._producer_paused
        ):
            self._producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data):
        self.write(b"".join(data))

    def drain(self, amount=None):
        """Pretend that the peer read `amount` bytes, or everything."""
        self.unsent = 0 if amount is None else max(0, self.unsent - amount)
        if self._producer_paused and self.unsent <= self.resume_mark:
            self._producer_paused = False
            self.producer.resumeProducing()

    def registerProducer(self, producer, streaming):
        super().registerProducer(producer, streaming)
        self._producer_paused = False

    def unregisterProducer(self):
        self.producer = self.streaming = None
        self._producer_paused = False

    def pauseProducing(self):
        self.paused = True
        self.producerState = "paused"

    def resumeProducing(self):
        self.paused = False
        self.producerState = "producing"

    def kernel_bytes(self):
        """There is no kernel."""
        return 0, 0

    def acknowledged(self):
        """The peer has what it has read."""
        return len(self.value()) - self.unsent

    def atTurnEnd(self, call):
        """There are no turns: every one of them is over at once."""
        call()

    def loseWriteConnection(self):
        self.half_closed = True

    def abortConnection(self):
        self.aborted = True
        super().abortConnection()

    def getTcpNoDelay(self):
        return self._no_delay

    def setTcpNoDelay(self, enabled):
        self._no_delay = enabled

    def getTcpKeepAlive(self):
        return self._keep_alive

    def setTcpKeepAlive(self, enabled):
        self._keep_alive = enabled
