"""Who is reset when memory is used up."""

from itertools import pairwise

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.backlogs import Flow
from gateway.policy.budget import Budget
from gateway.relay.memory import (
    LEISURE_SECONDS,
    LOOK_SECONDS,
    RESETS,
    SLICE,
    WHY,
    WHY_SLOW,
    MemoryWatch,
)

KIB = 1024
LIMIT = 800 * KIB


class Holding:
    """Holds bytes until it is reset.

    Attributes:
        pace: bytes that its peer takes between two looks at it.
        looks: how often it was looked at.
    """

    def __init__(self, case, held, kernel=0, address="192.0.2.1", pace=0):
        self.case = case
        self.held = held
        self.kernel = kernel
        self.address = address
        self.pace = pace
        self.taken = self.looks = 0
        self.why = None
        case.budget.hold(held)

    @property
    def broken(self):
        return self.why is not None

    def flows(self):
        self.looks += 1
        self.taken += self.pace
        if not self.held and not self.kernel:
            return ()
        return (Flow(self.held, self.kernel, self.taken),)

    def break_off(self, why):
        self.why = why
        self.case.budget.let_go(self.held)
        self.held = self.kernel = 0


class MemoryWatchCase(SynchronousTestCase):
    """800 KiB for all; sizes are KiB."""

    limit = LIMIT

    def setUp(self):
        self.clock = Clock()
        self.budget = Budget(self.limit)
        self.holders: list[Holding] = []
        self.watch = MemoryWatch(self.clock, self.budget, lambda: self.holders)
        self.watch.start()

    def hold(self, held, kernel=0, **others):
        holder = Holding(self, held * KIB, kernel * KIB, **others)
        self.holders.append(holder)
        return holder

    def look(self, times=1):
        """Let so many looks pass that follow each other quickly."""
        for _ in range(times):
            self.clock.pump([LOOK_SECONDS / 100] * 100)


class MemoryWatchTests(MemoryWatchCase):
    """Memory that becomes tight."""

    def test_while_there_is_room_looks_are_seldom(self):
        holder = self.hold(100)
        self.clock.pump([LEISURE_SECONDS / 100] * 1000)
        self.assertLessEqual(holder.looks, 11)

    def test_the_oldest_stall_goes_first(self):
        old = self.hold(300)
        self.look(2)
        late = self.hold(550)
        self.look(4)
        self.assertEqual((True, False), (old.broken, late.broken))
        self.assertEqual((1, 550 * KIB), (self.budget.broken, self.budget.held))
        self.assertEqual(WHY, old.why)

    def test_one_that_moves_stays_while_its_address_is_within_its_share(self):
        moving = self.hold(200, address="192.0.2.1", pace=1)
        greedy = self.hold(650, address="192.0.2.2", pace=1)
        self.look(6)
        self.assertEqual((None, WHY_SLOW), (moving.why, greedy.why))

    def test_one_that_reads_well_is_never_reset(self):
        moving = self.hold(850, pace=1 << 20)
        self.look(40)
        self.assertFalse(moving.broken)

    def test_below_the_limit_who_keeps_others_out_goes_after_2_seconds(self):
        holder = self.hold(800)
        self.look(4)
        self.assertFalse(holder.broken)
        self.look(4)
        self.assertTrue(holder.broken)

    def test_who_keeps_nobody_out_goes_after_a_minute(self):
        holder = self.hold(700)
        self.look(118)
        self.assertFalse(holder.broken)
        self.look(6)
        self.assertTrue(holder.broken)

    def test_as_many_go_as_must(self):
        holders = [self.hold(300) for _ in range(4)]
        self.look(4)
        self.assertEqual(2, sum(one.broken for one in holders))

    def test_the_alarm_is_raised_again_after_it_is_over(self):
        holder = self.hold(700)
        self.assertIsNone(self.budget.alarm)
        self.look(3)
        holder.break_off("by itself")
        self.look(3)
        self.assertIsNotNone(self.budget.alarm)

    def test_a_stopped_watch_leaves_nothing_behind(self):
        self.hold(700, 100)
        self.look(4)
        self.watch.stop()
        self.watch.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual((0, 0), (self.budget.kernel, self.budget.stalled))
        self.hold(700)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_unlimited_memory_is_not_watched(self):
        budget = Budget()
        clock = Clock()
        MemoryWatch(clock, budget, list).start()
        self.assertEqual([], clock.getDelayedCalls())


class KernelTests(MemoryWatchCase):
    """Bytes that only the kernel has."""

    def test_what_a_peer_that_does_not_read_pins_is_counted(self):
        self.hold(0, 300)
        self.look(5)
        self.assertEqual((300 * KIB, 300 * KIB, 1), self.counted())

    def counted(self):
        budget = self.budget
        return budget.kernel, budget.used, budget.stalled

    def test_it_is_counted_no_more_once_the_peer_has_read(self):
        holder = self.hold(0, 300)
        self.look(5)
        holder.kernel = 0
        self.look(4)
        self.assertEqual((0, 0, 0), self.counted())

    def test_those_go_who_pin_more_than_there_is(self):
        deaf = [self.hold(0, 300, address="192.0.2.66") for _ in range(4)]
        paused = self.hold(0, 100, pace=1)
        self.look(6)
        self.assertEqual(
            [True, True, False, False, False],
            [one.broken for one in (*deaf, paused)],
        )
        self.assertFalse(self.budget.over)


class ShareTests(MemoryWatchCase):
    """Several mebibytes, of which one address uses nearly all."""

    limit = 1 << 24

    def test_only_who_uses_its_share_is_refused(self):
        self.hold(0, self.limit // 100 * 95 // KIB, address="192.0.2.66", pace=1)
        self.look(4)
        self.assertTrue(self.budget.refusing)
        self.assertFalse(self.budget.admits("192.0.2.66"))
        self.assertTrue(self.budget.admits("192.0.2.1"))
        self.assertEqual(1, self.budget.refused)


class TurnTests(MemoryWatchCase):
    """Many connections."""

    limit = 1000 * SLICE * KIB

    def test_a_bounded_number_is_looked_at_in_one_turn(self):
        holders = [self.hold(0, 1) for _ in range(SLICE * 3)]
        self.clock.advance(LEISURE_SECONDS)
        self.assertEqual(SLICE, sum(one.looks for one in holders))
        self.look(4)
        self.assertTrue(all(one.looks for one in holders))

    def test_a_bounded_number_is_reset_in_one_turn(self):
        holders = [self.hold(0, self.limit // KIB) for _ in range(RESETS * 3)]
        resets = [0]
        for _ in range(400):
            self.clock.advance(LOOK_SECONDS / 100)
            resets.append(sum(one.broken for one in holders))
        self.assertEqual(RESETS * 3 - 1, resets[-1])
        steps = [after - before for before, after in pairwise(resets)]
        self.assertLessEqual(max(steps), RESETS)
