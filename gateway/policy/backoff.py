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
        max_attempts: tries without success until it is given up; 0 = never.
    """

    initial: float
    multiplier: float
    maximum: float
    jitter: float = 0.0
    max_attempts: int = 0

    def used_up(self, failures: int) -> bool:
        """Return whether to give up after so many tries without success."""
        return 0 < self.max_attempts <= failures

    def delay(self, waits: int, random: Callable[[], float]) -> float:
        """Return the seconds to wait before the next try.

        Args:
            waits: how many there were since the last success; 0 = this is the first.
            random: returns a random number from 0 to below 1.
        """
        return self._wait(waits) * (1 - self.jitter * random())

    def longest(self) -> float:
        """Return the seconds that no wait exceeds, and that one may reach."""
        last = self.max_attempts - 1 if self.max_attempts else _LARGEST_EXPONENT
        return self._wait(last)

    def _wait(self, waits: int) -> float:
        try:
            growth = float(self.multiplier) ** min(waits, _LARGEST_EXPONENT)
        except OverflowError:
            return self.maximum
        return min(self.maximum, self.initial * growth)
