"""Checks run side by side, each within its time, at most once a second."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import StoreError
from gateway.ops.health import CheckResult, HealthChecks, HealthStatus

HEALTHY, DEGRADED, UNHEALTHY = HealthStatus
NOON = 1704110400.0


class HealthChecksTests(SynchronousTestCase):
    """Named checks on a fake clock."""

    def setUp(self):
        self.clock = Clock()
        self.checks = HealthChecks(self.clock, lambda: NOON)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def begin(self):
        return Deferred.fromCoroutine(self.checks.run())

    def run_now(self):
        return self.successResultOf(self.begin())

    def add(self, name, status, message=""):
        self.checks.register(name, lambda: CheckResult(status, message))

    def test_without_checks_all_is_well(self):
        report = self.run_now()
        self.assertEqual(
            (report.status, report.checks, report.timestamp), (HEALTHY, (), NOON)
        )

    def test_the_worst_check_decides(self):
        for name, status, expected in (
            ("a", HEALTHY, HEALTHY),
            ("b", DEGRADED, DEGRADED),
            ("c", HEALTHY, DEGRADED),
            ("d", UNHEALTHY, UNHEALTHY),
            ("e", DEGRADED, UNHEALTHY),
        ):
            self.add(name, status)
            self.assertIs(self.run_now().status, expected)

    def test_a_report_names_each_check_in_order(self):
        self.add("store", HEALTHY)
        self.add("disk", DEGRADED, "9 % left")
        said = [(c.name, c.status, c.message) for c in self.run_now().checks]
        self.assertEqual(said, [("store", HEALTHY, ""), ("disk", DEGRADED, "9 % left")])

    def test_a_name_is_taken_once(self):
        self.add("store", HEALTHY)
        self.assertRaises(ValueError, self.add, "store", HEALTHY)

    def test_checks_may_be_plain_deferred_or_coroutines(self):
        async def coroutine():
            return CheckResult(HEALTHY, "c")

        self.add("plain", HEALTHY, "p")
        self.checks.register("deferred", lambda: succeed(CheckResult(HEALTHY, "d")))
        self.checks.register("coroutine", coroutine)
        self.assertEqual([c.message for c in self.run_now().checks], ["p", "d", "c"])

    def test_checks_run_side_by_side(self):
        waits: list[Deferred[CheckResult]] = [Deferred(), Deferred()]
        self.checks.register("0", lambda: waits[0])
        self.checks.register("1", lambda: waits[1])
        running = self.begin()
        self.clock.advance(1)
        waits[1].callback(CheckResult(HEALTHY))
        self.clock.advance(2)
        waits[0].callback(CheckResult(HEALTHY))
        checks = self.successResultOf(running).checks
        self.assertEqual([c.duration for c in checks], [3.0, 1.0])

    def test_a_check_over_its_time_is_unhealthy_and_cancelled(self):
        ended: list[str] = []
        self.checks.register("stuck", lambda: Deferred(lambda _: ended.append("x")))
        self.add("fine", HEALTHY)
        running = self.begin()
        self.clock.advance(4.9)
        self.assertNoResult(running)
        self.clock.advance(0.1)
        stuck, fine = self.successResultOf(running).checks
        self.assertEqual(
            (stuck.status, stuck.message, stuck.duration),
            (UNHEALTHY, "health check timed out", 5.0),
        )
        self.assertIs(fine.status, HEALTHY)
        self.assertEqual(ended, ["x"])

    def test_a_check_that_ignores_its_cancellation_does_not_pile_up(self):
        begun: list[Deferred[None]] = []

        async def stubborn():
            begun.append(Deferred())
            try:
                await begun[-1]
            except CancelledError:
                begun.append(Deferred())
                await begun[-1]
            return CheckResult(HEALTHY)

        self.checks.register("stubborn", stubborn)
        first = self.begin()
        self.clock.advance(5)
        self.successResultOf(first)
        self.clock.advance(1)
        again = self.run_now()
        self.assertEqual(again.checks[0].message, "health check timed out")
        self.assertEqual(len(begun), 2)
        begun[-1].callback(None)
        self.clock.advance(1)
        third = self.begin()
        begun[-1].callback(None)
        self.assertIs(self.successResultOf(third).status, HEALTHY)

    def test_expected_failures_say_why_and_bugs_do_not(self):
        faults: list[Any] = [StoreError("the disk is full"), ZeroDivisionError("inner")]

        def fail():
            raise faults[0]

        self.checks.register("store", fail)
        (check,) = self.run_now().checks
        self.assertEqual((check.status, check.message), (UNHEALTHY, "the disk is full"))
        self.checks = HealthChecks(self.clock, lambda: NOON)
        faults.pop(0)
        self.checks.register("store", fail)
        (check,) = self.run_now().checks
        self.assertIs(check.status, UNHEALTHY)
        self.assertNotIn("inner", check.message)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(1)
        self.run_now()
        self.assertEqual(self.flushLoggedErrors(ZeroDivisionError), [])

    def test_a_report_is_kept_for_a_second(self):
        runs: list[int] = []

        def check():
            runs.append(1)
            return CheckResult(HEALTHY)

        self.checks.register("counted", check)
        for _ in range(1000):
            self.run_now()
        self.clock.advance(0.9)
        self.run_now()
        self.assertEqual(len(runs), 1)
        self.clock.advance(0.1)
        self.run_now()
        self.assertEqual(len(runs), 2)

    def test_callers_share_one_run_and_may_leave_it(self):
        waits: list[Deferred[CheckResult]] = []

        def check():
            waits.append(Deferred())
            return waits[-1]

        self.checks.register("shared", check)
        first, second, third = self.begin(), self.begin(), self.begin()
        first.addErrback(lambda _: None)
        first.cancel()
        third.addErrback(lambda _: None)
        third.cancel()
        self.assertEqual(len(waits), 1)
        waits[0].callback(CheckResult(HEALTHY))
        self.assertIs(self.successResultOf(second).status, HEALTHY)

    def test_a_change_of_status_is_logged_once(self):
        lines: list[tuple[str, str]] = []

        def add_line(event):
            text = event["log_format"].format(**event)
            lines.append((event["log_level"].name, text))

        note: Any = add_line

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        status = [UNHEALTHY]
        words = {UNHEALTHY: "gone", HEALTHY: ""}
        self.checks.register("store", lambda: CheckResult(status[0], words[status[0]]))
        for status[0] in (HEALTHY, UNHEALTHY, UNHEALTHY, HEALTHY, HEALTHY):
            self.run_now()
            self.clock.advance(1)
        self.assertEqual(
            lines,
            [
                ("warn", "health check store is unhealthy: gone"),
                ("info", "health check store is healthy"),
            ],
        )
