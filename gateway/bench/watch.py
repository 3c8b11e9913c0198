"""The time of one load: when it ends, and what happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 10.0  # for what is still under way at the end
_clock = time.perf_counter


class Watch:
    """Says when sending ends, and when waiting for the rest does.

    Attributes:
        started: when the load began, on the clock of `time.perf_counter`.
        until: when sending ends; 0 once somebody asked to stop.
        next_tick: when `tick` is due.
    """

    __slots__ = ("_tick", "next_tick", "patient_until", "started", "until")

    def __init__(self, seconds: float, tick: Callable[[], bool]) -> None:
        """Begin.

        Args:
            seconds: how long to send.
            tick: is called ten times a second; True = stop now.
        """
        self._tick = tick
        self.started = _clock()
        self.until = self.started + seconds
        self.patient_until = self.until + PATIENCE_SECONDS
        self.next_tick = self.started + TICK_SECONDS

    @property
    def asked_to_stop(self) -> bool:
        """Whether the end came before its time."""
        return not self.until

    def lasted(self, until_last: float) -> float:
        """Return how many seconds the load has lasted, now that it is over.

        A silence before the end of sending counts: what stopped halfway was not fast.

        Args:
            until_last: seconds until the last byte that was counted.
        """
        now = _clock()
        end = now if self.asked_to_stop else min(now, self.until)
        return max(until_last, end - self.started)

    def goes_on(self, now: float) -> bool:
        """Let pass what is due; return False once nothing is waited for any more."""
        if now >= self.next_tick:
            self.next_tick = now + TICK_SECONDS
            if self._tick() and not self.asked_to_stop:
                self.until = 0.0
                self.patient_until = now
        return now < self.patient_until
