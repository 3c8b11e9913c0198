"""What every `INetwork` does, whatever it is made of.

An implementation's test case mixes `NetworkContract` in and provides `network` and
`until`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gateway.interfaces import IByteTransport, IListening, INetwork

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Case
else:
    Case = object  # the suite is not a test case by itself

CHUNK = 65536


class Recorder(Protocol):
    """A protocol that keeps what happens to it."""

    transport: Any

    def __init__(self):
        self.received = bytearray()
        self.calls = []
        self.reasons = []
        self.on_data = lambda data: None
        self.on_lost = lambda: None

    def connectionMade(self):
        self.calls.append("made")

    def dataReceived(self, data):
        self.calls.append("data")
        self.received += data
        self.on_data(data)

    def connectionLost(self, reason=connectionDone):
        self.calls.append("lost")
        self.reasons.append(reason)
        self.on_lost()

    @property
    def lost(self):
        return bool(self.reasons)


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """A `Recorder` that can do with half a connection."""

    def readConnectionLost(self):
        self.calls.append("read lost")

    def writeConnectionLost(self):
        self.calls.append("write lost")


class RecordingFactory(Factory):
    """Keeps the protocols it builds, and how often it was started."""

    noisy = False

    def __init__(self, build=Recorder):
        self.build = build
        self.built = []
        self.started = 0

    def startFactory(self):
        self.started += 1

    def stopFactory(self):
        self.started -= 1

    def buildProtocol(self, addr):
        protocol = self.build()
        if protocol is not None:
            self.built.append(protocol)
        return protocol


@implementer(IPushProducer)
class CountingProducer:
    """Counts what a consumer asks of it."""

    def __init__(self, transport=None):
        self.transport = transport
        self.pauses = self.resumes = self.stops = 0
        self.unsent_at_resume = []

    @property
    def paused(self):
        return self.pauses > self.resumes

    def pauseProducing(self):
        self.pauses += 1

    def resumeProducing(self):
        self.resumes += 1
        if self.transport is not None:
            self.unsent_at_resume.append(self.transport.unsent)

    def stopProducing(self):
        self.stops += 1


class PullProducer:
    """Writes one piece whenever it is asked, then finishes."""

    def __init__(self, transport, pieces):
        self.transport = transport
        self.pieces = list(pieces)
        self.stops = 0

    def resumeProducing(self):
        if self.pieces:
            self.transport.write(self.pieces.pop(0))
        else:
            self.transport.unregisterProducer()

    def stopProducing(self):
        self.stops += 1


class NetworkContract(Case):
    """The tests; each opens what it needs on the loopback address.

    Attributes:
        network: the `INetwork` under test.
        address: where to listen and connect to.
    """

    network: Any
    address = "127.0.0.1"
    gathered = False
    server_tls: Any = None
    client_tls: Any = None

    async def until(self, condition):
        """Let things happen until `condition()` is true; fail if it stays false."""
        raise NotImplementedError

    async def settle(self):
        """Let happen what can happen."""
        raise NotImplementedError

    # tools

    def listen(self, factory, address=None):
        listening = self.network.listen(
            self.address if address is None else address,
            0,
            factory,
            gathered=self.gathered,
            tls=self.server_tls,
        )
        self.addCleanup(listening.stopListening)
        return listening

    def connect(self, listening, factory, timeout_seconds=5.0):
        return self.network.connect(
            self.address,
            listening.getHost().port,
            factory,
            timeout_seconds,
            gathered=self.gathered,
            tls=self.client_tls,
        )

    async def pair(self, client=Recorder, server=Recorder):
        """Return two connected protocols."""
        accepting = RecordingFactory(server)
        listening = self.listen(accepting)
        listening.startAccepting()
        near = await self.connect(listening, RecordingFactory(client))
        await self.until(lambda: accepting.built)
        far = accepting.built[0]
        await self.until(lambda: far.transport is not None)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.end(near, far)))
        return near, far

    async def end(self, *protocols):
        for protocol in protocols:
            protocol.transport.abortConnection()
        await self.until(lambda: all(protocol.lost for protocol in protocols))

    async def write_until_paused(self, transport, producer):
        """Write until the producer is paused; return what was written."""
        written = bytearray()
        chunk = 0
        while not producer.paused:
            data = chunk.to_bytes(4, "big") * (CHUNK // 4)
            transport.write(data)
            written += data
            chunk += 1
            if chunk % 16 == 0:
                await self.settle()
            self.assertLess(chunk, 2000, "the producer is never paused")
        return bytes(written)

    # shape

    async def test_the_parts_provide_their_interfaces(self):
        near, far = await self.pair()
        verifyObject(INetwork, self.network)
        for protocol in (near, far):
            verifyObject(IByteTransport, protocol.transport)
            verifyObject(IPushProducer, protocol.transport)
        verifyObject(IListening, self.listen(RecordingFactory()))

    async def test_each_end_knows_both_addresses(self):
        near, far = await self.pair()
        self.assertEqual(near.transport.getHost(), far.transport.getPeer())
        self.assertEqual(near.transport.getPeer(), far.transport.getHost())

    async def test_small_writes_are_not_delayed_and_dead_peers_are_looked_for(self):
        for protocol in await self.pair():
            self.assertTrue(protocol.transport.getTcpNoDelay())
            self.assertTrue(protocol.transport.getTcpKeepAlive())
            protocol.transport.setTcpNoDelay(False)
            protocol.transport.setTcpKeepAlive(False)
            self.assertFalse(protocol.transport.getTcpNoDelay())
            self.assertFalse(protocol.transport.getTcpKeepAlive())

    # bytes

    async def test_bytes_arrive_in_order_and_whole(self):
        near, far = await self.pair()
        chance = random.Random(1)
        sent = {near: bytearray(), far: bytearray()}
        for _ in range(300):
            protocol = chance.choice((near, far))
            data = chance.randbytes(chance.choice((1, 10, 1000, 70000)))
            sent[protocol] += data
            if chance.random() < 0.5:
                protocol.transport.write(data)
            else:
                cut = chance.randrange(len(data))
                protocol.transport.writeSequence([data[:cut], b"", data[cut:]])
            if chance.random() < 0.1:
                await self.settle()
        await self.until(lambda: len(far.received) == len(sent[near]))
        await self.until(lambda: len(near.received) == len(sent[far]))
        self.assertEqual(far.received, sent[near])
        self.assertEqual(near.received, sent[far])
        self.assertEqual((near.transport.unsent, far.transport.unsent), (0, 0))

    async def test_an_echo_with_slow_readers_is_exact(self):
        near, far = await self.pair()
        chance = random.Random(2)
        far.transport.registerProducer(far.transport, True)
        far.on_data = far.transport.write
        near.on_data = lambda data: near.transport.pauseProducing()
        sent = chance.randbytes(3_000_000)
        for start in range(0, len(sent), 100_000):
            near.transport.write(sent[start : start + 100_000])
        while len(near.received) < len(sent):
            before = len(near.received)
            near.transport.resumeProducing()
            await self.until(lambda before=before: len(near.received) > before)
        self.assertEqual(near.received, sent)
        far.transport.unregisterProducer()

    async def test_a_view_may_change_after_it_was_written(self):
        near, far = await self.pair()
        far.transport.pauseProducing()
        expected = bytearray()
        buffer = bytearray(CHUNK)
        for number in range(200):
            buffer[:] = bytes((number,)) * CHUNK
            expected += buffer
            with memoryview(buffer) as view:
                near.transport.write(view[:1000])
                near.transport.writeSequence([view[1000:2000], view[2000:]])
        buffer[:] = b"!" * CHUNK
        far.transport.resumeProducing()
        await self.until(lambda: len(far.received) == len(expected))
        self.assertEqual(far.received, expected)

    async def test_an_empty_write_does_nothing(self):
        near, far = await self.pair()
        near.transport.write(b"")
        near.transport.writeSequence([])
        near.transport.writeSequence([b"", b""])
        await self.settle()
        self.assertEqual(far.calls, ["made"])

    async def test_text_is_refused(self):
        near, _far = await self.pair()
        self.assertRaises(TypeError, near.transport.write, "text")

    # pausing

    async def test_a_paused_transport_delivers_nothing_until_resumed(self):
        near, far = await self.pair()
        far.transport.pauseProducing()
        far.transport.pauseProducing()
        near.transport.write(b"waits")
        await self.settle()
        self.assertEqual(far.received, b"")
        far.transport.resumeProducing()
        far.transport.resumeProducing()
        await self.until(lambda: far.received == b"waits")

    async def test_pausing_while_data_arrives_stops_further_data(self):
        near, far = await self.pair()
        far.on_data = lambda data: far.transport.pauseProducing()
        near.transport.write(b"x" * 1_000_000)
        await self.until(lambda: far.received)
        await self.settle()
        self.assertEqual(far.calls, ["made", "data"])
        far.on_data = lambda data: None
        far.transport.resumeProducing()
        await self.until(lambda: len(far.received) == 1_000_000)

    async def test_pausing_and_resuming_while_data_arrives_changes_nothing(self):
        near, far = await self.pair()

        def flicker(data):
            far.transport.pauseProducing()
            far.transport.resumeProducing()

        far.on_data = flicker
        near.transport.write(b"x" * 1_000_000)
        await self.until(lambda: len(far.received) == 1_000_000)

    async def test_a_protocol_may_start_paused(self):
        class Paused(Recorder):
            def connectionMade(self):
                super().connectionMade()
                self.transport.pauseProducing()

        near, far = await self.pair(server=Paused)
        near.transport.write(b"waits")
        await self.settle()
        self.assertEqual(far.calls, ["made"])
        far.transport.resumeProducing()
        await self.until(lambda: far.received == b"waits")

    # producers

    async def test_a_producer_is_paused_above_the_mark_and_resumed_when_sent(self):
        near, far = await self.pair()
        far.transport.pauseProducing()
        producer = CountingProducer(near.transport)
        near.transport.registerProducer(producer, True)
        written = await self.write_until_paused(near.transport, producer)
        self.assertGreater(near.transport.unsent, near.transport.pause_mark)
        near.transport.write(b"more")
        self.assertEqual(producer.pauses, 1)
        far.transport.resumeProducing()
        await self.until(lambda: producer.resumes)
        self.assertEqual(producer.unsent_at_resume, [0])
        await self.until(lambda: len(far.received) == len(written) + 4)
        self.assertEqual(far.received, written + b"more")
        self.assertEqual((producer.pauses, producer.resumes), (1, 1))
        near.transport.unregisterProducer()

    async def test_the_marks_can_be_set(self):
        near, far = await self.pair()
        far.transport.pauseProducing()
        near.transport.pause_mark, near.transport.resume_mark = 2_000_000, 1_000_000
        producer = CountingProducer(near.transport)
        near.transport.registerProducer(producer, True)
        written = await self.write_until_paused(near.transport, producer)
        self.assertGreater(near.transport.unsent, 2_000_000)
        far.transport.resumeProducing()
        await self.until(lambda: producer.resumes)
        self.assertLessEqual(producer.unsent_at_resume[0], 1_000_000)
        await self.until(lambda: far.received == written)
        near.transport.unregisterProducer()

    async def test_a_producer_registered_above_the_mark_is_paused(self):
        near, far = await self.pair()
        far.transport.pauseProducing()
        near.transport.pause_mark = 100
        producer = CountingProducer()
        near.transport.registerProducer(producer, True)
        await self.write_until_paused(near.transport, producer)
        near.transport.unregisterProducer()
        second = CountingProducer()
        near.transport.registerProducer(second, True)
        self.assertTrue(second.paused)
        near.transport.unregisterProducer()

    async def test_a_second_producer_is_refused(self):
        near, _far = await self.pair()
        near.transport.registerProducer(CountingProducer(), True)
        with self.assertRaises(RuntimeError):
            near.transport.registerProducer(CountingProducer(), True)
        near.transport.unregisterProducer()
        near.transport.registerProducer(CountingProducer(), True)
        near.transport.unregisterProducer()

    async def test_a_pull_producer_is_asked_until_it_is_done(self):
        near, far = await self.pair()
        pieces = [bytes((number,)) * 50_000 for number in range(50)]
        near.transport.registerProducer(PullProducer(near.transport, pieces), False)
        near.transport.loseConnection()
        await self.until(lambda: far.lost)
        self.assertEqual(far.received, b"".join(pieces))

    async def test_a_producer_is_stopped_when_the_connection_is_lost(self):
        near, far = await self.pair()
        producer = CountingProducer()
        near.transport.registerProducer(producer, True)
        far.transport.abortConnection()
        await self.until(lambda: near.lost)
        self.assertEqual(producer.stops, 1)
        late = CountingProducer()
        near.transport.registerProducer(late, True)
        self.assertEqual(late.stops, 1)

    async def test_a_registered_producer_delays_the_close(self):
        near, far = await self.pair()
        near.transport.registerProducer(CountingProducer(), True)
        near.transport.loseConnection()
        await self.settle()
        self.assertFalse(near.lost)
        near.transport.write(b"last")
        near.transport.unregisterProducer()
        near.transport.write(b"too late")
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual(far.received, b"last")

    # endings

    async def test_closing_flushes_first(self):
        near, far = await self.pair()
        far.transport.pauseProducing()
        near.transport.write(b"x" * 8_000_000)
        near.transport.loseConnection()
        near.transport.loseConnection()
        self.assertTrue(near.transport.disconnecting)
        await self.settle()
        self.assertFalse(near.lost)
        far.transport.resumeProducing()
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual(len(far.received), 8_000_000)
        near.reasons[0].trap(ConnectionDone)
        far.reasons[0].trap(ConnectionDone)

    async def test_writes_after_closing_are_dropped(self):
        near, far = await self.pair()
        near.transport.write(b"before")
        near.transport.loseConnection()
        near.transport.write(b"after")
        near.transport.writeSequence([b"af", b"ter"])
        await self.until(lambda: near.lost and far.lost)
        near.transport.write(b"long after")
        near.transport.writeSequence([b"long", b"after"])
        self.assertEqual(near.transport.unsent, 0)
        self.assertEqual(far.received, b"before")

    async def test_nothing_is_received_after_closing(self):
        near, far = await self.pair()
        near.transport.loseConnection()
        far.transport.write(b"unheard")
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual(near.received, b"")

    async def test_closing_never_calls_back_at_once(self):
        for how in ("loseConnection", "abortConnection"):
            near, far = await self.pair()
            getattr(near.transport, how)()
            self.assertFalse(near.lost, msg=how)
            await self.until(lambda near=near, far=far: near.lost and far.lost)

    async def test_the_loss_is_told_once(self):
        near, far = await self.pair()
        near.transport.abortConnection()
        near.transport.abortConnection()
        near.transport.loseConnection()
        far.transport.write(b"x")
        await self.until(lambda: near.lost and far.lost)
        await self.settle()
        self.assertEqual((len(near.reasons), len(far.reasons)), (1, 1))
        self.assertTrue(near.transport.disconnected)
        self.assertFalse(near.transport.connected)

    async def test_an_abort_is_a_reset_and_drops_what_is_unsent(self):
        near, far = await self.pair()
        far.transport.pauseProducing()
        near.transport.write(b"x" * 8_000_000)
        near.transport.abortConnection()
        self.assertEqual(near.transport.unsent, 0)
        await self.until(lambda: near.lost and far.lost)
        near.reasons[0].trap(ConnectionAborted)
        far.reasons[0].trap(ConnectionLost)
        self.assertLess(len(far.received), 8_000_000)

    async def test_a_reset_is_noticed_while_paused(self):
        near, far = await self.pair(client=HalfRecorder)
        near.transport.pauseProducing()
        await self.settle()
        far.transport.abortConnection()
        await self.until(lambda: near.lost)
        near.reasons[0].trap(ConnectionLost)

    async def test_a_finish_is_not_noticed_while_paused(self):
        near, far = await self.pair()
        near.transport.pauseProducing()
        far.transport.write(b"last words")
        far.transport.loseConnection()
        await self.until(lambda: far.lost)
        await self.settle()
        self.assertEqual(near.calls, ["made"])
        near.transport.resumeProducing()
        await self.until(lambda: near.lost)
        self.assertEqual(near.received, b"last words")
        near.reasons[0].trap(ConnectionDone)

    async def test_what_came_before_both_finished_is_delivered_when_resumed(self):
        near, far = await self.pair(client=HalfRecorder, server=HalfRecorder)
        near.transport.pauseProducing()
        near.transport.loseWriteConnection()
        await self.until(lambda: "read lost" in far.calls)
        far.transport.write(b"answer")
        far.transport.loseWriteConnection()
        await self.until(lambda: far.lost)
        await self.settle()
        self.assertEqual(near.received, b"")
        self.assertFalse(near.lost)
        near.transport.resumeProducing()
        await self.until(lambda: near.lost)
        self.assertEqual(near.received, b"answer")
        self.assertEqual(
            near.calls, ["made", "write lost", "data", "read lost", "lost"]
        )
        near.reasons[0].trap(ConnectionDone)

    async def test_half_a_connection_still_carries_the_other_way(self):
        near, far = await self.pair(client=HalfRecorder, server=HalfRecorder)
        near.transport.write(b"question")
        near.transport.loseWriteConnection()
        near.transport.write(b"dropped")
        await self.until(lambda: "read lost" in far.calls)
        self.assertEqual(far.received, b"question")
        await self.settle()
        self.assertFalse(near.lost or far.lost)
        far.transport.write(b"answer")
        far.transport.loseConnection()
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual(near.received, b"answer")
        self.assertEqual(far.calls, ["made", "data", "read lost", "lost"])
        for protocol in (near, far):
            protocol.reasons[0].trap(ConnectionDone)

    async def test_the_half_close_flushes_first(self):
        near, far = await self.pair(client=HalfRecorder, server=HalfRecorder)
        far.transport.pauseProducing()
        near.transport.write(b"x" * 8_000_000)
        near.transport.loseWriteConnection()
        near.transport.loseWriteConnection()
        await self.settle()
        self.assertNotIn("write lost", near.calls)
        far.transport.resumeProducing()
        await self.until(lambda: "read lost" in far.calls)
        self.assertEqual(len(far.received), 8_000_000)
        self.assertEqual(near.calls, ["made", "write lost"])

    async def test_a_connection_without_either_direction_is_over(self):
        near, far = await self.pair(client=HalfRecorder, server=HalfRecorder)
        near.transport.loseWriteConnection()
        await self.until(lambda: "read lost" in far.calls)
        far.transport.loseWriteConnection()
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual(near.calls, ["made", "write lost", "read lost", "lost"])
        self.assertEqual(far.calls, ["made", "read lost", "write lost", "lost"])
        for protocol in (near, far):
            protocol.reasons[0].trap(ConnectionDone)

    async def test_the_finish_ends_a_protocol_that_knows_no_halves(self):
        near, far = await self.pair(client=HalfRecorder)
        near.transport.loseWriteConnection()
        await self.until(lambda: near.lost and far.lost)
        far.reasons[0].trap(ConnectionDone)

    async def test_a_write_to_a_lost_peer_is_told_later(self):
        near, far = await self.pair()
        near.transport.pauseProducing()
        far.transport.abortConnection()
        await self.until(lambda: far.lost)
        for _ in range(3):
            was_lost = near.lost
            near.transport.write(b"x" * 1000)
            self.assertEqual(near.lost, was_lost)
        await self.until(lambda: near.lost)
        near.reasons[0].trap(ConnectionLost)

    async def test_a_lost_protocol_may_use_its_transport(self):
        near, far = await self.pair()
        transport = near.transport

        def linger():
            transport.write(b"x")
            transport.writeSequence([b"x"])
            transport.pauseProducing()
            transport.resumeProducing()
            transport.loseWriteConnection()
            transport.loseConnection()
            transport.abortConnection()
            transport.unregisterProducer()
            transport.getPeer()

        near.on_lost = linger
        far.transport.abortConnection()
        await self.until(lambda: near.lost)
        linger()
        self.assertEqual(transport.unsent, 0)

    # bugs of a protocol

    async def test_a_failing_protocol_loses_its_own_connection_only(self):
        first, far_of_first = await self.pair()
        second, far_of_second = await self.pair()

        def fail(data):
            raise ZeroDivisionError

        far_of_first.on_data = fail
        first.transport.write(b"x")
        await self.until(lambda: first.lost and far_of_first.lost)
        far_of_first.reasons[0].trap(ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        second.transport.write(b"x")
        await self.until(lambda: far_of_second.received == b"x")

    async def test_a_protocol_that_fails_to_start_loses_its_connection(self):
        class Failing(Recorder):
            def connectionMade(self):
                raise ZeroDivisionError

        near, far = await self.pair(server=Failing)
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_protocol_that_fails_at_its_end_is_lost_all_the_same(self):
        near, far = await self.pair()

        def fail():
            raise ZeroDivisionError

        near.on_lost = fail
        far.transport.loseConnection()
        await self.until(lambda: near.lost and far.lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_protocol_that_fails_at_a_half_close_is_lost(self):
        for failing, closing in (("read", "far"), ("write", "near")):
            near, far = await self.pair(client=HalfRecorder, server=HalfRecorder)

            def fail():
                raise ZeroDivisionError

            setattr(near, f"{failing}ConnectionLost", fail)
            {"near": near, "far": far}[closing].transport.loseWriteConnection()
            await self.until(lambda near=near: near.lost)
            near.reasons[0].trap(ZeroDivisionError)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    # listening and connecting

    async def test_connections_wait_until_they_are_accepted(self):
        factory = RecordingFactory()
        listening = self.listen(factory)
        near = await self.connect(listening, RecordingFactory())
        near.transport.write(b"early")
        await self.settle()
        self.assertEqual((factory.built, factory.started), ([], 0))
        listening.startAccepting()
        listening.startAccepting()
        await self.until(lambda: factory.built and factory.built[0].received)
        self.assertEqual(factory.built[0].received, b"early")
        self.assertEqual(factory.started, 1)
        await self.end(near, factory.built[0])

    async def test_a_stopped_port_is_free_and_its_connections_live_on(self):
        factory = RecordingFactory()
        listening = self.listen(factory)
        listening.startAccepting()
        near = await self.connect(listening, RecordingFactory())
        await self.until(lambda: factory.built)
        listening.stopListening()
        listening.stopListening()
        self.assertEqual(factory.started, 0)
        port = listening.getHost().port
        with self.assertRaises(ConnectionRefusedError):
            await self.connect(listening, RecordingFactory())
        near.transport.write(b"alive")
        await self.until(lambda: factory.built[0].received == b"alive")
        again = self.network.listen(self.address, port, RecordingFactory())
        again.stopListening()
        await self.end(near, factory.built[0])

    async def test_a_port_that_is_taken_cannot_be_listened_on(self):
        listening = self.listen(RecordingFactory())
        with self.assertRaises(OSError):
            self.network.listen(
                self.address, listening.getHost().port, RecordingFactory()
            )

    async def test_a_connection_without_protocol_is_reset(self):
        listening = self.listen(RecordingFactory(lambda: None))
        listening.startAccepting()
        try:
            near = await self.connect(listening, RecordingFactory())
        except ConnectionResetError:
            return  # the reset was as fast as the connection
        await self.until(lambda: near.lost)
        near.reasons[0].trap(ConnectionLost)

    async def test_a_connection_attempt_without_protocol_fails(self):
        listening = self.listen(RecordingFactory())
        listening.startAccepting()
        with self.assertRaises(OSError):
            await self.connect(listening, RecordingFactory(lambda: None))

    async def test_a_refused_connection_says_so(self):
        listening = self.listen(RecordingFactory())
        listening.stopListening()
        with self.assertRaises(ConnectionRefusedError):
            await self.connect(listening, RecordingFactory())

    async def test_a_cancelled_attempt_builds_nothing(self):
        listening = self.listen(RecordingFactory())
        factory = RecordingFactory()
        attempt = self.connect(listening, factory)
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)
        await self.settle()
        self.assertEqual(factory.built, [])

    async def test_an_established_connection_outlives_its_timeout(self):
        listening = self.listen(RecordingFactory())
        listening.startAccepting()
        near = await self.connect(listening, RecordingFactory(), 0.05)
        await self.settle()
        await self.settle()
        self.assertFalse(near.lost)
        await self.end(near)

    async def test_a_literal_address_resolves_to_itself(self):
        for literal in ("127.0.0.1", "::1", "10.1.2.3"):
            found = await self.network.resolve(literal)
            self.assertEqual(found, [literal])

    def attempt(self, listening, factory, timeout_seconds=5.0):
        """Begin to connect; returns the attempt and its faults to come."""
        faults: list[Any] = []
        attempt = self.network.attempt(
            self.address,
            listening.getHost().port,
            factory,
            timeout_seconds,
            lambda failure: faults.append(failure.value),
        )
        return attempt, faults

    async def test_where_a_connection_comes_from_is_known_at_once(self):
        accepting = RecordingFactory()
        listening = self.network.listen(self.address, 0, accepting)
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        port = listening.getHost().port
        begun: list[Any] = []

        def dialled(*told):
            begun.append(told)

        outcome = self.network.connect(
            self.address, port, RecordingFactory(), 5.0, dialled=dialled
        )
        attempt = self.network.attempt(
            self.address, port, RecordingFactory(), 5.0, begun.append, dialled
        )
        self.assertEqual((len(begun), len(accepting.built)), (2, 0))
        await self.until(lambda: len(accepting.built) == 2)
        seen = [one.transport.getPeer() for one in accepting.built]
        self.assertEqual(
            {(one.host, one.port, self.address) for one in seen},
            {told[:3] for told in begun},
        )
        outcome.cancel()
        attempt.cancel()
        for one in accepting.built:
            one.transport.abortConnection()
        await self.settle()

    async def test_an_attempt_tells_the_protocol_alone(self):
        listening = self.listen(RecordingFactory())
        listening.startAccepting()
        factory = RecordingFactory()
        _, faults = self.attempt(listening, factory)
        await self.until(lambda: factory.built and factory.built[0].transport)
        factory.built[0].transport.abortConnection()
        await self.until(lambda: factory.built[0].lost)
        self.assertEqual(faults, [])

    async def test_an_attempt_that_is_refused_says_so_once(self):
        listening = self.listen(RecordingFactory())
        listening.stopListening()
        _, faults = self.attempt(listening, RecordingFactory())
        await self.until(lambda: faults)
        await self.settle()
        self.assertEqual([type(fault) for fault in faults], [ConnectionRefusedError])

    async def test_an_attempt_that_is_given_up_tells_nobody(self):
        accepting, factory = RecordingFactory(), RecordingFactory()
        listening = self.listen(accepting)
        listening.startAccepting()
        attempt, faults = self.attempt(listening, factory)
        attempt.cancel()
        await self.settle()
        self.assertEqual((factory.built, faults), ([], []))
