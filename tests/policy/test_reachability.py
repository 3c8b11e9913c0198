"""What the connections of a mapping show of its target."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.reachability import (
    ENOUGH_FAILURES,
    LONGEST_REASON,
    TARGET_FORBIDDEN,
    TARGET_UNREACHED,
    Attempts,
)


class AttemptsTests(SynchronousTestCase):
    """`Attempts`."""

    def setUp(self):
        self.attempts: Any = Attempts()

    def miss(self, *times, cause=TARGET_UNREACHED, why="refused by the target"):
        for now in times:
            self.attempts.missed(cause, why, now)

    def test_one_failure_says_nothing(self):
        self.miss(*range(1, ENOUGH_FAILURES))
        self.assertIsNone(self.attempts.obstacle)

    def test_the_last_failures_in_a_row_say_why_and_since_when(self):
        self.miss(10.0, 20.0, 30.0)
        self.assertEqual(
            (
                TARGET_UNREACHED,
                "the last 3 connections did not reach the target: refused by the "
                "target",
                10.0,
            ),
            self.attempts.obstacle,
        )

    def test_the_latest_cause_counts(self):
        self.miss(10.0, 20.0)
        self.miss(30.0, cause=TARGET_FORBIDDEN, why="not allowed")
        cause, detail, since = self.attempts.obstacle
        self.assertEqual((TARGET_FORBIDDEN, 10.0), (cause, since))
        self.assertIn("not allowed", detail)

    def test_a_connection_that_gets_through_ends_it(self):
        self.miss(10.0, 20.0)
        self.attempts.reached()
        self.assertIsNone(self.attempts.obstacle)
        self.miss(30.0)
        self.assertIsNone(self.attempts.obstacle)
        self.miss(40.0)
        self.assertEqual(30.0, self.attempts.obstacle.since)

    def test_a_long_reason_is_cut(self):
        self.miss(10.0, 20.0, why="x" * 10000)
        self.assertLess(len(self.attempts.obstacle.detail), LONGEST_REASON + 100)
