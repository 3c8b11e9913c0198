"""Direct forwarding between real sockets on loopback."""

import socket
import struct
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from gateway.net.network import Network
from gateway.net.sockets import UNREAD_BYTES, UNSENT_BYTES
from gateway.net.splice import MOST_BYTES
from gateway.policy.access import TargetRules
from gateway.relay.dial import Dialer
from gateway.relay.linger import Linger
from gateway.relay.pair import FINISHED
from tests.net.real import reactor, until
from tests.relay.paired import PairedVisitor

WAIT_SECONDS = 10.0
MEBIBYTE = 1 << 20
SMALL_BUFFER = 65536


def read_all(sock):
    """Return everything up to the end of the stream."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def reset(sock):
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class VisitorFactory(Factory):
    """Visitors of one target."""

    noisy = False

    def __init__(self, dial, linger):
        self.dial = dial
        self.linger = linger
        self.visitors = []
        self.reasons = []
        self.waiting = []

    def buildProtocol(self, addr):
        visitor = PairedVisitor(self.dial, self.linger, lambda: None, self.ended)
        self.visitors.append(visitor)
        return visitor

    def ended(self, reason):
        self.reasons.append(reason)
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call.callback(None)

    def next_end(self):
        """Return a Deferred of the next visitor's end."""
        if self.reasons:
            return deferLater(reactor, 0, lambda: None)
        end: Deferred[None] = Deferred()
        self.waiting.append(end)
        return end.addTimeout(WAIT_SECONDS, reactor)


