"""What one turn of the event loop does not do for a link, and when it is done."""

import gc
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.link.protocol import LAST_BYTES, LAST_READ_SECONDS
from gateway.link.turns import LEAST_WORK, MOST_LINKS, WORK, Turns
from gateway.wire import frames
from tests.link.rig import (
    LinkRig,
    answer,
    data,
    goaway,
    hello,
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
)
from tests.strategies import raw_frame, with_id

UNKNOWN = raw_frame(0x7F)
TURN_SECONDS = 0.001


class TurningClock(Clock):
    """A clock on which what is planned for at once waits for the next `turn`."""

    def callLater(self, delay, callable, *args, **kw):
        """Plan a call."""
        return super().callLater(max(delay, TURN_SECONDS), callable, *args, **kw)

    def turn(self):
        """Let one turn of the event loop pass."""
        self.advance(TURN_SECONDS)


class FakeWorker:
    """A link that needs a number of turns."""

    def __init__(self, turns, clock, number, log):
        self.turns, self.clock, self.number, self.log = turns, clock, number, log
        self.left = 0
        self.aborted = []

    def wait(self, left):
        """Need so many more turns."""
        self.left = left
        self.turns.wait(self.clock, self)

    def take_turn(self, work):
        self.log.append((self.number, work))
        self.left -= 1
        if self.left:
            self.turns.wait(self.clock, self)

    def abort(self, why):
        self.aborted.append(why)


