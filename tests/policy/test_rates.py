"""How much may be asked for in how much time."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.rates import MOST_KEYS, RateLimit


class RateLimitTests(SynchronousTestCase):
    """A bucket for each key."""

    def test_a_burst_and_then_a_steady_stream(self):
        limit = RateLimit(10, 2.0)
        self.assertEqual([limit.wait("a", 5.0) for _ in range(10)], [0.0] * 10)
        self.assertAlmostEqual(limit.wait("a", 5.0), 0.2)
        self.assertAlmostEqual(limit.wait("a", 5.1), 0.1)
        self.assertEqual(limit.wait("a", 5.2), 0.0)
        self.assertEqual(limit.rejected, 2)

    def test_keys_do_not_share(self):
        limit = RateLimit(1, 60.0)
        self.assertEqual(limit.wait("a", 0.0), 0.0)
        self.assertEqual(limit.wait("b", 0.0), 0.0)
        self.assertGreater(limit.wait("a", 0.0), 0.0)

    def test_the_table_is_bounded_and_keeps_the_latest(self):
        limit = RateLimit(1, 1e6)
        for number in range(MOST_KEYS + 1):
            limit.wait(str(number), 0.0)
        self.assertEqual(limit.wait("0", 0.0), 0.0)
        self.assertGreater(limit.wait(str(MOST_KEYS), 0.0), 0.0)

    @given(
        st.integers(1, 50),
        st.floats(0.1, 100),
        st.lists(st.floats(0, 10), min_size=1, max_size=200),
    )
    def test_never_more_than_the_burst_and_what_time_brings(self, size, per, steps):
        limit = RateLimit(size, per)
        now = taken = 0.0
        for step in steps:
            now += step
            taken += limit.wait("a", now) == 0.0
        self.assertLessEqual(taken, size + now * size / per + 1e-6)