class DirectSocketsTests(TestCase):
    """A visitor's socket, the forwarder, and a target's socket.

    Both ends are blocking sockets in threads, with time limits of their own.
    """

    timeout = 30
    splice = True

    def setUp(self):
        self.network = Network(reactor, splice=self.splice)
        self.linger = Linger(reactor)
        self.addCleanup(self.linger.stop)
        self.dialer = Dialer(
            self.network,
            reactor,
            TargetRules.parse(["127.0.0.0/8", "::1"]),
            own_ports=None,
            timeout_seconds=5.0,
        )
        self.target = self.socket(socket.socket())
        self.target.bind(("127.0.0.1", 0))
        self.target.listen()
        self.serve("127.0.0.1", self.target.getsockname()[1])

    def socket(self, sock):
        self.addCleanup(sock.close)
        sock.settimeout(WAIT_SECONDS)
        return sock

    def serve(self, host, port):
        """Forward a port of its own to a target."""
        self.factory = VisitorFactory(
            partial(self.dialer.reach, host, port), self.linger
        )
        listening = self.network.listen("127.0.0.1", 0, self.factory)
        listening.startAccepting()
        self.addCleanup(listening.stopListening)
        self.public = ("127.0.0.1", listening.getHost().port)

    def visit(self, receive_buffer=None):
        visitor = self.socket(socket.socket())
        if receive_buffer:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        visitor.connect(self.public)
        return visitor

    def accept(self):
        sock, _ = self.target.accept()
        return self.socket(sock)

    def assert_reset(self):
        """Knock; the reset may be seen as early as in `connect`."""

        def knock():
            self.visit().recv(1)

        self.assertRaises(ConnectionResetError, knock)

    async def both(self):
        """Return the joined ends."""

        def connect():
            return self.visit(), self.accept()

        return await deferToThread(connect)

    async def test_bytes_go_both_ways(self):
        payload = bytes(range(256)) * 4096

        def exchange():
            visitor, target = self.visit(), self.accept()
            visitor.sendall(b"hello")
            self.assertEqual(target.recv(100), b"hello")
            target.sendall(payload)
            target.close()
            answer = read_all(visitor)
            visitor.close()
            return answer

        self.assertEqual(await deferToThread(exchange), payload)
        await self.factory.next_end()
        (visitor,) = self.factory.visitors
        self.assertEqual((visitor.sent, visitor.received), (5, len(payload)))
        self.assertEqual(self.factory.reasons, [FINISHED])

    async def test_an_answer_follows_the_end_of_the_question(self):
        question, answer = b"q" * MEBIBYTE, b"a" * MEBIBYTE

        def target_side(target):
            heard = read_all(target)
            target.sendall(answer)
            target.close()
            return heard

        def visitor_side(visitor):
            visitor.sendall(question)
            visitor.shutdown(socket.SHUT_WR)
            return read_all(visitor)

        visitor, target = await self.both()
        heard = deferToThread(target_side, target)
        self.assertEqual(await deferToThread(visitor_side, visitor), answer)
        self.assertEqual(await heard, question)
        await self.factory.next_end()
        self.assertEqual(self.factory.reasons, [FINISHED])

    async def test_a_reset_of_the_visitor_reaches_the_target(self):
        visitor, target = await self.both()
        reset(visitor)

        def listen():
            self.assertRaises(ConnectionResetError, target.recv, 1)

        await deferToThread(listen)
        await self.factory.next_end()

    async def test_a_reset_of_the_target_reaches_the_visitor(self):
        visitor, target = await self.both()
        reset(target)

        def listen():
            self.assertRaises(ConnectionResetError, visitor.recv, 1)

        await deferToThread(listen)
        await self.factory.next_end()

    async def test_a_refused_target_resets_the_visitor(self):
        self.target.close()

        await deferToThread(self.assert_reset)
        await self.factory.next_end()
        self.assertIn("connection refused", self.factory.reasons[0])

    async def test_a_denied_target_resets_the_visitor(self):
        self.serve("192.0.2.1", 80)

        await deferToThread(self.assert_reset)
        await self.factory.next_end()
        self.assertIn("not among the allowed targets", self.factory.reasons[0])

    async def test_a_name_is_looked_up(self):
        self.serve("localhost", self.target.getsockname()[1])

        def exchange():
            visitor, target = self.visit(), self.accept()
            visitor.sendall(b"hello")
            heard = target.recv(100)
            target.close()
            visitor.close()
            return heard

        self.assertEqual(await deferToThread(exchange), b"hello")
        await self.factory.next_end()

    async def test_a_slow_reader_stops_the_sender(self):
        """What is under way stays bounded however long nobody reads."""

        def fill():
            visitor, target = self.visit(SMALL_BUFFER), self.accept()
            target.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            target.settimeout(0.5)
            sent = 0
            try:
                while sent < 64 * MEBIBYTE:
                    sent += target.send(b"x" * 65536)
            except TimeoutError:
                pass
            return visitor, target, sent

        visitor, target, sent = await deferToThread(fill)
        self.assertLess(sent, 32 * MEBIBYTE)
        near = self.factory.visitors[0].transport
        self.assertGreater(near.unsent, 0)
        # one event's reads may come on top of the mark
        self.assertLess(near.unsent, max(MOST_BYTES + 1, near.pause_mark + 5 * 65536))
        self.assertLess(near.kernel_bytes()[1], UNSENT_BYTES * 3)
        pinned = self.factory.visitors[0].flows()[0].kernel
        self.assertGreater(pinned, 0)
        self.assertLess(pinned, (UNSENT_BYTES + UNREAD_BYTES) * 2)
        target.close()
        received = await deferToThread(read_all, visitor)
        self.assertEqual(len(received), sent)
        visitor.close()
        await self.factory.next_end()

    async def test_closing_delivers_what_was_taken(self):
        visitor, target = await self.both()
        await deferToThread(target.sendall, b"last words")
        self.assertEqual(await deferToThread(visitor.recv, 100), b"last words")
        self.factory.visitors[0].close("mapping removed")
        self.assertEqual(await deferToThread(visitor.recv, 100), b"")
        self.assertEqual(await deferToThread(target.recv, 100), b"")
        await self.factory.next_end()
        self.assertEqual(self.factory.reasons, ["mapping removed"])

    async def test_a_visitor_that_leaves_early_leaves_nothing(self):
        """A target that does not answer, and a visitor that does not wait."""
        # the backlog is full: further attempts are not answered
        full = self.socket(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [self.socket(socket.socket()) for _ in range(4)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        self.serve("127.0.0.1", full.getsockname()[1])
        visitor = await deferToThread(self.visit)
        await until(lambda: self.factory.visitors)
        self.assertEqual(self.factory.reasons, [])
        reset(visitor)
        await self.factory.next_end()
        self.assertIn("before the target was reached", self.factory.reasons[0])


class UnsplicedDirectSocketsTests(DirectSocketsTests):
    """The same without splicing."""

    splice = False
