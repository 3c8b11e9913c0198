"""Visitors and a target that agree on every byte, so that each loss is seen."""

from __future__ import annotations

import hashlib
import random
import struct
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.integration.processes import reactor, until

CHUNK: Final = 1 << 16
DIGEST: Final = hashlib.sha256().digest_size
_BLOB: Final = random.Random(20241114).randbytes(1 << 20)
_HEADER: Final = struct.Struct("!QQQ")


class BrokenTransferError(Exception):
    """The connection ended before everything had arrived."""


class WrongBytesError(Exception):
    """Bytes arrived that were never sent: the one thing that must not happen."""


def content(seed: int, start: int, length: int) -> bytes:
    """Return part of the endless content of a seed."""
    offset = (seed * 7919 + start) % len(_BLOB)
    piece = _BLOB[offset : offset + length]
    while len(piece) < length:
        piece += _BLOB[: length - len(piece)]
    return piece


class Plan(NamedTuple):
    """One exchange.

    Attributes:
        seed: chooses the content of both directions.
        up: bytes from the visitor to the target.
        down: bytes from the target to the visitor.
    """

    seed: int
    up: int
    down: int


class ISocket(ITCPTransport, IConsumer, IPushProducer):
    """What every TCP transport of Twisted is."""


@implementer(IPushProducer)
class Sender:
    """Write a stretch of content as fast as the transport takes it."""

    def __init__(self, transport: ISocket, seed: int, length: int) -> None:
        self.done: Deferred[None] = Deferred()
        self._transport = transport
        self._seed = seed
        self._length = length
        self._sent = 0
        self._paused = False
        self._writing = False

    def start(self) -> None:
        """Begin, as the transport's producer."""
        self._transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Write until paused or done."""
        self._paused = False
        if self._writing:
            return
        self._writing = True
        while not self._paused and self._sent < self._length:
            length = min(CHUNK, self._length - self._sent)
            piece = content(self._seed, self._sent, length)
            self._sent += length
            self._transport.write(piece)
        self._writing = False
        if self._sent >= self._length and not self.done.called:
            self._transport.unregisterProducer()
            self.done.callback(None)

    def pauseProducing(self) -> None:
        """Stop for a while."""
        self._paused = True

    def stopProducing(self) -> None:
        """Stop for good."""
        self._paused = True
        self._length = self._sent


class ServiceProtocol(Protocol):
    """One connection of a target."""

    transport: ISocket

    def __init__(self, target: Target) -> None:
        self.target = target

    def connectionMade(self) -> None:
        """Count the connection."""
        self.target.connections.add(self)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Forget the connection, remember how it ended."""
        self.connected = 0
        self.target.connections.discard(self)
        if reason is not None:
            self.target.ends.append(reason)


class TargetProtocol(ServiceProtocol):
    """Take what a visitor sends, answer with its digest and with content."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._plan: Plan | None = None
        self._head = b""
        self._hash = hashlib.sha256()
        self._got = 0

    def dataReceived(self, data: bytes) -> None:
        """Read the plan, then the upload."""
        self.target.received += len(data)
        if self._plan is None:
            self._head += data
            if len(self._head) < _HEADER.size:
                return
            self._plan = Plan(*_HEADER.unpack(self._head[: _HEADER.size]))
            data = self._head[_HEADER.size :]
        self._hash.update(data)
        self._got += len(data)
        if self._got == self._plan.up:
            self._answer(self._plan)

    def _answer(self, plan: Plan) -> None:
        self.transport.write(self._hash.digest())
        sender = Sender(self.transport, plan.seed, plan.down)
        sender.done.addCallback(lambda _: self.transport.loseConnection())
        sender.start()


class EchoProtocol(ServiceProtocol):
    """Greet, then send back what comes."""

    target: Echo

    def connectionMade(self) -> None:
        """Say the greeting."""
        super().connectionMade()
        self.transport.write(self.target.greeting)

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        self.target.received += len(data)
        self.transport.write(data)


class Target(ServerFactory):
    """A service behind the agent.

    Attributes:
        connections: those that are open.
        ends: how each of the others ended.
        received: bytes that arrived in all.
    """

    noisy = False

    def __init__(self) -> None:
        self.connections: set[Protocol] = set()
        self.ends: list[Failure] = []
        self.received = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol of a new connection."""
        return TargetProtocol(self)


