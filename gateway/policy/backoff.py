"""How long to wait before the next try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LARGEST_EXPONENT: Final = 2**53  # every whole number up to here is a float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that grow by a factor up to a longest one.

    Attributes:
        initial: first wait, seconds.
        multiplier: factor from one wait to the next, at least 1.
        maximum: longest wait, seconds.
        jitter: share of each wait that is random, 0..1; waits only get shorter.
        max_attempts: retries until it is given up; 0 = never.
    """

    initial: float
    multiplier: float
    maximum: float
    jitter: float = 0.0
    max_attempts: int = 0

    def delay(self, attempt: int, random: Callable[[], float]) -> float | None:
        """Return the seconds to wait before a retry, or None to give up.

        Args:
            attempt: retries made since the last success; 0 = this is the first.
            random: returns a random number from 0 to below 1.
        """
        if self.max_attempts and attempt >= self.max_attempts:
            return None
        return self._wait(attempt) * (1 - self.jitter * random())

    def longest(self) -> float:
        """Return the seconds that no wait exceeds, and that one may reach."""
        last = self.max_attempts - 1 if self.max_attempts else _LARGEST_EXPONENT
        return self._wait(last)

    def _wait(self, attempt: int) -> float:
        try:
            growth = float(self.multiplier) ** min(attempt, _LARGEST_EXPONENT)
        except OverflowError:
            return self.maximum
        return min(self.maximum, self.initial * growth)