class TurnsTests(SynchronousTestCase):
    """Who goes on when."""

    def setUp(self):
        self.clock, self.turns, self.log = TurningClock(), Turns(), []

    def worker(self, number=0):
        return FakeWorker(self.turns, self.clock, number, self.log)

    def turn(self):
        """Let one turn pass; return who did how much."""
        self.log.clear()
        self.clock.turn()
        return list(self.log)

    def test_nothing_is_done_before_the_next_turn(self):
        self.worker().wait(1)
        self.assertEqual(self.log, [])
        self.assertEqual(len(self.turn()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_links_take_turns(self):
        one, two = self.worker(1), self.worker(2)
        one.wait(3)
        two.wait(2)
        turns = [[number for number, _ in self.turn()] for _ in range(4)]
        self.assertEqual(turns, [[1, 2], [1, 2], [1], []])

    @given(st.integers(1, 100))
    def test_all_together_do_so_much_in_a_turn(self, count):
        """However many they are; and nobody is forgotten."""
        self.setUp()
        for number in range(count):
            self.worker(number).wait(1)
        met = set()
        while done := self.turn():
            self.assertLessEqual(len(done), MOST_LINKS)
            self.assertLessEqual(sum(work for _, work in done), WORK)
            met |= {number for number, _ in done}
        self.assertEqual(len(met), count)

    def test_the_share_shrinks_with_those_who_wait(self):
        self.assertEqual(self.turns.share, WORK)
        for number in range(100):
            self.worker(number).wait(1)
        self.assertEqual(self.turns.share, LEAST_WORK)
        while self.turn():
            pass
        self.assertEqual(self.turns.share, WORK)

    def test_who_is_forgotten_gets_no_turn(self):
        worker = self.worker()
        worker.wait(1)
        self.turns.forget(worker)
        self.turns.forget(worker)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_may_end_another_in_its_turn(self):
        one, two = self.worker(1), self.worker(2)
        one.wait(1)
        two.wait(1)
        self.patch(one, "take_turn", lambda work: self.turns.forget(two))
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_error_costs_the_one_link(self):
        one, two = self.worker(1), self.worker(2)
        one.wait(1)
        two.wait(1)
        self.patch(one, "take_turn", lambda work: 1 / 0)
        self.assertEqual([number for number, _ in self.turn()], [2])
        self.assertEqual(len(one.aborted), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class KeptTests(SynchronousTestCase):
    """A read with more frames than a turn may look at."""

    def test_a_turn_looks_at_so_many_frames(self):
        for make in (negotiated_gateway, negotiated_agent, legacy_gateway):
            rig = make(clock=TurningClock())
            counts = rig.link.session.core.counts
            rig.far.says(UNKNOWN * 1000)
            self.assertEqual(counts["unknown_kind"], WORK)
            self.assertTrue(rig.transport.paused)
            kept = rig.link.kept_bytes
            self.assertEqual(kept, (1000 - WORK) * len(UNKNOWN))
            self.assertGreaterEqual(rig.link.memory.held, kept)
            rig.clock.turn()
            self.assertEqual(counts["unknown_kind"], 2 * WORK)
            self.assertTrue(rig.transport.paused)
            for _ in range(10):
                rig.clock.turn()
            self.assertEqual(counts["unknown_kind"], 1000)
            self.assertFalse(rig.transport.paused)
            self.assertEqual(rig.link.kept_bytes, 0)

    def test_everything_arrives_in_order(self):
        """Whatever the next read brings comes behind what is kept."""
        rig = negotiated_gateway()
        visitor = rig.visit()
        said = [b"%d." % number for number in range(2000)]
        rig.far.says(answer(visitor.id), *(data(visitor.id, one) for one in said))
        rig.far.says(data(visitor.id, b"last"))
        for _ in range(20):
            rig.clock.advance(0)
        rig.transport.pump()
        visitor.socket.peer_reads()
        self.assertEqual(visitor.got(), b"".join(said) + b"last")

    def test_many_busy_streams_need_few_turns(self):
        """A read of small messages is no flood."""
        rig = negotiated_gateway()
        visitors = [rig.visit() for _ in range(100)]
        rig.far.says(*(answer(one.id) for one in visitors))
        for _ in range(3):
            rig.clock.advance(0)
        rig.far.says(*(data(one.id, b"x" * 1000) for one in visitors * 2))
        self.assertEqual(rig.link.kept_bytes, 0)

    def test_silence_while_we_do_not_read_proves_nothing(self):
        rig = negotiated_gateway()
        rig.far.says(UNKNOWN * 1000)
        with_turns = rig.link.session.liveness
        self.assertFalse(with_turns.is_dead(rig.clock.seconds() + 1000))
        for _ in range(10):
            rig.clock.advance(0)
        self.assertTrue(with_turns.is_dead(rig.clock.seconds() + 1000))

    def test_a_loss_stands_behind_what_arrived_before(self):
        """An answer that came whole is whole, though the connection is gone."""
        rig = negotiated_gateway()
        visitor = rig.visit()
        rig.far.says(
            answer(visitor.id),
            data(visitor.id, b"answer"),
            UNKNOWN * 1000,
            data(visitor.id, b"!"),
            with_id(frames.FIN, visitor.id),
        )
        visitor.socket.peer_sends(b"question")
        visitor.socket.peer_finishes()
        rig.transport.peer_resets()
        self.assertEqual(rig.owner.said("lost"), [])
        for _ in range(10):
            rig.clock.advance(0)
        self.assertEqual(rig.owner.names()[-2:], ["lost", "closed"])
        visitor.socket.peer_reads()
        self.assertEqual(visitor.got(), b"answer!")
        self.assertFalse(visitor.socket.aborted)
        self.assertEqual(rig.link.memory.held, 0)
        self.assertEqual(rig.clock.getDelayedCalls(), [])

    def test_what_is_kept_goes_with_an_abort(self):
        for gone in (False, True):
            rig = negotiated_gateway()
            rig.far.says(UNKNOWN * 1000)
            if gone:
                rig.transport.peer_resets()
            rig.link.abort("test")
            rig.transport.pump()
            rig.clock.advance(0)
            self.assertEqual(rig.owner.names()[-2:], ["lost", "closed"])
            self.assertEqual((rig.link.kept_bytes, rig.link.memory.held), (0, 0))
            self.assertEqual(rig.clock.getDelayedCalls(), [])

    def test_an_error_in_what_is_kept_ends_the_link(self):
        for gone in (False, True):
            rig = negotiated_gateway()
            rig.far.says(UNKNOWN * 1000, b"\x07")
            if gone:
                rig.transport.peer_resets()
            for _ in range(10):
                rig.clock.advance(0)
            self.assertIn("version", rig.owner.said("failed")[0])
            self.assertEqual(rig.link.kept_bytes, 0)
            self.assertEqual("closed" in rig.owner.names(), gone)

    def test_a_goodbye_in_what_is_kept_ends_the_link(self):
        rig = negotiated_agent()
        rig.far.says(UNKNOWN * 1000, goaway(frames.REVOKED, "go"), UNKNOWN * 1000)
        for _ in range(10):
            rig.clock.advance(0)
        self.assertEqual(rig.owner.names()[-1], "lost")
        self.assertEqual(rig.link.session.core.counts["unknown_kind"], 1000)

    def test_a_legacy_link_that_is_paused_looks_at_nothing(self):
        rig = legacy_gateway(legacy_marks=(1000, 500))
        visitor = rig.visit()
        rig.far.says(answer(visitor.id), data(visitor.id, bytes(70_000)))
        self.assertTrue(rig.link.paused)
        rig.link.release(visitor.stream)
        visitor.stream.pauseProducing()
        self.assertTrue(rig.link.paused)
        counts = rig.link.session.core.counts
        rig.link.dataReceived(UNKNOWN * 1000)  # read in the turn of the pause
        rig.clock.advance(0)
        self.assertEqual(counts["unknown_kind"], WORK)
        visitor.stream.resumeProducing()
        for _ in range(10):
            rig.clock.advance(0)
        self.assertEqual(counts["unknown_kind"], 1000)
        self.assertFalse(rig.transport.paused)


class FirstReadTests(SynchronousTestCase):
    """Before a link is decided."""

    def test_a_read_is_short_until_then(self):
        rig = LinkRig(gateway=True)
        self.assertEqual(rig.transport.read_size, 16384)
        rig.far.says(hello())
        self.assertEqual(rig.transport.read_size, 65536)

    def test_who_says_much_is_closed_at_once(self):
        rig = LinkRig(gateway=True)
        rig.far.says(UNKNOWN * 100)
        self.assertTrue(rig.transport.aborted)
        self.assertIn("before the link was decided", rig.owner.said("failed")[0])


class LastReadTests(SynchronousTestCase):
    """After the end of a session the far end may still send."""

    def test_a_flood_behind_the_end_is_read_slowly(self):
        rig = negotiated_gateway()
        rig.link.leave(frames.REVOKED, "go")
        rig.far.says(bytes(LAST_BYTES))
        self.assertFalse(rig.transport.paused)
        rig.far.says(b"x")
        self.assertTrue(rig.transport.paused)
        rig.clock.advance(LAST_READ_SECONDS)
        self.assertFalse(rig.transport.paused)
        rig.transport.peer_resets()
        self.assertEqual(rig.clock.getDelayedCalls(), [])


class LeftoverTests(SynchronousTestCase):
    """A link that is closed leaves nothing that only a collector would find."""

    def assert_freed(self, make, *said):
        """Let a link come, hear something and go."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        rig = make()
        rig.far.says(*said)
        rig.later(1.5)
        if rig.transport.aborted:
            rig.transport.pump()
        rig.transport.peer_resets()
        rig.clock.advance(60)
        link, session = ref(rig.link), ref(rig.link.session)
        rules, core = rig.link.session.rules, rig.link.session.core
        parts = [ref(one) for one in (rules, core) if one is not None]
        self.assertEqual(rig.link.memory.held, 0)
        rig.transport.protocol = None  # as a real one does
        del rig, rules, core
        left = [part() for part in (link, session, *parts)]
        self.assertEqual(left, [None] * len(left))

    def test_links_of_every_kind(self):
        stranger = lambda: LinkRig(gateway=True)  # noqa: E731
        for make in (
            *(negotiated_gateway, negotiated_agent, legacy_gateway, legacy_agent),
            stranger,
        ):
            self.assert_freed(make)
            self.assert_freed(make, raw_frame(0x15, bytes(4000))[:3000])
            self.assert_freed(make, UNKNOWN * 5000)
            self.assert_freed(make, b"\x07")
            self.assert_freed(make, raw_frame(0x15, length=1 << 20))
            self.assert_freed(make, goaway(frames.REVOKED, "go"))
