"""Bytes that pass at a rate, over real sockets and a clock of the test's."""

import contextlib
import random
import socket
from typing import Any
from unittest.mock import patch

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.net.poller import ReactorPoller
from gateway.net.sealed import RECORD_BYTES, RUN_BYTES
from gateway.net.tls import TLSTransport
from gateway.policy.rates import LEAST_BURST, Bucket
from tests.contracts.network import CountingProducer, HalfRecorder
from tests.net.real import RealSocketsCase, reactor
from tests.net.test_tls import TLSCase
from tests.net.test_transports import PlainPeerCase

RATE = 100_000
SIZE = 400_000


class BucketTests(SynchronousTestCase):
    """What a bucket lets pass."""

    def test_a_burst_and_then_the_rate(self):
        bucket = Bucket(RATE, 5.0)
        self.assertEqual(bucket.left(5.0), LEAST_BURST)
        bucket.spend(LEAST_BURST + 5000)
        self.assertEqual(bucket.left(5.0), -5000)
        self.assertAlmostEqual(bucket.wait(4096), 0.09096)
        self.assertAlmostEqual(bucket.left(5.09096), 4096)
        self.assertEqual(bucket.left(500), LEAST_BURST)

    def test_the_burst_is_a_hundredth_of_a_second_for_fast_ones(self):
        self.assertEqual(Bucket(100_000_000, 0).burst, 1_000_000)

    def test_more_than_a_burst_is_waited_for_as_a_burst(self):
        bucket = Bucket(1000, 0.0)
        self.assertEqual(bucket.wait(1 << 30), 0.0)


class PacedCase(RealSocketsCase):
    """A clock of the test's, and buckets that fill by it."""

    def setUp(self):
        super().setUp()
        self.clock = Clock()

    def bucket(self, rate=RATE):
        return Bucket(rate, self.clock.seconds())

    async def pass_time(self, seconds, step=0.05):
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await self.settle()


