"""What the machine has left, and how late the reactor is."""

import errno
import os
from functools import partial
from typing import Any, cast

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.descriptors import open_descriptors
from gateway.ops.health import HealthStatus
from gateway.ops.vitals import (
    SAMPLE_SECONDS,
    LoopLag,
    check_descriptors,
    descriptor_limit,
    disk_check,
    free_bytes,
)

HEALTHY, DEGRADED, UNHEALTHY = HealthStatus
MIB = 1 << 20


class LoopLagTests(SynchronousTestCase):
    """Timers on a clock that a test stops."""

    def setUp(self):
        self.clock = Clock()
        self.lag = LoopLag(self.clock)
        self.lag.start()

    def late(self, seconds, times=1):
        """Let the next timers be late."""
        for _ in range(times):
            self.clock.rightNow += seconds
            self.clock.advance(SAMPLE_SECONDS)

    def test_an_idle_loop_is_healthy(self):
        self.assertEqual(self.lag.check().status, HEALTHY)
        self.late(0.0, 30)
        self.assertEqual(self.lag.check().status, HEALTHY)
        self.assertEqual(self.lag.worst_seconds, 0.0)

    def test_one_hiccup_is_no_fault(self):
        self.late(0.0, 19)
        self.late(1.0)
        self.assertEqual(self.lag.check().status, HEALTHY)
        self.assertAlmostEqual(self.lag.worst_seconds, 1.0)
        self.assertAlmostEqual(self.lag.mean_seconds, 0.05)

    def test_a_slow_loop_is_degraded_until_it_is_quick_again(self):
        self.late(0.3, 20)
        found = self.lag.check()
        self.assertEqual(found.status, DEGRADED)
        self.assertIn("0.30 s late", found.message)
        self.late(0.0, 20)
        self.assertEqual(self.lag.check().status, HEALTHY)

    def test_a_loop_that_stood_still_is_unhealthy_for_a_while(self):
        self.late(0.0, 19)
        self.late(5.5)
        self.assertEqual(self.lag.check().status, UNHEALTHY)
        self.late(0.0, 20)
        self.assertEqual(self.lag.check().status, HEALTHY)

    def test_every_delay_since_the_start_is_counted(self):
        self.late(0.0, 30)
        self.late(0.02, 2)
        self.late(9.0)
        counts = dict(self.lag.delays.cumulated())
        self.assertEqual(
            [counts[bound] for bound in (0.001, 0.01, 0.025, 5.0, float("inf"))],
            [30, 30, 32, 32, 33],
        )

    def test_it_stops(self):
        self.lag.start()
        for _ in range(2):
            self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DescriptorTests(SynchronousTestCase):
    """Open files."""

    def test_this_process_has_some_open(self):
        before = open_descriptors()
        assert before is not None
        with open(os.devnull):
            self.assertEqual(open_descriptors(), before + 1)
        self.assertGreater(descriptor_limit(), before)
        self.assertEqual(check_descriptors().status, HEALTHY)

    def test_nine_tenths_of_the_limit_are_enough(self):
        for used, status in ((900, HEALTHY), (901, DEGRADED), (None, HEALTHY)):
            count = cast(Any, partial(int, used) if used else lambda: None)
            found = check_descriptors(count, lambda: 1000)
            self.assertEqual(found.status, status)
        self.assertEqual(check_descriptors(lambda: 10**6, lambda: -1).status, HEALTHY)


class DiskTests(SynchronousTestCase):
    """Room on disks."""

    def judge(self, **free):
        """Check folders with so many bytes left; None = a folder that is gone."""

        def left(folder):
            if free[folder] is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            return free[folder]

        check = disk_check(
            {f"the {name}": name for name in free}, lambda look: succeed(look()), left
        )
        return self.successResultOf(cast(Any, check()))

    def test_the_fullest_disk_decides(self):
        for database, log, status in (
            (100 * MIB, 10**12, HEALTHY),
            (100 * MIB - 1, 10**12, DEGRADED),
            (10 * MIB, 10**12, DEGRADED),
            (10**12, 10 * MIB - 1, UNHEALTHY),
            (50 * MIB, 1, UNHEALTHY),
            (None, 10**12, DEGRADED),
        ):
            self.assertEqual(
                self.judge(database=database, log=log).status, status, (database, log)
            )

    def test_it_says_where_and_how_much(self):
        said = self.judge(database=50 * MIB, log=3 * MIB).message
        self.assertIn("the database: 50 MiB are free at database", said)
        self.assertIn("the log: 3 MiB", said)
        self.assertIn("No such file", self.judge(database=None).message)

    def test_a_real_folder(self):
        self.assertGreater(free_bytes("/"), 0)
        self.assertRaises(OSError, free_bytes, "/no/such/folder")
