"""What a process says of its share of the cores."""

import os
import signal
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench import usage
from gateway.bench.usage import BUSY, Usage, used
from tests.bench.running import SECONDS


class UsageTests(SynchronousTestCase):
    """Running, waiting, and neither."""

    def test_who_waits_for_a_core_is_as_busy_as_who_runs(self):
        half = BUSY / 2 + 0.01
        for ran, waited in ((2 * half, 0.0), (half, half), (0.0, 2 * half)):
            self.assertTrue(Usage(ran, waited).was_limit)
        self.assertFalse(Usage(BUSY, 0.0).was_limit)
        self.assertFalse(Usage().was_limit)

    def test_shares_are_those_of_the_time_that_passed(self):
        share = Usage(5.0, 3.0).share_since(Usage(4.0, 1.0), 4.0)
        self.assertEqual(share, Usage(0.25, 0.5))

    def test_work_counts_as_running(self):
        before = used()
        deadline = time.monotonic() + SECONDS
        while used().ran < before.ran + 0.02:
            self.assertLess(time.monotonic(), deadline)

    def test_a_core_that_another_process_has_is_waited_for(self):
        cores = os.sched_getaffinity(0)
        deadline = time.monotonic() + SECONDS
        os.sched_setaffinity(0, {min(cores)})
        other = os.fork()
        if not other:
            while time.monotonic() < deadline:
                pass  # it is killed long before
            os._exit(0)
        try:
            before = used()
            while used().waited < before.waited + 0.02:
                self.assertLess(time.monotonic(), deadline)
        finally:
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
            os.sched_setaffinity(0, cores)

    def test_a_system_that_tells_nothing_of_waiting_has_none(self):
        for name, text in (("missing", None), ("empty", ""), ("odd", "a b c")):
            file = Path(f"{self.mktemp()}-{name}")
            if text is not None:
                file.write_text(text)
            self.patch(usage, "_SCHEDULE", file)
            self.assertEqual(used().waited, 0.0)
            self.assertGreater(used().ran, 0.0)
