"""A range of seeds is run by several processes, and its failures are summed up."""

import os
import signal
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from tests.sim import __main__ as command
from tests.sim.oracles import BrokenLawError
from tests.sim.ranges import MOST_CHARACTERS, MOST_SHOWN, judge, run_range


def all_hold(seed):
    """Every law holds."""


def sevens_break(seed):
    """Break a law for each seed that ends in 7."""
    if seed % 10 == 7:
        raise BrokenLawError("tables", f"{seed} entries\nseed {seed}; to see it: ...")


def all_break(seed):
    """Fail without a law."""
    raise ZeroDivisionError("x" * 10_000)


def dies(seed):
    """End the worker's process."""
    os.kill(os.getpid(), signal.SIGKILL)


class RangeTests(SynchronousTestCase):
    """Exit code and report."""

    def run_range(self, first, last, run, workers=2):
        """Return the exit code and the lines."""
        lines: list[str] = []
        code = run_range(first, last, lines.append, run=run, workers=workers)
        return code, lines

    def test_a_range_that_holds(self):
        code, lines = self.run_range(100, 144, all_hold)
        self.assertEqual(code, 0)
        self.assertIn("seeds 100-144: 45 of 45 run, 0 failed", lines[-1])

    def test_failures_are_named_with_their_law(self):
        code, lines = self.run_range(0, 39, sevens_break)
        self.assertEqual(code, 1)
        self.assertIn("seed 17: tables: 17 entries", lines)
        self.assertIn("broken 4 times: tables (seeds 7, 17, 27, 37)", lines)
        self.assertIn("40 of 40 run, 4 failed", lines[-1])

    def test_the_report_is_bounded(self):
        code, lines = self.run_range(0, 299, all_break, workers=1)
        self.assertEqual(code, 1)
        self.assertIn("300 of 300 run, 300 failed", lines[-1])
        self.assertLess(len(lines), 3 * MOST_SHOWN)
        self.assertLess(max(map(len, lines)), MOST_CHARACTERS + 100)

    def test_a_worker_that_dies_is_a_failure(self):
        code, lines = self.run_range(0, 9, dies, workers=1)
        self.assertEqual(code, 1)
        self.assertIn("0 of 10 run", lines[-1])

    def test_an_empty_range(self):
        self.assertEqual(self.run_range(5, 4, all_hold)[0], 2)

    def test_words_are_one_line(self):
        self.assertEqual(judge(7, sevens_break), (7, "tables", "7 entries"))
        self.assertIsNone(judge(8, sevens_break))


class CommandTests(SynchronousTestCase):
    """Arguments."""

    def test_a_range_is_run_by_the_runner(self):
        self.patch(command, "run_range", lambda first, last, say: first * last)
        self.assertEqual(command.main(["20-30"]), 600)

    def test_nonsense_is_refused(self):
        said = StringIO()
        self.patch(sys, "stderr", said)
        for arguments in ([], ["x"], ["1-"], ["1-2", "3"]):
            self.assertEqual(command.main(arguments), 2)
        self.assertEqual(said.getvalue(), 4 * command.USAGE)
