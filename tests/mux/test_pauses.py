"""Five seconds in any thirty."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.pauses import PauseAllowance


class PauseAllowanceTests(SynchronousTestCase):
    """How long a legacy link may be paused."""

    def test_five_seconds_are_left_at_first(self):
        """And fewer while it is paused."""
        pauses = PauseAllowance()
        self.assertEqual(pauses.left(0.0), 5.0)
        pauses.begin(10.0)
        self.assertEqual(pauses.left(12.0), 3.0)
        self.assertEqual(pauses.left(20.0), 0.0)

    def test_pauses_add_up(self):
        """Until they are 30 seconds old."""
        pauses = PauseAllowance()
        for start in (0.0, 10.0):
            pauses.begin(start)
            pauses.end(start + 2.0)
        self.assertEqual(pauses.left(15.0), 1.0)
        self.assertEqual(pauses.left(31.0), 2.0)
        self.assertEqual(pauses.left(32.0), 3.0)
        self.assertEqual(pauses.left(42.0), 5.0)

    def test_beginning_twice_is_beginning_once(self):
        """So is ending."""
        pauses = PauseAllowance()
        pauses.end(0.0)
        pauses.begin(1.0)
        pauses.begin(2.0)
        pauses.end(3.0)
        pauses.end(9.0)
        self.assertEqual(pauses.left(10.0), 3.0)

    @given(st.lists(st.tuples(st.floats(0.01, 12), st.floats(0, 6)), max_size=30))
    def test_no_30_seconds_hold_more_than_5_of_pause(self, steps):
        """If whoever pauses asks first and stops in time."""
        pauses, now, taken = PauseAllowance(), 0.0, []
        for gap, wanted in steps:
            now += gap
            spent = min(wanted, pauses.left(now))
            pauses.begin(now)
            pauses.end(now + spent)
            taken.append((now, now + spent))
            now += spent
        for _, stop in taken:
            inside = sum(
                min(stop, b) - max(stop - 30.0, a)
                for a, b in taken
                if b > stop - 30.0 and a < stop
            )
            self.assertLessEqual(inside, 5.0 + 1e-6)
