"""Who is broken off when memory is used up."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.budget import Budget
from gateway.relay.memory import LOOK_SECONDS, MemoryWatch

LIMIT = 800


class Holding:
    """Holds bytes until it is broken off."""

    def __init__(self, case, held):
        self.case = case
        self.held = held
        self.moved = 0
        self.broken = False
        case.budget.hold(held)

    def break_off(self, why):
        self.broken = True
        self.case.budget.let_go(self.held)
        self.held = 0


class MemoryWatchTests(SynchronousTestCase):
    """800 bytes for all."""

    def setUp(self):
        self.clock = Clock()
        self.budget = Budget(LIMIT)
        self.holders: list[Holding] = []
        self.watch = MemoryWatch(self.clock, self.budget, lambda: iter(self.holders))

    def hold(self, held):
        holder = Holding(self, held)
        self.holders.append(holder)
        return holder

    def look(self, times=1):
        for _ in range(times):
            self.clock.advance(LOOK_SECONDS)

    def test_nobody_is_looked_at_while_there_is_room(self):
        self.hold(600)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_one_that_has_held_most_for_longest_goes(self):
        small = self.hold(200)
        self.look()
        large = self.hold(500)
        self.look(2)
        late = self.hold(200)
        self.look()
        self.assertEqual(
            [one.broken for one in (small, large, late)], [False, True, False]
        )
        self.assertEqual((self.budget.broken, self.budget.held), (1, 400))

    def test_one_that_moves_is_never_broken_off(self):
        moving = self.hold(850)
        still = self.hold(10)
        for _ in range(20):
            moving.moved += 1
            self.look()
        self.assertEqual((moving.broken, still.broken), (False, True))

    def test_below_the_limit_who_keeps_others_out_goes_after_10_seconds(self):
        holder = self.hold(LIMIT)
        self.look(20)
        self.assertFalse(holder.broken)
        self.look()
        self.assertTrue(holder.broken)

    def test_who_keeps_nobody_out_may_stay(self):
        holder = self.hold(700)
        self.look(1000)
        self.assertFalse(holder.broken)

    def test_as_many_go_as_must(self):
        holders = [self.hold(300) for _ in range(4)]
        self.look(3)
        self.assertEqual(sum(one.broken for one in holders), 2)

    def test_it_sleeps_again_and_wakes_again(self):
        holder = self.hold(700)
        self.look()
        holder.break_off("by itself")
        self.look()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.hold(700)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_stopped_watch_leaves_nothing_behind(self):
        self.hold(700)
        self.watch.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.hold(700)
        self.assertEqual(self.clock.getDelayedCalls(), [])
