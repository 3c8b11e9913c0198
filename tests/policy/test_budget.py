"""What all streams of a process may hold."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.budget import Budget

LIMIT = 800


class BudgetTests(SynchronousTestCase):
    """800 bytes, of which each eighth is 100."""

    def setUp(self):
        self.budget = Budget(LIMIT)

    def test_windows_grow_within_one_half(self):
        self.budget.hold(100)
        self.assertTrue(self.budget.grow(300))
        self.assertFalse(self.budget.grow(1))
        self.assertEqual((self.budget.grown, self.budget.used), (300, 400))
        self.budget.shrink(300)
        self.assertTrue(self.budget.grow(1))

    def test_above_three_quarters_it_is_tight(self):
        self.budget.hold(600)
        self.assertFalse(self.budget.tight)
        self.budget.hold(1)
        self.assertTrue(self.budget.tight)
        self.budget.let_go(1)
        self.assertFalse(self.budget.tight)

    def test_above_seven_eighths_nobody_is_admitted(self):
        self.budget.hold(700)
        self.assertTrue(self.budget.admits("192.0.2.1"))
        self.assertFalse(self.budget.refusing)
        self.budget.hold(1)
        self.assertFalse(self.budget.admits("192.0.2.1"))
        self.assertEqual(self.budget.refused, 1)

    def test_above_the_limit_somebody_must_go(self):
        self.budget.hold(LIMIT)
        self.assertFalse(self.budget.over)
        self.budget.hold(1)
        self.assertTrue(self.budget.over)

    def test_the_alarm_is_raised_once_it_is_tight(self):
        called = []
        self.budget.alarm = lambda: called.append(self.budget.held)
        self.budget.hold(600)
        self.budget.hold(5)
        self.assertEqual(called, [605])

    def test_what_the_kernel_holds_counts_as_if_it_waited_here(self):
        self.budget.hold(300)
        self.budget.count_kernel(301)
        self.assertEqual(601, self.budget.used)
        self.assertTrue(self.budget.tight)
        self.budget.count_kernel(401)
        self.assertTrue(self.budget.refusing)
        self.budget.count_kernel(501)
        self.assertTrue(self.budget.over)
        self.assertFalse(self.budget.grow(1))
        self.budget.count_kernel(0)
        self.assertFalse(self.budget.tight)
        self.assertTrue(self.budget.grow(100))

    @given(st.integers(0, 1 << 50))
    def test_without_a_limit_nothing_is_too_much(self, size):
        budget = Budget()
        budget.hold(size)
        self.assertTrue(budget.grow(size))
        self.assertTrue(budget.admits("192.0.2.1"))
        self.assertFalse(budget.tight or budget.over)
