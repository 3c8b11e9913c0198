"""A visitor and its target, joined in one process."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocolFactory,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gateway.errors import RefusedError
from gateway.interfaces import ISplicing
from gateway.relay.linger import PROGRESS_SECONDS, Linger
from gateway.relay.pair import FINISHED
from gateway.relay.visitor import LEFT_EARLY
from tests.relay.fakes import FakeNetwork, SocketTransport
from tests.relay.paired import PairedVisitor


class Pair:
    """A visitor that waits for its target."""

    def __init__(self, near=None):
        self.clock = Clock()
        self.linger = Linger(self.clock)
        self.network = FakeNetwork()
        self.joined = 0
        self.reasons: list[str] = []
        self.visitor = PairedVisitor(
            self.dial, self.linger, self.count_joined, self.reasons.append
        )
        self.near = near or SocketTransport()
        self.near.start(self.visitor)

    def dial(self, factory, failed):
        self.factory = factory
        self.dialling = self.network.attempt("10.0.0.1", 80, factory, 5.0, failed)
        return self.dialling

    def count_joined(self):
        self.joined += 1

    def reach(self):
        """Let the target answer; returns the transport to it."""
        self.far = self.network.attempts[0].succeed()
        return self.far

    def pump(self):
        for _ in range(4):
            self.near.pump()
            self.far.pump()


class PairCase(SynchronousTestCase):
    """One pair."""

    def setUp(self):
        self.pair = Pair()
        self.near = self.pair.near

    def assert_ended(self, reason):
        """Nothing is left, and the end was told once."""
        self.assertEqual(self.pair.reasons, [reason])
        self.assertIsNotNone(self.near.lost)


@implementer(ISplicing)
class SplicingTransport(SocketTransport):
    """Remembers where its bytes may go."""

    def splice_to(self, sink, tally):
        self.sink = sink
        self.tally = tally


class SplicingTests(SynchronousTestCase):
    """Transports that can do without the pair."""

    def setUp(self):
        self.pair = Pair(SplicingTransport())
        self.near: Any = self.pair.near

    def test_a_side_that_splices_is_shown_the_other_one(self):
        far = self.pair.reach()
        self.assertIs(self.near.sink, far)

    def test_a_visitor_that_waits_is_not_spliced(self):
        self.assertFalse(hasattr(self.near, "sink"))

    def test_what_is_spliced_is_counted(self):
        far: Any = SplicingTransport()
        far.start(self.pair.factory.buildProtocol(None))
        far.protocol.dataReceived(b"abc")
        far.tally(1000)
        self.near.tally(50)
        self.assertEqual(
            (self.pair.visitor.sent, self.pair.visitor.received), (50, 1003)
        )


class WaitingTests(PairCase):
    """Before the target is reached."""

    def test_interfaces(self):
        verifyObject(IHalfCloseableProtocol, self.pair.visitor)
        verifyObject(IProtocolFactory, self.pair.factory)
        far = self.pair.reach()
        verifyObject(IHalfCloseableProtocol, far.protocol)
        self.pair.factory.doStart()
        self.pair.factory.doStop()

    def test_the_visitor_is_not_read(self):
        self.assertTrue(self.near.paused)
        self.near.peer_sends(b"early")
        self.assertEqual((self.pair.joined, self.pair.visitor.sent), (0, 0))

    def test_what_it_said_early_follows(self):
        self.near.peer_sends(b"early")
        self.near.peer_finishes()
        far = self.pair.reach()
        self.near.pump()
        self.assertEqual(far.value(), b"early")
        self.assertTrue(far.half_closed)
        self.assertEqual(self.pair.joined, 1)

    def test_an_unreachable_target_resets_the_visitor(self):
        self.pair.network.attempts[0].fail(RefusedError("host:80: refused"))
        self.assertTrue(self.near.aborted)
        self.assertEqual(self.pair.reasons, [])
        self.near.pump()
        self.assert_ended("host:80: refused")
        self.assertEqual(self.pair.joined, 0)

    def test_a_target_that_is_refused_at_once_resets_the_visitor(self):
        def refuse(_factory, failed) -> Any:
            failed(Failure(RefusedError("denied")))

        visitor = PairedVisitor(
            refuse, self.pair.linger, self.pair.count_joined, self.pair.reasons.append
        )
        near = SocketTransport()
        near.start(visitor)
        near.pump()
        self.assertIsInstance(near.lost, ConnectionAborted)
        self.assertEqual(self.pair.reasons, ["denied"])

    def test_a_bug_of_the_dialler_resets_the_visitor_and_is_logged(self):
        self.pair.network.attempts[0].fail(ZeroDivisionError())
        self.near.pump()
        self.assert_ended("internal error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_visitor_that_resets_cancels_the_dial(self):
        self.near.peer_resets()
        self.assertTrue(self.pair.network.attempts[0].cancelled)
        self.assert_ended(LEFT_EARLY)

    def test_closing_resets_the_visitor_and_cancels_the_dial(self):
        self.pair.visitor.close("mapping removed")
        self.assertTrue(self.pair.network.attempts[0].cancelled)
        self.near.pump()
        self.assertIsInstance(self.near.lost, ConnectionAborted)
        self.assert_ended("mapping removed")

    def test_a_target_that_answers_at_once_is_joined(self):
        network = FakeNetwork()

        def reach(factory, failed):
            attempt = network.attempt("10.0.0.1", 80, factory, 5.0, failed)
            self.far = network.attempts[0].succeed()
            return attempt

        visitor = PairedVisitor(
            reach, self.pair.linger, self.pair.count_joined, self.pair.reasons.append
        )
        near = SocketTransport()
        near.start(visitor)
        near.peer_sends(b"x")
        self.assertEqual((self.far.value(), self.pair.joined), (b"x", 1))
        near.peer_resets()
        self.far.pump()
        self.assertEqual(self.pair.reasons, ["the connection of the visitor broke"])


class JoinedCase(PairCase):
    """A pair that is joined."""

    def setUp(self):
        super().setUp()
        self.far = self.pair.reach()

    def assert_ended(self, reason):
        super().assert_ended(reason)
        self.assertIsNotNone(self.far.lost)


class BytesTests(JoinedCase):
    """Bytes in both directions."""

    def test_both_ways_and_counted(self):
        self.near.peer_sends(b"question")
        self.far.peer_sends(b"an", b"swer")
        self.assertEqual(self.far.value(), b"question")
        self.assertEqual(self.near.value(), b"answer")
        self.assertEqual((self.pair.visitor.sent, self.pair.visitor.received), (8, 6))

    def test_a_slow_target_pauses_the_visitor(self):
        self.far.pause_mark = 10
        self.near.peer_sends(b"x" * 11, b"y" * 5)
        self.assertTrue(self.near.paused)
        self.assertEqual(len(self.far.value()), 11)
        self.far.peer_reads()
        self.assertFalse(self.near.paused)
        self.near.pump()
        self.assertEqual(len(self.far.value()), 16)

    def test_a_slow_visitor_pauses_the_target(self):
        self.near.pause_mark = 10
        self.far.peer_sends(b"x" * 11, b"y" * 5)
        self.assertTrue(self.far.paused)
        self.assertFalse(self.near.paused)
        self.near.peer_reads()
        self.assertFalse(self.far.paused)

    @given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1)), max_size=30))
    def test_every_byte_in_order(self, chunks):
        """Whatever the sizes and the marks, nothing is lost, doubled or turned."""
        pair = Pair()
        far = pair.reach()
        for transport in (pair.near, far):
            transport.pause_mark = 8
        sent = {True: b"", False: b""}
        for from_visitor, chunk in chunks:
            sent[from_visitor] += chunk
            (pair.near if from_visitor else far).peer_sends(chunk)
        pair.near.peer_finishes()
        far.peer_finishes()
        for _ in range(2 * len(chunks) + 4):
            pair.near.peer_reads()
            far.peer_reads()
        self.assertEqual((far.value(), pair.near.value()), (sent[True], sent[False]))
        self.assertEqual(pair.reasons, [FINISHED])
        pair.clock.advance(PROGRESS_SECONDS)
        self.assertEqual(pair.clock.getDelayedCalls(), [])


class HalfCloseTests(JoinedCase):
    """One direction ends before the other."""

    def test_the_end_of_the_question_lets_the_answer_come(self):
        self.near.peer_sends(b"question")
        self.near.peer_finishes()
        self.assertTrue(self.far.half_closed)
        self.assertFalse(self.near.half_closed)
        self.far.peer_reads()
        self.far.peer_sends(b"answer")
        self.far.peer_finishes()
        self.near.peer_reads()
        self.pair.pump()
        self.assertEqual(self.near.value(), b"answer")
        self.assertIsInstance(self.near.lost, ConnectionDone)
        self.assertIsInstance(self.far.lost, ConnectionDone)
        self.assert_ended(FINISHED)

    def test_the_target_may_finish_first(self):
        self.far.peer_sends(b"greeting")
        self.far.peer_finishes()
        self.near.peer_reads()
        self.assertTrue(self.near.half_closed)
        self.near.peer_sends(b"thanks")
        self.assertEqual(self.far.value(), b"thanks")
        self.near.peer_finishes()
        self.far.peer_reads()
        self.pair.pump()
        self.assert_ended(FINISHED)

    def test_a_half_closed_pair_may_be_silent_for_long(self):
        self.near.peer_sends(b"question")
        self.near.peer_finishes()
        self.pair.clock.advance(3600)
        self.assertEqual(self.pair.reasons, [])
        self.assertEqual((self.near.lost, self.far.lost), (None, None))

    def test_an_end_of_a_side_that_is_let_go_is_no_fault(self):
        self.far.peer_sends(b"last")
        self.far.lost = ConnectionDone()
        self.far.protocol.connectionLost(Failure(ConnectionDone()))
        self.pair.visitor.readConnectionLost()
        self.near.peer_reads()
        self.assert_ended(FINISHED)


class LossTests(JoinedCase):
    """One side is lost."""

    def test_a_reset_of_the_visitor_reaches_the_target(self):
        self.near.peer_sends(b"x")
        self.near.peer_resets()
        self.assertTrue(self.far.aborted)
        self.far.pump()
        self.assert_ended("the connection of the visitor broke")

    def test_a_reset_of_the_target_reaches_the_visitor(self):
        self.far.peer_resets()
        self.assertTrue(self.near.aborted)
        self.near.pump()
        self.assert_ended("the connection of the target broke")

    def test_a_clean_loss_lets_the_other_side_take_its_last_bytes(self):
        self.far.peer_sends(b"last words")
        self.far.lost = ConnectionDone()
        self.far.protocol.connectionLost(Failure(ConnectionDone()))
        self.near.pump()
        self.assertIsNone(self.near.lost)
        self.near.peer_reads()
        self.assertIsInstance(self.near.lost, ConnectionDone)
        self.assert_ended(FINISHED)

    def test_losing_without_a_reason_is_clean(self):
        self.far.lost = ConnectionDone()
        self.far.protocol.connectionLost()
        self.near.pump()
        self.assertIsInstance(self.near.lost, ConnectionDone)

    def test_a_reader_that_stopped_reading_is_reset_after_its_peer_has_gone(self):
        self.far.peer_sends(b"never read")
        self.far.peer_finishes()
        self.near.peer_finishes()
        self.pair.pump()
        self.assertIsInstance(self.far.lost, ConnectionDone)
        self.assertIsNone(self.near.lost)
        self.pair.clock.advance(PROGRESS_SECONDS)
        self.near.pump()
        self.assertIsInstance(self.near.lost, ConnectionAborted)
        self.assert_ended("the connection of the visitor broke")
        self.assertEqual(self.pair.clock.getDelayedCalls(), [])

    def test_so_it_is_when_the_reader_was_the_first_to_finish(self):
        self.near.peer_finishes()
        self.far.peer_sends(b"never read")
        self.far.peer_finishes()
        self.far.pump()
        self.assertIsInstance(self.far.lost, ConnectionDone)
        self.pair.clock.advance(PROGRESS_SECONDS)
        self.near.pump()
        self.assert_ended("the connection of the visitor broke")

    def test_a_reader_that_is_slow_is_waited_for(self):
        self.far.peer_sends(b"x" * 100)
        self.far.peer_finishes()
        self.near.peer_finishes()
        self.pair.pump()
        for _ in range(10):
            self.assertIsNone(self.near.lost)
            self.near.peer_reads(10)
            self.pair.clock.advance(PROGRESS_SECONDS)
        self.assertIsInstance(self.near.lost, ConnectionDone)
        self.assert_ended(FINISHED)

    def test_a_side_that_breaks_while_it_takes_its_last_bytes_ends_it_once(self):
        self.far.peer_sends(b"never read")
        self.far.peer_finishes()
        self.near.peer_finishes()
        self.pair.pump()
        self.near.peer_resets()
        self.assert_ended("the connection of the visitor broke")


class CloseTests(JoinedCase):
    """Owners end it."""

    def test_closing_delivers_what_was_taken(self):
        self.near.peer_sends(b"to the target")
        self.far.peer_sends(b"to the visitor")
        self.pair.visitor.close("mapping removed")
        self.near.peer_sends(b"too late")
        self.pair.pump()
        self.assertEqual((self.near.lost, self.far.lost), (None, None))
        self.far.peer_reads()
        self.near.peer_reads()
        self.assertIsInstance(self.near.lost, ConnectionDone)
        self.assertEqual(self.far.value(), b"to the target")
        self.assert_ended("mapping removed")

    def test_closing_twice_is_closing_once(self):
        self.far.peer_sends(b"bytes")
        self.pair.visitor.close("mapping removed")
        self.pair.visitor.close("again")
        self.assertFalse(self.near.aborted)
        self.near.peer_reads()
        self.far.pump()
        self.assert_ended("mapping removed")

    def test_closing_waits_for_progress_only(self):
        self.near.peer_sends(b"never read")
        self.far.peer_sends(b"never read")
        self.pair.visitor.close("mapping removed")
        self.pair.clock.advance(PROGRESS_SECONDS)
        self.pair.pump()
        self.assertIsInstance(self.near.lost, ConnectionAborted)
        self.assertIsInstance(self.far.lost, ConnectionAborted)
        self.assert_ended("mapping removed")
        self.assertEqual(self.pair.clock.getDelayedCalls(), [])

    def test_a_side_that_is_done_leaves_the_other_its_time(self):
        self.near.peer_sends(b"never read")
        self.far.peer_sends(b"read")
        self.pair.visitor.close("mapping removed")
        self.pair.clock.advance(PROGRESS_SECONDS - 1)
        self.near.peer_reads()
        self.assertIsInstance(self.near.lost, ConnectionDone)
        self.pair.clock.advance(1)
        self.far.pump()
        self.assertIsInstance(self.far.lost, ConnectionAborted)
        self.assertEqual(self.pair.clock.getDelayedCalls(), [])
        self.assert_ended("mapping removed")

    def test_a_reset_while_closing_ends_the_other_side_too(self):
        self.near.peer_sends(b"never read")
        self.far.peer_sends(b"never read")
        self.pair.visitor.close("mapping removed")
        self.near.peer_resets()
        self.far.pump()
        self.assertIsInstance(self.far.lost, ConnectionAborted)
        self.assert_ended("mapping removed")

    def test_aborting_resets_both_sides(self):
        self.near.peer_sends(b"bytes")
        self.pair.visitor.abort("shutdown")
        self.pair.pump()
        self.assertIsInstance(self.near.lost, ConnectionAborted)
        self.assertIsInstance(self.far.lost, ConnectionAborted)
        self.assert_ended("shutdown")

    def test_a_pair_that_is_over_takes_no_notice(self):
        self.near.peer_resets()
        self.far.pump()
        self.pair.visitor.close("late")
        self.pair.visitor.abort("later")
        self.assert_ended("the connection of the visitor broke")
        self.assertIsInstance(self.near.lost, ConnectionLost)