class Echo(Target):
    """A service that repeats what it hears.

    Attributes:
        greeting: what it says first.
    """

    def __init__(self, greeting: bytes = b"") -> None:
        super().__init__()
        self.greeting = greeting

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol of a new connection."""
        return EchoProtocol(self)


class RawVisitor(Protocol):
    """A visitor that tests lead by the hand.

    Attributes:
        heard: everything that arrived.
        connected: whether there is a connection now.
        end: how it ended.
    """

    transport: ISocket

    def __init__(self, first: bytes = b"") -> None:
        self.heard = bytearray()
        self.end: Failure | None = None
        self._first = first

    def connectionMade(self) -> None:
        """Say the first words."""
        if self._first:
            self.transport.write(self._first)

    def dataReceived(self, data: bytes) -> None:
        """Keep what came."""
        self.heard += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Remember how it ended."""
        self.connected = 0
        self.end = reason

    async def hears(self, length: int, seconds: float = 20.0) -> bytes:
        """Wait until so many bytes are there and take them."""

        def enough() -> bool:
            return len(self.heard) >= length or self.end is not None

        await until(enough, f"a visitor hears {length} bytes", seconds)
        words = bytes(self.heard[:length])
        del self.heard[:length]
        return words

    async def ends(self, seconds: float = 20.0) -> Failure:
        """Wait for the end of the connection."""
        await until(lambda: self.end, "a visitor's connection ends", seconds)
        assert self.end is not None
        return self.end


class VisitorProtocol(Protocol):
    """Carry one plan out and check the answer.

    Attributes:
        done: fires with None at a complete and right exchange, else fails with
            `BrokenTransferError` or `WrongBytesError`.
        end: how the connection ended.
        got: bytes of content that have arrived.

    With `reading` False it reads nothing until `resume` is called.
    """

    transport: ISocket

    def __init__(self, plan: Plan, *, reading: bool = True) -> None:
        self.done: Deferred[None] = Deferred()
        self.end: Failure | None = None
        self.got = 0
        self._plan = plan
        self._reading = reading
        self._digest = b""

    def connectionMade(self) -> None:
        """Send the plan and the upload."""
        if not self._reading:
            self.transport.pauseProducing()
        self.transport.write(_HEADER.pack(*self._plan))
        Sender(self.transport, self._plan.seed, self._plan.up).start()

    def dataReceived(self, data: bytes) -> None:
        """Check the digest of the upload, then the download as it comes."""
        if len(self._digest) < DIGEST:
            missing = DIGEST - len(self._digest)
            self._digest, data = self._digest + data[:missing], data[missing:]
            if len(self._digest) == DIGEST and self._digest != self._expected():
                self._fail(WrongBytesError("upload"))
        if data != content(self._plan.seed, self.got, len(data)):
            self._fail(WrongBytesError(f"download, within {len(data)} at {self.got}"))
        self.got += len(data)
        if self.got > self._plan.down:
            self._fail(WrongBytesError(f"{self.got} bytes of {self._plan.down}"))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Judge whether everything was there."""
        self.connected = 0
        self.end = reason
        if self.done.called:
            return
        if len(self._digest) == DIGEST and self.got == self._plan.down:
            self.done.callback(None)
        else:
            of = f"{self.got} of {self._plan.down} bytes"
            cause = reason.value if reason is not None else None
            self.done.errback(BrokenTransferError(f"{of}: {cause}"))

    def resume(self) -> None:
        """Begin to read."""
        self.transport.resumeProducing()

    def _expected(self) -> bytes:
        whole = hashlib.sha256()
        for start in range(0, self._plan.up, CHUNK):
            length = min(CHUNK, self._plan.up - start)
            whole.update(content(self._plan.seed, start, length))
        return whole.digest()

    def _fail(self, fault: Exception) -> None:
        if not self.done.called:
            self.done.errback(fault)
        self.transport.abortConnection()


class VisitorFactory(ClientFactory):
    """Give one protocol to one connection.

    Attributes:
        met: fires with the protocol once it is connected, or fails.
    """

    noisy = False

    def __init__(self, visitor: Protocol) -> None:
        self.met: Deferred[Protocol] = Deferred()
        self._visitor = visitor

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return the protocol."""
        reactor.callLater(0, self.met.callback, self._visitor)
        return self._visitor

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """Tell of a refusal; a reset in the same moment is the end of a connection."""
        if reason.check(ConnectionRefusedError):
            self.met.errback(BrokenTransferError(str(reason.value)))
        else:
            self._visitor.connectionLost(reason)
            self.met.callback(self._visitor)
