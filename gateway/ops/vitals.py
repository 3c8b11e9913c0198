"""How this process and its machine fare: the loop's delays, files, room on disks."""

from __future__ import annotations

import os
import resource
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.metrics.tallies import Histogram
from gateway.ops.descriptors import open_descriptors
from gateway.ops.health import CheckResult, HealthStatus

SAMPLE_SECONDS: Final = 0.5
SAMPLES: Final = 20  # ten seconds, so that a probe now and then sees a bad moment
LAG_BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
LAG_DEGRADED_SECONDS: Final = 0.25  # on average
LAG_UNHEALTHY_SECONDS: Final = 5.0  # at once

DISK_DEGRADED_BYTES: Final = 100 << 20
DISK_UNHEALTHY_BYTES: Final = 10 << 20
DESCRIPTORS_DEGRADED: Final = 0.9  # of the limit
_HEALTHY: Final = CheckResult(HealthStatus.HEALTHY)


class LoopLag:
    """Measures how late the reactor's timers are: nothing else is served meanwhile.

    Attributes:
        delays: seconds that timers were late, since the start.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.delays = Histogram(LAG_BOUNDS)
        self._lags = deque([0.0] * SAMPLES, SAMPLES)
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Measure from now on."""
        if self._timer is None:
            self._plan()

    def stop(self) -> None:
        """Measure no more; may be called twice."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _plan(self) -> None:
        self._due = self._clock.seconds() + SAMPLE_SECONDS
        self._timer = self._clock.callLater(SAMPLE_SECONDS, self._sample)

    def _sample(self) -> None:
        lag = max(0.0, self._clock.seconds() - self._due)
        self._lags.append(lag)
        self.delays.observe(lag)
        self._plan()

    @property
    def mean_seconds(self) -> float:
        """Average of the last ten seconds."""
        return sum(self._lags) / SAMPLES

    @property
    def worst_seconds(self) -> float:
        """Greatest of the last ten seconds."""
        return max(self._lags)

    def check(self) -> CheckResult:
        """Judge the last ten seconds."""
        if self.worst_seconds > LAG_UNHEALTHY_SECONDS:
            status, seconds = HealthStatus.UNHEALTHY, self.worst_seconds
        elif self.mean_seconds > LAG_DEGRADED_SECONDS:
            status, seconds = HealthStatus.DEGRADED, self.mean_seconds
        else:
            return _HEALTHY
        return CheckResult(status, f"timers of the process fire {seconds:.2f} s late")


def descriptor_limit() -> int:
    """Return how many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def check_descriptors(
    count: Callable[[], int | None] = open_descriptors,
    limit: Callable[[], int] = descriptor_limit,
) -> CheckResult:
    """Judge how many files are open."""
    used, most = count(), limit()
    if used is None or most < 0 or used <= DESCRIPTORS_DEGRADED * most:
        return _HEALTHY
    return CheckResult(
        HealthStatus.DEGRADED,
        f"{used} of {most} files are open; raise LimitNOFILE (ulimit -n)",
    )


def free_bytes(folder: str) -> int:
    """Return what an ordinary user can still write where a folder is.

    Raises:
        OSError: there is no such folder.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def disk_check(
    folders: dict[str, str],
    in_thread: Callable[[Callable[[], CheckResult]], Awaitable[CheckResult]],
    free: Callable[[str], int] = free_bytes,
) -> Callable[[], Awaitable[CheckResult]]:
    """Return the check of the room that is left.

    Args:
        folders: what is written there -> folder.
        in_thread: makes a call that may wait, for a disk that does not answer.
        free: tells the bytes left at a folder.
    """

    def look() -> CheckResult:
        results = [_judge(what, folder, free) for what, folder in folders.items()]
        bad = [one for one in results if one is not _HEALTHY]
        if not bad:
            return _HEALTHY
        unhealthy = any(one.status is HealthStatus.UNHEALTHY for one in bad)
        return CheckResult(
            HealthStatus.UNHEALTHY if unhealthy else HealthStatus.DEGRADED,
            "; ".join(one.message for one in bad),
        )

    return lambda: in_thread(look)


def _judge(what: str, folder: str, free: Callable[[str], int]) -> CheckResult:
    try:
        left = free(folder)
    except OSError as fault:
        return CheckResult(
            HealthStatus.DEGRADED, f"{what}: {folder}: {fault.strerror or fault}"
        )
    if left >= DISK_DEGRADED_BYTES:
        return _HEALTHY
    unhealthy = left < DISK_UNHEALTHY_BYTES
    return CheckResult(
        HealthStatus.UNHEALTHY if unhealthy else HealthStatus.DEGRADED,
        f"{what}: {left >> 20} MiB are free at {folder}; free some space",
    )
