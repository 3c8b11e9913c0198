"""A transport and a plain socket at its other end."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gateway.interfaces import IByteTransport, IViewReceiver
from gateway.net.poller import ERROR, READS, Poller
from gateway.net.sockets import LINK_UNSENT_BYTES, UNSENT_BYTES
from tests.contracts.network import (
    CountingProducer,
    HalfRecorder,
    Recorder,
    RecordingFactory,
)
from tests.fakes import BoundedTransport
from tests.net.real import RealSocketsCase, reactor


class CountingPoller(Poller):
    """Counts how often the reactor wakes it."""

    wakes = 0

    def doRead(self):
        self.wakes += 1
        super().doRead()


class PlainPeerCase(RealSocketsCase):
    """Has a transport of ours and a plain socket, connected."""

    poller_class: Any = CountingPoller

    def poller(self):
        self.counting = CountingPoller(reactor)
        return self.counting

    async def accept(self, build=Recorder, *, gathered=False):
        """Return our protocol and the plain socket."""
        factory = RecordingFactory(build)
        listening = self.network.listen("127.0.0.1", 0, factory, gathered=gathered)
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        peer = socket.create_connection(("127.0.0.1", listening.getHost().port), 5)
        self.addCleanup(peer.close)
        peer.setblocking(False)
        await self.until(lambda: factory.built)
        return factory.built[0], peer

    def read_all(self, peer):
        """Return what can be read now."""
        received = bytearray()
        while True:
            try:
                data = peer.recv(1 << 20)
            except BlockingIOError:
                return bytes(received)
            if not data:
                return bytes(received)
            received += data

    async def end(self, ours):
        ours.transport.abortConnection()
        await self.until(lambda: ours.lost)


class WritingTests(PlainPeerCase):
    """What leaves when."""

    async def test_a_write_leaves_at_once(self):
        ours, peer = await self.accept()
        ours.transport.write(b"now")
        self.assertEqual(peer.recv(10), b"now")
        ours.transport.writeSequence([b"and ", b"now"])
        self.assertEqual(peer.recv(10), b"and now")
        await self.end(ours)

    async def test_unsent_is_what_the_kernel_has_not_taken(self):
        ours, peer = await self.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        written = 0
        while ours.transport.unsent < 3_000_000:
            ours.transport.write(b"x" * 100_001)
            ours.transport.writeSequence([b"y" * 7, b"z" * 99_993])
            written += 200_001
        taken = 0
        while taken < written - ours.transport.unsent:
            taken += len(self.read_all(peer))
        self.assertEqual(taken, written - ours.transport.unsent)
        received = taken
        while received < written:
            await self.settle()
            received += len(self.read_all(peer))
        self.assertEqual((received, ours.transport.unsent), (written, 0))
        await self.end(ours)

    async def test_large_sequences_leave_whole(self):
        ours, peer = await self.accept()
        pieces = [bytes((number % 251,)) * (number % 700) for number in range(3000)]
        ours.transport.writeSequence(pieces)
        ours.transport.write(b"end")
        received = bytearray()
        while not received.endswith(b"end"):
            await self.settle()
            received += self.read_all(peer)
        self.assertEqual(received, b"".join(pieces) + b"end")
        await self.end(ours)

    async def test_gathered_writes_leave_together_at_the_end_of_the_turn(self):
        ours, peer = await self.accept(gathered=True)
        seen = []

        def answer(data):
            for piece in (b"one ", b"two ", b"three"):
                ours.transport.write(piece)
            seen.append((ours.transport.unsent, self.read_all(peer)))

        ours.on_data = answer
        peer.send(b"?")
        await self.until(lambda: seen)
        self.assertEqual(seen, [(13, b"")])
        self.assertEqual(
            (ours.transport.unsent, self.read_all(peer)), (0, b"one two three")
        )
        await self.end(ours)

    async def test_gathered_writes_outside_of_a_turn_leave_soon(self):
        ours, peer = await self.accept(gathered=True)
        ours.transport.write(b"soon")
        self.assertEqual(self.read_all(peer), b"")
        await self.until(lambda: self.read_all(peer) == b"soon")
        await self.end(ours)

    async def test_gathering_stops_at_the_mark(self):
        ours, _peer = await self.accept(gathered=True)
        producer = CountingProducer()
        ours.transport.registerProducer(producer, True)
        ours.transport.write(b"x" * (ours.transport.pause_mark + 1))
        self.assertEqual((ours.transport.unsent, producer.pauses), (0, 0))
        ours.transport.unregisterProducer()
        await self.end(ours)

    async def test_a_sequence_of_a_link_leaves_before_the_turn_ends(self):
        for size in (3, 70_000):
            ours, peer = await self.accept(gathered=True)
            seen: list[Any] = []

            def answer(data, ours=ours, peer=peer, size=size, seen=seen):
                ours.transport.writeSequence([b"head", memoryview(bytes(size))])
                seen.append((ours.transport.unsent, len(self.read_all(peer))))

            ours.on_data = answer
            peer.send(b"?")
            await self.until(lambda seen=seen: seen)
            self.assertEqual(seen, [(0, size + 4)])
            await self.end(ours)

    async def test_a_sequence_of_a_link_overtakes_nothing(self):
        ours, peer = await self.accept(gathered=True)

        def answer(data):
            ours.transport.write(b"first ")
            ours.transport.writeSequence([b"second ", b"third"])

        ours.on_data = answer
        peer.send(b"?")
        await self.until(lambda: self.read_all(peer) == b"first second third")
        await self.end(ours)

    async def test_a_view_may_change_once_it_is_written(self):
        for gathered in (False, True):
            ours, peer = await self.accept(gathered=gathered)
            buffer = bytearray(b"x" * 200_000)
            for _ in range(40):
                ours.transport.writeSequence([b"head", memoryview(buffer)])
                ours.transport.write(memoryview(buffer)[:50_000])
            buffer[:] = b"y" * 200_000
            received = bytearray()
            while len(received) < 40 * 250_004:
                await self.settle()
                received += self.read_all(peer)
            self.assertEqual(received.count(b"y"), 0)
            await self.end(ours)

    async def test_a_failed_write_is_told_from_the_poller(self):
        ours, peer = await self.accept()
        ours.transport.pauseProducing()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        ours.transport.write(b"x")
        ours.transport.write(b"x")
        self.assertFalse(ours.lost)
        await self.until(lambda: ours.lost)
        ours.reasons[0].trap(ConnectionLost)

    async def test_what_came_before_a_failed_write_is_delivered(self):
        """All of it, however many others are ready in that turn."""
        said = bytes(50_000)
        for reads in (1, READS):
            ours, peer = await self.accept()
            ours.transport.read_size = 1000

            def cross(ours=ours, peer=peer, reads=reads):
                self.counting.reads = reads
                self.assertEqual(peer.send(said), len(said))
                linger = b"\1\0\0\0\0\0\0\0"
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                peer.close()
                ours.transport.write(b"x")
                self.assertEqual(ours.received, b"")

            self.counting.at_turn_end(cross)  # no event of this socket comes before
            await self.until(lambda ours=ours: ours.lost)
            self.assertEqual(len(ours.received), len(said))
            ours.reasons[0].trap(ConnectionLost)

    async def test_an_error_without_anything_to_read_is_a_loss(self):
        ours, _peer = await self.accept()
        ours.transport.handle(ERROR)
        ours.reasons[0].trap(ConnectionLost)


@implementer(IViewReceiver)
class Viewer(Recorder):
    """Remembers the very objects that it was given."""

    def __init__(self):
        super().__init__()
        self.kinds = []
        self.bases = set()

    def dataReceived(self, data):
        self.kinds.append(type(data))
        if type(data) is memoryview:
            self.bases.add(id(data.obj))
        super().dataReceived(bytes(data))


class ViewTests(PlainPeerCase):
    """Reading without allocating."""

    async def receive(self, size, *, gathered):
        ours, peer = await self.accept(Viewer, gathered=gathered)
        sent = bytes(range(256)) * (size // 256)
        rest = memoryview(sent)
        while len(ours.received) < len(sent):
            if rest:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[peer.send(rest) :]
            await self.settle()
        self.assertEqual(ours.received, sent)
        await self.end(ours)
        return ours

    async def test_bulk_comes_in_views_of_one_buffer(self):
        ours = await self.receive(4 << 20, gathered=False)
        self.assertIn(memoryview, ours.kinds)
        self.assertEqual(ours.bases, {id(self.counting.scratch.obj)})

    async def test_a_link_reads_into_the_same_buffer(self):
        ours = await self.receive(4 << 20, gathered=True)
        self.assertIn(memoryview, ours.kinds)
        self.assertEqual(ours.bases, {id(self.counting.scratch.obj)})

    async def test_small_reads_come_as_bytes(self):
        ours = await self.receive(1024, gathered=False)
        self.assertEqual(set(ours.kinds), {bytes})

    async def test_a_read_takes_no_more_than_was_asked_for(self):
        for gathered in (False, True):
            ours, peer = await self.accept(Viewer, gathered=gathered)
            ours.transport.read_size = 40_000
            ours.transport.pauseProducing()
            peer.send(bytes(100_000))
            sizes: list[int] = []
            ours.on_data = lambda data, sizes=sizes: sizes.append(len(data))
            ours.transport.resumeProducing()
            await self.until(lambda ours=ours: len(ours.received) == 100_000)
            self.assertLessEqual(max(sizes), 40_000)
            await self.end(ours)


class TurnTests(PlainPeerCase):
    """Who is read how often in one turn."""

    async def read_two(self, *, gathered):
        """Return whose pieces arrive when two have four each."""
        order: list[str] = []
        pairs = []
        for name in "ab":
            ours, peer = await self.accept(gathered=gathered)
            ours.transport.read_size = 10_000
            ours.transport.pauseProducing()
            peer.send(bytes(40_000))
            ours.on_data = lambda data, name=name: order.append(name)
            pairs.append(ours)
        for ours in pairs:
            ours.transport.resumeProducing()
        await self.until(lambda: len(order) == 8)
        for ours in pairs:
            await self.end(ours)
        return order

    async def test_one_that_has_much_waits_for_the_others(self):
        for gathered in (False, True):
            order = await self.read_two(gathered=gathered)
            self.assertLessEqual(order[:4].count(order[0]), 2, order)


class QueueTests(PlainPeerCase):
    """Where bytes wait that the far end does not take."""

    async def test_the_kernel_keeps_little_that_it_cannot_send(self):
        for gathered in (False, True):
            ours, _peer = await self.accept(gathered=gathered)
            with socket.create_server(("127.0.0.1", 0)) as listening:
                port = listening.getsockname()[1]
                factory = RecordingFactory(Recorder)
                dialled = await self.network.connect(
                    "127.0.0.1", port, factory, 5.0, gathered=gathered
                )
                far_end, _ = listening.accept()
            self.addCleanup(far_end.close)
            ends: tuple[Any, ...] = (ours, dialled)
            for one in ends:
                unsent = one.transport.getHandle().getsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT
                )
                most = LINK_UNSENT_BYTES if gathered else UNSENT_BYTES
                self.assertEqual(unsent, most)
                await self.end(one)

    async def test_a_peer_that_does_not_read_pins_little(self):
        """Without a bound it would be several mebibytes."""
        ours, peer = await self.accept()
        for _ in range(256):
            ours.transport.write(bytes(65536))
        await self.settle()
        unread, kept = ours.transport.kernel_bytes()
        self.assertEqual(unread, 0)
        self.assertGreater(kept, 0)
        self.assertLess(kept, UNSENT_BYTES * 3)
        before = ours.transport.acknowledged()
        await self.until(
            lambda: (
                self.read_all(peer) is not None
                and ours.transport.acknowledged() > before + 500000
            )
        )
        await self.end(ours)

    async def test_what_nobody_reads_from_the_kernel_is_counted(self):
        ours, peer = await self.accept()
        ours.transport.pauseProducing()
        peer.send(bytes(50000))
        await self.until(lambda: ours.transport.kernel_bytes()[0] >= 50000)
        await self.end(ours)
        self.assertEqual(ours.transport.kernel_bytes(), (0, 0))
        self.assertIsNone(ours.transport.acknowledged())


class IdleTests(PlainPeerCase):
    """Nothing is polled for in vain."""

    async def assert_quiet(self):
        await self.settle()
        before = self.counting.wakes
        await self.settle()
        await self.settle()
        self.assertLessEqual(self.counting.wakes - before, 1)

    async def test_a_finish_while_paused_wakes_nobody(self):
        ours, peer = await self.accept()
        ours.transport.pauseProducing()
        peer.send(b"unread")
        peer.shutdown(socket.SHUT_WR)
        await self.assert_quiet()
        self.assertFalse(ours.lost)
        ours.transport.resumeProducing()
        await self.until(lambda: ours.lost)
        self.assertEqual(ours.received, b"unread")
        ours.reasons[0].trap(ConnectionDone)

    async def test_both_finishes_while_paused_wake_nobody(self):
        ours, peer = await self.accept(HalfRecorder)
        ours.transport.pauseProducing()
        ours.transport.loseWriteConnection()
        peer.send(b"unread")
        peer.shutdown(socket.SHUT_WR)
        await self.assert_quiet()
        self.assertFalse(ours.lost)
        ours.transport.resumeProducing()
        await self.until(lambda: ours.lost)
        self.assertEqual(ours.received, b"unread")
        self.assertEqual(ours.calls[-2:], ["read lost", "lost"])

    async def test_a_finish_that_was_read_wakes_nobody(self):
        ours, peer = await self.accept(HalfRecorder)
        peer.shutdown(socket.SHUT_WR)
        await self.until(lambda: "read lost" in ours.calls)
        await self.assert_quiet()
        ours.transport.write(b"still")
        self.assertEqual(peer.recv(10), b"still")
        await self.end(ours)

    async def test_a_full_buffer_wakes_nobody(self):
        ours, _peer = await self.accept()
        ours.transport.write(b"x" * 10_000_000)
        await self.assert_quiet()
        await self.end(ours)

    async def test_a_reset_after_the_finish_is_noticed(self):
        ours, peer = await self.accept(HalfRecorder)
        peer.shutdown(socket.SHUT_WR)
        await self.until(lambda: "read lost" in ours.calls)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        await self.until(lambda: ours.lost)
        ours.reasons[0].trap(ConnectionLost)

    async def test_a_reset_while_flushing_is_noticed(self):
        ours, peer = await self.accept()
        ours.transport.write(b"x" * 10_000_000)
        ours.transport.loseConnection()
        await self.settle()
        peer.close()
        await self.until(lambda: ours.lost)
        ours.reasons[0].trap(ConnectionLost)
        self.assertEqual(ours.transport.unsent, 0)


class FakeTests(RealSocketsCase):
    """The double keeps to the interface of the real thing."""

    def test_interface(self):
        verifyObject(IByteTransport, BoundedTransport())
        self.assertIsInstance(BoundedTransport(), StringTransport)

    def test_it_pauses_and_resumes_like_a_socket(self):
        transport, producer = BoundedTransport(capacity=4), CountingProducer()
        transport.resume_mark = 2
        transport.registerProducer(producer, True)
        transport.write(b"abcd")
        self.assertEqual(producer.pauses, 0)
        transport.write(b"e")
        transport.write(b"f")
        self.assertEqual((transport.unsent, producer.pauses), (6, 1))
        transport.drain(3)
        self.assertEqual((transport.unsent, producer.resumes), (3, 0))
        transport.drain(1)
        self.assertEqual((transport.unsent, producer.resumes), (2, 1))
        transport.drain()
        self.assertEqual((transport.unsent, producer.resumes), (0, 1))
