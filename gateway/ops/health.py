"""Is this process fit to serve: named checks, run side by side, with a deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from gateway.errors import GatewayError

KEEP_SECONDS: Final = 1.0  # a report this young is given again; floods cost nothing


class HealthStatus(StrEnum):
    """How fit something is, from best to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


_BADNESS: Final = {status: rank for rank, status in enumerate(HealthStatus)}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        message: for people; empty if there is nothing to say.
    """

    status: HealthStatus
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """One check's part of a report.

    Attributes:
        duration: seconds that the check took.
    """

    name: str
    status: HealthStatus
    message: str
    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """All checks' results.

    Attributes:
        status: the worst of the checks'; healthy if there is none.
        checks: in the order of registration.
        timestamp: Unix seconds of the report's end.
    """

    status: HealthStatus
    checks: tuple[CheckReport, ...]
    timestamp: float


Check = Callable[[], Awaitable[CheckResult] | CheckResult]

_TIMED_OUT: Final = CheckResult(HealthStatus.UNHEALTHY, "health check timed out")
_FAILED: Final = CheckResult(
    HealthStatus.UNHEALTHY, "health check failed; the log has the details"
)


class HealthChecks:
    """Run all registered checks on demand, at most once a second."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        timeout_seconds: float = 5.0,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._timeout_seconds = timeout_seconds
        self._checks: dict[str, Check] = {}
        self._under_way: set[str] = set()
        self._last_status: dict[str, HealthStatus] = {}
        self._waiting: list[Deferred[HealthReport]] | None = None
        self._report: HealthReport | None = None
        self._reported_at = 0.0

    def register(self, name: str, check: Check) -> None:
        """Add a check to all later runs.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._checks:
            raise ValueError(f"there is a health check {name!r} already")
        self._checks[name] = check
        self._report = None

    async def run(self) -> HealthReport:
        """Return a report at most a second old.

        Callers that come while the checks run share that run; one that is
        cancelled does not end it for the others.
        """
        now = self._clock.seconds()
        if self._report is not None and now - self._reported_at < KEEP_SECONDS:
            return self._report
        wait: Deferred[HealthReport] = Deferred()
        if self._waiting is not None:
            self._waiting.append(wait)
        else:
            self._waiting = [wait]
            Deferred.fromCoroutine(self._run_all()).addErrback(self._abandon)
        return await wait

    async def _run_all(self) -> None:
        runs = [
            Deferred.fromCoroutine(self._run_one(name, check))
            for name, check in self._checks.items()
        ]
        checks = tuple([await run for run in runs])  # they have all begun by now
        status = max((c.status for c in checks), key=_BADNESS.__getitem__, default=None)
        report = HealthReport(
            status=status or HealthStatus.HEALTHY,
            checks=checks,
            timestamp=self._wall_clock(),
        )
        self._report, self._reported_at = report, self._clock.seconds()
        waiting, self._waiting = self._waiting or [], None
        for wait in waiting:
            if not wait.called:
                wait.callback(report)

    def _abandon(self, failure: Failure) -> None:
        waiting, self._waiting = self._waiting or [], None
        for wait in waiting:
            if not wait.called:
                wait.errback(failure)

    async def _run_one(self, name: str, check: Check) -> CheckReport:
        began = self._clock.seconds()
        result = await self._result(name, check)
        if self._last_status.get(name, HealthStatus.HEALTHY) is not result.status:
            healthy = result.status is HealthStatus.HEALTHY
            self._log.emit(
                LogLevel.info if healthy else LogLevel.warn,
                "health check {name} is {status}{detail}",
                name=name,
                status=result.status.value,
                detail=f": {result.message}" if result.message else "",
            )
        self._last_status[name] = result.status
        return CheckReport(
            name=name,
            status=result.status,
            message=result.message,
            duration=self._clock.seconds() - began,
        )

    def _result(self, name: str, check: Check) -> Deferred[CheckResult]:
        """Return the check's result, or the verdict that it took too long.

        A check that ignores its cancellation is not started a second time beside
        itself, so that it cannot pile up.
        """
        if name in self._under_way:
            return succeed(_TIMED_OUT)
        self._under_way.add(name)
        result: Deferred[CheckResult] = Deferred()
        running = Deferred.fromCoroutine(self._guarded(name, check))

        def give_up() -> None:
            result.callback(_TIMED_OUT)
            running.cancel()

        deadline = self._clock.callLater(self._timeout_seconds, give_up)

        def done(found: CheckResult) -> None:
            self._under_way.discard(name)
            if not result.called:
                deadline.cancel()
                result.callback(found)

        running.addCallback(done)
        running.addErrback(lambda _: self._under_way.discard(name))  # cancelled
        return result

    async def _guarded(self, name: str, check: Check) -> CheckResult:
        try:
            found = check()
            return found if isinstance(found, CheckResult) else await found
        except CancelledError:
            raise
        except GatewayError as fault:
            return CheckResult(HealthStatus.UNHEALTHY, str(fault))
        except Exception:  # noqa: BLE001 - a broken check must not hide the others
            if self._last_status.get(name) is not HealthStatus.UNHEALTHY:
                self._log.failure("health check {name} failed", name=name)
            return _FAILED
