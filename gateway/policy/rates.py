"""How much may be asked for in how much time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST_KEYS: Final = 4096
LEAST_BURST: Final = 10240  # bytes


class RateLimit:
    """Token buckets, one for each key; a full bucket is as good as none.

    Attributes:
        requests: what a bucket holds.
        per: seconds in which an empty one fills.
        rejected: how often there was nothing left.
    """

    __slots__ = ("_buckets", "per", "rejected", "requests")

    def __init__(self, requests: int, per: float) -> None:
        """All buckets are full.

        Args:
            requests: 1 or more.
            per: seconds, above 0.
        """
        self.requests = requests
        self.per = per
        self.rejected = 0
        # by key: what is left, and when that was; the longest unused comes first
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """Take one token, and return 0; or return the seconds until there is one.

        Args:
            key: whose bucket.
            now: monotonic seconds.
        """
        left, then = self._buckets.pop(key, (float(self.requests), now))
        left = min(self.requests, left + (now - then) * self.requests / self.per)
        taken = left >= 1
        self._buckets[key] = (left - 1 if taken else left, now)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        if taken:
            return 0.0
        self.rejected += 1
        return (1 - left) * self.per / self.requests


class Bucket:
    """Bytes that may pass now; it fills at a steady rate.

    Attributes:
        rate: bytes a second; may change at any time.
    """

    __slots__ = ("_left", "_then", "rate")

    def __init__(self, rate: int, now: float) -> None:
        """It is full.

        Args:
            rate: bytes a second, above 0.
            now: monotonic seconds.
        """
        self.rate = rate
        self._left = float(self.burst)
        self._then = now

    @property
    def burst(self) -> int:
        """Bytes that a full bucket holds: what passes in 10 ms, 10 KiB at least."""
        return max(self.rate // 100, LEAST_BURST)

    def left(self, now: float) -> float:
        """Return the bytes that may pass now; below 0 = too many have."""
        self._left = min(self.burst, self._left + (now - self._then) * self.rate)
        self._then = now
        return self._left

    def spend(self, count: int) -> None:
        """Let `count` bytes pass; `left` was asked just before."""
        self._left -= count

    def wait(self, count: int) -> float:
        """Return the seconds until `count` bytes may pass; 0 or more."""
        return max(0.0, (min(count, self.burst) - self._left) / self.rate)
