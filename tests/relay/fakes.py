"""A network and sockets without a kernel."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import INetwork
from tests.fakes import BoundedTransport


class SocketTransport(BoundedTransport):
    """A connection whose other end is played by the test.

    What follows from a call is told by `pump`, as a socket tells it at the end of a
    turn.

    Attributes:
        lost: why the connection is over, or None.
    """

    def __init__(self, capacity=65536):
        super().__init__(capacity)
        self.lost = None
        self._incoming: deque[bytes | None] = deque()
        self._ended = False

    def start(self, protocol):
        """Connect the protocol."""
        self.protocol = protocol
        protocol.makeConnection(self)

    def peer_sends(self, *chunks):
        """Bytes arrive; they wait while the transport is paused."""
        self._incoming.extend(chunks)
        self.pump()

    def peer_finishes(self):
        """The other end has nothing more to say."""
        self._incoming.append(None)
        self.pump()

    def peer_resets(self):
        """The other end is gone."""
        self._lose(ConnectionLost())

    def peer_reads(self, amount=None):
        """The other end takes bytes."""
        self.drain(amount)
        self.pump()

    def pump(self):
        """Do what is due."""
        while self._incoming and self._may_read():
            chunk = self._incoming.popleft()
            if chunk is None:
                self.protocol.readConnectionLost()
            else:
                self.protocol.dataReceived(chunk)
        if self.lost is not None:
            return
        if self.aborted:
            self._lose(ConnectionAborted())
        elif not self.unsent:
            self._flushed()

    def _may_read(self):
        stopped = self.paused or self.disconnecting or self.aborted
        return not stopped and self.lost is None

    def _flushed(self):
        if self.half_closed and not self._ended:
            self._ended = True
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()
        # real ones also close once both directions have ended; nobody may rely on it
        if self.disconnecting and self.producer is None:
            self._lose(ConnectionDone())

    def _lose(self, reason):
        if self.lost is not None:
            return
        self.lost = reason
        self.unsent = 0
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))


FIRST_LOCAL_PORT = 50001


@dataclass(eq=False)
class Attempt:
    """One connection that is being made."""

    address: str
    port: int
    factory: IProtocolFactory
    timeout_seconds: float
    outcome: Deferred[IProtocol]
    local: tuple[str, int]
    cancelled: bool = False

    def succeed(self):
        """Connect; returns the transport."""
        transport = SocketTransport()
        protocol: Any = self.factory.buildProtocol(
            IPv4Address("TCP", self.address, self.port)
        )
        transport.start(protocol)
        self.outcome.callback(protocol)
        return transport

    def fail(self, fault):
        """Do not connect."""
        self.outcome.errback(Failure(fault))


def by_deferred(connect, address, port, factory, timeout_seconds, failed, dialled):
    """Return `INetwork.attempt` by way of `INetwork.connect`."""
    outcome = connect(address, port, factory, timeout_seconds, dialled=dialled)
    outcome.addErrback(lambda why: None if why.check(CancelledError) else failed(why))
    return outcome


@implementer(INetwork)
class FakeNetwork:
    """Every look-up and connection waits for the test's word.

    Attributes:
        attempts: all connections asked for.
        lookups: names asked for, with their answers to come.
        given_up: names whose look-up was cancelled.
        reserved: names that were asked for as reserved ones.
    """

    def __init__(self):
        self.attempts = []
        self.lookups = []
        self.given_up = []
        self.reserved = []

    def count_by(self, memory):
        pass

    def listen(self, address, port, factory, *, gathered=False, tls=None, memory=None):
        raise NotImplementedError("nobody listens here")

    def connect(
        self,
        address,
        port,
        factory,
        timeout_seconds,
        *,
        gathered=False,
        tls=None,
        dialled=None,
    ):
        def cancelled(_outcome):
            attempt.cancelled = True

        local = "192.0.2.1", FIRST_LOCAL_PORT + len(self.attempts)
        attempt = Attempt(
            address, port, factory, timeout_seconds, Deferred(cancelled), local
        )
        self.attempts.append(attempt)
        if dialled is not None:
            dialled(*local, address, -1)
        return attempt.outcome

    def attempt(self, address, port, factory, seconds, failed, dialled=None):
        return by_deferred(
            self.connect, address, port, factory, seconds, failed, dialled
        )

    def resolve(self, name, *, reserved=False):
        answer: Deferred[list[str]] = Deferred(lambda _: self.given_up.append(name))
        self.lookups.append((name, answer))
        if reserved:
            self.reserved.append(name)
        return answer

    def answer(self, *addresses):
        """Answer the look-up that was asked for last."""
        self.lookups[-1][1].callback(list(addresses))

    @property
    def waiting(self):
        """Addresses that are being connected to."""
        return [
            attempt.address
            for attempt in self.attempts
            if not (attempt.outcome.called or attempt.cancelled)
        ]
