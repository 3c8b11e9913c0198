"""Waits before retries."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.presets import RECONNECT
from gateway.policy.backoff import Backoff

FRACTIONS = st.floats(0, 1, exclude_max=True)
BACKOFFS = st.builds(
    Backoff,
    initial=st.floats(0.1, 3600),
    multiplier=st.floats(1, 10),
    maximum=st.floats(0.1, 3600),
    jitter=st.floats(0, 1),
    max_attempts=st.integers(0, 20),
)


def preset(name):
    values: dict[str, Any] = {
        key.split(".")[1]: value for key, value in RECONNECT[name].items()
    }
    return Backoff(maximum=values.pop("max"), **values)


def waits(backoff, count, random=lambda: 0.0):
    return [backoff.delay(attempt, random) for attempt in range(count)]


class BackoffTests(SynchronousTestCase):
    """`Backoff`."""

    def test_waits_double_up_to_the_longest(self):
        backoff = Backoff(initial=5, multiplier=2, maximum=30)
        self.assertEqual(waits(backoff, 5), [5, 10, 20, 30, 30])
        self.assertEqual(backoff.longest(), 30)

    def test_jitter_shortens_waits_by_its_share(self):
        backoff = Backoff(initial=10, multiplier=1, maximum=30, jitter=0.2)
        self.assertEqual(backoff.delay(0, lambda: 0.0), 10)
        self.assertEqual(backoff.delay(0, lambda: 0.5), 9)

    def test_the_preset_fixed_always_waits_five_seconds(self):
        fixed = preset("fixed")
        self.assertEqual(waits(fixed, 4), [5, 5, 5, 5])
        self.assertEqual(fixed.delay(10**9, lambda: 0.9), 5)
        self.assertEqual(fixed.longest(), 5)

    def test_the_preset_article_gives_up_after_ten_tries(self):
        article = preset("article")
        self.assertEqual(waits(article, 7), [1, 2, 4, 8, 16, 30, 30])
        self.assertFalse(article.used_up(9))
        self.assertTrue(article.used_up(10))

    def test_without_a_number_of_tries_it_is_never_given_up(self):
        self.assertFalse(preset("fixed").used_up(10**9))

    def test_few_attempts_may_never_reach_the_longest_wait(self):
        backoff = Backoff(initial=1, multiplier=2, maximum=30, max_attempts=3)
        self.assertEqual(backoff.longest(), 4)

    def test_a_first_wait_above_the_longest_is_cut(self):
        self.assertEqual(waits(Backoff(initial=9, multiplier=1, maximum=3), 2), [3, 3])

    def test_huge_attempts_do_not_overflow(self):
        for attempt in (1024, 10**6, 2**53, 10**400):
            with self.subTest(attempt):
                steady = Backoff(initial=1, multiplier=1, maximum=30)
                self.assertEqual(steady.delay(attempt, lambda: 0.0), 1)
                growing = Backoff(initial=1, multiplier=2, maximum=30)
                self.assertEqual(growing.delay(attempt, lambda: 0.0), 30)

    @given(BACKOFFS, st.integers(0, 2000), FRACTIONS)
    def test_waits_stay_within_their_bounds(self, backoff, attempt, fraction):
        if backoff.used_up(attempt):
            return
        wait = backoff.delay(attempt, lambda: fraction)
        whole = backoff.delay(attempt, lambda: 0.0)
        self.assertTrue(0 <= wait <= whole <= backoff.longest() <= backoff.maximum)
        self.assertGreaterEqual(wait, whole * (1 - backoff.jitter) * (1 - 1e-9))

    @given(BACKOFFS, st.integers(0, 2000))
    def test_waits_never_shrink(self, backoff, attempt):
        first, second = (backoff.delay(n, lambda: 0.0) for n in (attempt, attempt + 1))
        self.assertLessEqual(first, second)
