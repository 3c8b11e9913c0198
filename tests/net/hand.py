"""Pairs of real sockets, moved by hand instead of by a running reactor."""

import socket
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock

from gateway.net.poller import Poller
from gateway.net.sockets import reset
from gateway.net.splice import PipePool
from gateway.net.transports import TCPTransport
from gateway.relay.linger import Linger
from tests.relay.paired import PairedVisitor

READ_SIZE = 4096
BUFFER = 16384
QUIET_TURNS = 3
STEP_SECONDS = 0.01
PATIENCE_SECONDS = 3.0


class Hand:
    """A reactor that does one turn at a time, and a listening socket.

    Attributes:
        turns: how often a poller was woken.
    """

    def __init__(self, poller_class: Any = Poller):
        hand = self

        class Counting(poller_class):  # type: ignore[misc]
            def doRead(self):
                hand.wakes += 1
                super().doRead()

        self.wakes = 0
        self.reactor: Any = EPollReactor()
        self.poller = Counting(self.reactor)
        self._listening = socket.create_server(("127.0.0.1", 0))

    def stop(self):
        """Release everything."""
        self._listening.close()
        self.reactor.disconnectAll()
        self.reactor.fireSystemEvent("shutdown")
        for reader in self.reactor._internalReaders:
            reader.connectionLost(None)
        self.reactor._poller.close()

    def connected(self):
        """Return the plain end and ours; little fits between ours and the plain one."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        plain.connect(self._listening.getsockname())
        ours, _ = self._listening.accept()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        for sock in (plain, ours):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        return plain, ours

    def spin(self, turns=1):
        """Do what is due, without waiting."""
        for _ in range(turns):
            self.reactor.iterate(0)


class Side:
    """A plain socket at one end of a joined pair.

    Attributes:
        said: all it sent.
        heard: all it received.
        ended: how the other end finished: None, "end" or "reset"; "gone" if this
            one did.
        finished: whether `finish` was called.
    """

    def __init__(self, sock):
        self.sock = sock
        self.said = bytearray()
        self.heard = bytearray()
        self.ended: str | None = None
        self.finished = False

    def say(self, data):
        """Send what the kernel takes of `data`; return how much."""
        try:
            count = self.sock.send(data)
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            return 0
        self.said += data[:count]
        return count

    def hear(self, most=1 << 20):
        """Receive what is there; return how much."""
        before = len(self.heard)
        while self.ended is None and len(self.heard) - before < most:
            try:
                data = self.sock.recv(min(65536, most))
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.ended = "reset"
                break
            if not data:
                self.ended = "end"
            self.heard += data
        return len(self.heard) - before

    def finish(self):
        """Send nothing more."""
        self.sock.shutdown(socket.SHUT_WR)
        self.finished = True

    def reset(self):
        """Break the connection."""
        reset(self.sock)
        self.ended = "gone"


class Joined:
    """A visitor and a target on real sockets, and the pair between them."""

    def __init__(
        self, hand: Hand, pipes: PipePool | None, read_size: int = READ_SIZE
    ) -> None:
        self.hand = hand
        self.clock = Clock()
        self.linger = Linger(self.clock)
        self.reasons: list[str] = []
        self.pair = PairedVisitor(
            self._dial, self.linger, lambda: None, self.reasons.append
        )
        self.transports: list[TCPTransport] = []
        self._pipes = pipes
        self._read_size = read_size
        self.visitor = self._side(self.pair)
        self.near, self.far = self.transports

    def _side(self, protocol):
        plain, ours = self.hand.connected()
        transport = TCPTransport(
            self.hand.poller, ours, read_size=self._read_size, pipes=self._pipes
        )
        self.transports.append(transport)
        transport.start(protocol)
        return Side(plain)

    def _dial(self, factory, failed):
        self.target = self._side(factory.buildProtocol(None))

    @property
    def sides(self):
        """Return the visitor and the target."""
        return self.visitor, self.target

    def flow(self, source, sink, payload):
        """Carry all of `payload` through."""
        left = memoryview(payload)
        wanted = len(sink.heard) + len(payload)
        idle = 0
        while len(sink.heard) < wanted:
            count = source.say(left)
            left = left[count:]
            self.hand.spin()
            moved = count + sink.hear()
            idle = 0 if moved else idle + 1
            if idle > 20:
                self.hand.reactor.iterate(STEP_SECONDS)
            if idle > PATIENCE_SECONDS / STEP_SECONDS:
                raise AssertionError(f"{wanted - len(sink.heard)} bytes do not arrive")

    def fill(self, source):
        """Have `source` say as much as anybody takes; its sink hears nothing."""
        quiet = 0
        while quiet < QUIET_TURNS:
            quiet = 0 if source.say(b"x" * 65536) else quiet + 1
            self.hand.spin()

    def run_out(self):
        """Hear everything until nothing moves any more."""
        deadline = self.hand.reactor.seconds() + PATIENCE_SECONDS
        quiet = 0
        while quiet < 2 * QUIET_TURNS and self.hand.reactor.seconds() < deadline:
            heard = self.visitor.hear() + self.target.hear()
            done = self._all_heard() or all(side.ended for side in self.sides)
            quiet = quiet + 1 if done and not heard else 0
            # the kernel may take a while to say that there is room again
            self.hand.reactor.iterate(0 if done or heard else STEP_SECONDS)

    def _all_heard(self):
        visitor, target = self.sides
        if visitor.finished and target.finished:
            return False  # their ends are still to be heard
        heard = len(visitor.heard) >= len(target.said)
        return heard and len(target.heard) >= len(visitor.said)

    def close(self):
        """Release what the test has left."""
        for side in self.sides:
            side.sock.close()
        for transport in self.transports:
            transport.abortConnection()
        self.hand.spin(4)
