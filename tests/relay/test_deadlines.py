"""Many time limits on one timer."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.relay.deadlines import Deadlines


class One:
    """Notes when its time was over."""

    def __init__(self, clock):
        self.clock = clock
        self.over = []

    def timed_out(self):
        self.over.append(self.clock.seconds())


class DeadlineTests(SynchronousTestCase):
    """Ten seconds for each."""

    def setUp(self):
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock, 10)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["add", "discard", "wait"]),
                st.integers(0, 9),
            ),
            max_size=40,
        )
    )
    def test_each_is_told_when_its_own_time_is_over(self, steps):
        """Unless it was discarded before; nothing is left behind."""
        self.setUp()
        waiting: list[tuple[One, float]] = []
        done = []
        for name, number in steps:
            if name == "add":
                one = One(self.clock)
                self.deadlines.add(one)
                waiting.append((one, self.clock.seconds() + 10))
            elif name == "discard" and waiting:
                one, due = waiting.pop(number % len(waiting))
                self.deadlines.discard(one)
                done.append((one, [due] if due <= self.clock.seconds() else []))
            else:
                self.clock.advance(number)
        left = [due for _, due in waiting if due > self.clock.seconds()]
        self.assertEqual(len(self.deadlines), len(left))
        self.assertEqual(len(self.clock.getDelayedCalls()), bool(left))
        self.clock.pump([1] * 11)
        for one, due in waiting:
            self.assertEqual(len(one.over), 1)
            self.assertGreaterEqual(one.over[0], due)
        for one, wanted in done:
            self.assertEqual(len(one.over), len(wanted))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_time_is_over_at_the_second(self):
        first, second = One(self.clock), One(self.clock)
        self.deadlines.add(first)
        self.clock.advance(4)
        self.deadlines.add(second)
        self.clock.pump([6, 4])
        self.assertEqual((first.over, second.over), ([10], [14]))

    def test_one_that_fails_does_not_stop_the_others(self):
        first: Any = One(self.clock)
        second = One(self.clock)
        first.timed_out = lambda: [][0]
        self.deadlines.add(first)
        self.deadlines.add(second)
        self.clock.advance(10)
        self.assertEqual(second.over, [10])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