class PacingTests(PacedCase, PlainPeerCase):
    """One transport, whose peer is as fast as can be."""

    async def test_reading(self):
        ours, peer = await self.accept()
        ours.transport.pace(self.clock, [self.bucket()], [])
        self.assertLess(peer.send(bytes(SIZE)), SIZE + 1)
        await self.settle()
        self.assertLessEqual(len(ours.received), LEAST_BURST)
        await self.pass_time(1)
        self.assertLess(abs(len(ours.received) - RATE), 2 * LEAST_BURST)
        ours.transport.pace(self.clock, [], [])
        self.assertFalse(self.clock.getDelayedCalls())
        await self.until(lambda: len(ours.received) > 2 * RATE)
        await self.end(ours)

    async def test_writing_and_the_producer(self):
        for gathered in (False, True):
            ours, peer = await self.accept(gathered=gathered)
            producer = CountingProducer()
            ours.transport.registerProducer(producer, True)
            ours.transport.pace(self.clock, [], [self.bucket()])
            ours.transport.write(bytes(SIZE // 2))
            ours.transport.writeSequence([bytes(SIZE // 4)] * 2)
            self.assertTrue(producer.paused)
            await self.settle()
            received = len(self.read_all(peer))
            await self.pass_time(1)
            received += len(self.read_all(peer))
            self.assertLess(abs(received - RATE), 2 * LEAST_BURST)
            self.assertEqual(ours.transport.unsent, SIZE - received)
            for _ in range(4):
                await self.pass_time(0.8)
                received += len(self.read_all(peer))
            await self.settle()
            received += len(self.read_all(peer))
            self.assertEqual((received, producer.paused), (SIZE, False))
            ours.transport.unregisterProducer()
            await self.end(ours)
            self.assertFalse(self.clock.getDelayedCalls())

    async def test_directions_do_not_share(self):
        ours, peer = await self.accept()
        ours.transport.pace(self.clock, [self.bucket()], [])
        peer.send(bytes(SIZE))
        ours.transport.write(bytes(SIZE))
        received = 0
        while received < SIZE:
            await self.settle()
            received += len(self.read_all(peer))
        self.assertLessEqual(len(ours.received), LEAST_BURST)
        await self.end(ours)

    async def test_two_share_a_bucket(self):
        shared = self.bucket()
        pairs = [await self.accept() for _ in range(2)]
        for ours, peer in pairs:
            ours.transport.pace(self.clock, [shared], [])
            peer.send(bytes(SIZE))
        await self.pass_time(2)
        both = sum(len(ours.received) for ours, _ in pairs)
        self.assertLess(abs(both - 2 * RATE), 2 * LEAST_BURST)
        await self.end(*[ours for ours, _ in pairs][:1])
        await self.end(pairs[1][0])

    async def test_the_slower_of_two_buckets_decides(self):
        ours, peer = await self.accept()
        buckets = [self.bucket(10 * RATE), self.bucket(RATE)]
        ours.transport.pace(self.clock, buckets, [])
        peer.send(bytes(SIZE))
        await self.pass_time(1)
        self.assertLess(abs(len(ours.received) - RATE), 2 * LEAST_BURST)
        await self.end(ours)

    async def test_an_end_in_order_comes_behind_every_byte(self):
        ours, peer = await self.accept(HalfRecorder)
        ours.transport.pace(self.clock, [self.bucket()], [self.bucket()])
        peer.send(bytes(50_000))
        peer.shutdown(socket.SHUT_WR)
        ours.transport.write(bytes(50_000))
        ours.transport.loseWriteConnection()
        await self.settle()
        self.assertNotIn("read lost", ours.calls)
        await self.pass_time(1)
        await self.until(lambda: ours.lost)
        self.assertEqual(len(ours.received), 50_000)
        self.assertEqual(len(self.read_all(peer)), 50_000)
        self.assertIsNotNone(ours.reasons[0].check(ConnectionDone))

    async def test_a_reset_is_noticed_at_once(self):
        ours, peer = await self.accept()
        ours.transport.pace(self.clock, [self.bucket(1)], [])
        peer.send(bytes(50_000))
        await self.settle()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        await self.until(lambda: ours.lost)
        self.assertIsNotNone(ours.reasons[0].check(ConnectionLost))
        self.assertFalse(self.clock.getDelayedCalls())

    async def test_what_came_before_a_failed_write_is_read_without_a_limit(self):
        ours, peer = await self.accept()
        ours.transport.pace(self.clock, [self.bucket(1)], [])
        peer.send(bytes(50_000))
        await self.settle()
        ours.transport._write_failed()
        await self.until(lambda: ours.lost)
        self.assertEqual(len(ours.received), 50_000)


class TLSPacedCase(PacedCase, TLSCase):
    """A transport under TLS, whose peer is one without limits."""

    async def pair(self, build=HalfRecorder):
        """Return the protocols of both ends; the first is to be paced."""
        self.listen(self.server(), HalfRecorder)
        near: Any = await self.connect(self.client(), build)
        await self.until(lambda: self.accepting.built)
        far: Any = self.accepting.built[0]
        await self.settle()
        return near, far

    @contextlib.contextmanager
    def counting(self, most):
        """Fail if the poller calls transports more than `most` times inside."""
        calls = []
        handle = TLSTransport.handle

        def counted(transport, events):
            calls.append(events)
            handle(transport, events)

        with patch.object(TLSTransport, "handle", counted):
            yield
        self.assertLessEqual(len(calls), most)

    def payload(self, size=SIZE):
        return random.Random(5).randbytes(size)


class TLSPacingTests(TLSPacedCase):
    """With an epoll set of its own where there is one."""

    async def test_reading(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [self.bucket()], [])
        sent = self.payload()
        far.transport.write(sent)
        await self.settle()
        self.assertLessEqual(len(near.received), LEAST_BURST)
        with self.counting(500):
            await self.pass_time(1, 0.1)
        self.assertLess(abs(len(near.received) - RATE), 2 * LEAST_BURST)
        near.transport.pace(self.clock, [], [])
        await self.until(lambda: len(near.received) == SIZE)
        self.assertEqual(near.received, sent)
        await self.end(near, far)
        self.assertFalse(self.clock.getDelayedCalls())

    async def test_writing(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [], [self.bucket()])
        sent = self.payload()
        near.transport.write(sent)
        await self.settle()
        self.assertLessEqual(len(far.received), LEAST_BURST)
        with self.counting(500):
            await self.pass_time(1, 0.1)
        self.assertLess(abs(len(far.received) - RATE), 2 * LEAST_BURST)
        self.assertEqual(near.transport.unsent, SIZE - len(far.received))
        near.transport.pace(self.clock, [], [])
        await self.until(lambda: len(far.received) == SIZE)
        self.assertEqual(far.received, sent)
        await self.end(near, far)

    async def test_a_half_close_comes_behind_every_byte(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [self.bucket()], [self.bucket()])
        sent = self.payload(50_000)
        far.transport.write(sent)
        far.transport.loseWriteConnection()
        near.transport.write(sent)
        near.transport.loseWriteConnection()
        with self.counting(200):
            await self.settle()
        self.assertNotIn("read lost", near.calls)
        await self.pass_time(1, 0.1)
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual((near.received, far.received), (sent, sent))
        self.assertIsNotNone(near.reasons[0].check(ConnectionDone))
        self.assertIsNotNone(far.reasons[0].check(ConnectionDone))

    async def test_what_openssl_holds_waits_for_the_bucket_and_nothing_spins(self):
        near, far = await self.pair()
        connection = near.transport.getHandle().connection
        near.transport.pace(self.clock, [self.bucket()], [])
        far.transport.write(bytes(RECORD_BYTES))
        await self.settle()
        self.assertEqual(len(near.received), LEAST_BURST)
        self.assertEqual(connection.pending(), RECORD_BYTES - LEAST_BURST)
        far.transport.write(b"more")  # so that the kernel has something to announce
        with self.counting(2):
            await self.settle()
        await self.pass_time(0.2, 0.1)
        self.assertEqual(near.received, bytes(RECORD_BYTES) + b"more")
        self.assertEqual(connection.pending(), 0)
        await self.end(near, far)


class TLSReactorPacingTests(TLSPacingTests):
    """The same on the reactor's own readers and writers."""

    def poller(self):
        return ReactorPoller(reactor)


class TLSDetailTests(TLSPacedCase):
    """Where TLS differs from a plain socket."""

    async def test_both_directions_at_their_own_rates(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [self.bucket()], [self.bucket(2 * RATE)])
        sent = self.payload()
        near.transport.write(sent)
        far.transport.write(sent)
        with self.counting(1000):
            await self.pass_time(1)
        self.assertLess(abs(len(near.received) - RATE), 2 * LEAST_BURST)
        self.assertLess(abs(len(far.received) - 2 * RATE), 2 * LEAST_BURST)
        near.transport.pace(self.clock, [], [])
        await self.until(lambda: len(near.received) == len(far.received) == SIZE)
        self.assertEqual((near.received, far.received), (sent, sent))
        await self.end(near, far)

    async def test_a_limit_that_ends_lets_in_what_openssl_holds(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [self.bucket()], [])
        far.transport.write(bytes(RECORD_BYTES))
        await self.settle()
        self.assertLess(len(near.received), RECORD_BYTES)
        near.transport.pace(self.clock, [], [])
        await self.until(lambda: len(near.received) == RECORD_BYTES)
        await self.end(near, far)

    async def test_a_paused_transport_gets_what_openssl_holds_when_resumed(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [self.bucket()], [])
        near.on_data = lambda data: near.transport.pauseProducing()
        far.transport.write(bytes(RECORD_BYTES))
        await self.until(lambda: near.received)
        with self.counting(2):
            await self.pass_time(1, 0.1)
        self.assertLess(len(near.received), RECORD_BYTES)
        near.on_data = lambda data: None
        near.transport.resumeProducing()
        await self.until(lambda: len(near.received) == RECORD_BYTES)
        await self.end(near, far)

    async def test_a_goodbye_without_the_end_of_the_socket(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [self.bucket()], [])
        sent = self.payload(2 * RECORD_BYTES)
        far.transport.write(sent)
        self.assertTrue(far.transport.getHandle().say_goodbye())
        with self.counting(50):
            await self.pass_time(0.5, 0.1)
        await self.until(lambda: "read lost" in near.calls)
        self.assertEqual(near.received, sent)
        await self.end(near, far)

    async def test_an_end_behind_bytes_is_told_after_a_pause(self):
        near, far = await self.pair()
        near.on_data = lambda data: near.transport.pauseProducing()
        near.transport.pauseProducing()
        far.transport.write(bytes(2 * RECORD_BYTES))
        self.assertTrue(far.transport.getHandle().say_goodbye())
        await self.settle()
        near.transport.resumeProducing()
        await self.until(lambda: len(near.received) == 2 * RECORD_BYTES)
        await self.settle()
        self.assertNotIn("read lost", near.calls)
        near.transport.resumeProducing()
        await self.until(lambda: "read lost" in near.calls)
        await self.end(near, far)

    async def fill(self, near, far, sent):
        """Write what the kernel does not take; OpenSSL has begun more."""
        far.transport.pauseProducing()
        near.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        near.transport.write(sent)
        await self.settle()

    async def test_what_was_begun_is_repeated_though_the_bucket_is_dry(self):
        near, far = await self.pair()
        bucket = self.bucket(500_000_000)
        secure = near.transport.getHandle()
        near.transport.pace(self.clock, [], [bucket])
        sent = self.payload(10 * SIZE)
        await self.fill(near, far, sent)
        while not secure.owed:
            self.clock.advance(0.01)
            await self.settle()
        left = bucket.left(self.clock.seconds())
        bucket.rate = RATE
        bucket.spend(left + RATE)  # by another connection that shares it
        far.transport.resumeProducing()
        await self.until(lambda: not secure.owed)
        with self.counting(10):
            await self.settle()
        received = len(far.received)
        await self.pass_time(2, 0.1)
        self.assertLess(abs(len(far.received) - received - RATE), 2 * LEAST_BURST)
        near.transport.pace(self.clock, [], [])
        await self.until(lambda: len(far.received) == len(sent))
        self.assertEqual(far.received, sent)
        await self.end(near, far)

    async def test_a_limit_begins_behind_what_was_begun(self):
        near, far = await self.pair()
        secure = near.transport.getHandle()
        sent = self.payload(10 * SIZE)
        size = 100
        await self.fill(near, far, sent)
        near.transport.writeSequence([sent[:size]] * 3)
        self.assertGreater(secure.owed, LEAST_BURST)
        near.transport._pieces[0] = bytes(near.transport._pieces[0])
        first = near.transport._pieces.popleft()
        pieces = [first[i : i + size] for i in range(0, RUN_BYTES + size, size)]
        near.transport._pieces.extendleft(
            reversed([*pieces, first[len(pieces) * size :]])
        )
        near.transport.pace(self.clock, [], [self.bucket()])
        far.transport.resumeProducing()
        await self.until(lambda: not secure.owed)
        near.transport.pace(self.clock, [], [])
        whole = sent + sent[:size] * 3
        await self.until(lambda: len(far.received) == len(whole))
        self.assertEqual(far.received, whole)
        await self.end(near, far)

    async def test_a_reset_is_noticed_at_once(self):
        near, far = await self.pair()
        near.transport.pace(self.clock, [self.bucket(1)], [])
        far.transport.write(bytes(50_000))
        await self.settle()
        far.transport.abortConnection()
        await self.until(lambda: near.lost)
        self.assertIsNotNone(near.reasons[0].check(ConnectionLost))
        self.assertFalse(self.clock.getDelayedCalls())

    async def test_the_kernel_moves_nothing_past_tls(self):
        near, far = await self.pair()
        near.transport.registerProducer(far.transport, True)
        self.assertFalse(near.transport.takes_from(far.transport))
        await self.end(near, far)
