"""Bytes that pass at a rate, over real sockets and a clock of the test's."""

import socket

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.rates import LEAST_BURST, Bucket
from tests.contracts.network import CountingProducer, HalfRecorder
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


class PacingTests(PlainPeerCase):
    """One transport, whose peer is as fast as can be."""

    def setUp(self):
        super().setUp()
        self.clock = Clock()

    def bucket(self, rate=RATE):
        return Bucket(rate, self.clock.seconds())

    async def pass_time(self, seconds, step=0.05):
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await self.settle()

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
