"""When to send a keep-alive, when to ask for the round trip, when a link is dead."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

DEAD_AFTER_INTERVALS: Final = 3
LEGACY_DEAD_SECONDS: Final = 45.0
ECHO_SECONDS: Final = 1.0
REMEMBERED_TRIPS: Final = 8


class Liveness:
    """The clock work of one link; every `now` is monotonic seconds.

    Any received byte counts as life.

    Attributes:
        rtt_seconds: the last measured round trip, or None.
    """

    __slots__ = (
        "_beat_at",
        "_echoed_at",
        "_heard_at",
        "_interval",
        "_legacy",
        "_nonce",
        "_pause_began",
        "_pinged_at",
        "_trips",
        "rtt_seconds",
    )

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._legacy = False
        self._heard_at = now
        self._beat_at = now
        self._echoed_at: float | None = None
        self._pinged_at: float | None = None
        self._nonce: bytes | None = None
        self._pause_began: float | None = None
        self.rtt_seconds: float | None = None
        self._trips = deque([math.inf] * REMEMBERED_TRIPS, REMEMBERED_TRIPS)

    def decide(self, interval: float, *, legacy: bool) -> None:
        """Take over what the opening of the link has settled."""
        self._interval = interval
        self._legacy = legacy

    @property
    def interval(self) -> float:
        """Seconds between keep-alives."""
        return self._interval

    @property
    def dead_seconds(self) -> float:
        """Silence after which the link is dead."""
        silence = DEAD_AFTER_INTERVALS * self._interval
        return max(LEGACY_DEAD_SECONDS, silence) if self._legacy else silence

    def heard(self, now: float) -> None:
        """Note that bytes arrived."""
        self._heard_at = now

    def pause(self, now: float) -> None:
        """Note that we stopped reading, so silence proves nothing."""
        if self._pause_began is None:
            self._pause_began = now

    def resume(self, now: float) -> None:
        """Note that we read again."""
        if self._pause_began is not None:
            self._heard_at += now - self._pause_began
            self._pause_began = None

    def dead_at(self) -> float:
        """Return the time from which the link is dead if nothing arrives."""
        return self._heard_at + self.dead_seconds

    def is_dead(self, now: float) -> bool:
        """Tell whether the peer has been silent for too long."""
        return self._pause_began is None and now >= self.dead_at()

    def beat_due(self, now: float) -> bool:
        """Tell whether a keep-alive is due, and count it as sent if so."""
        if now < self._beat_at + self._interval:
            return False
        self._beat_at = now
        return True

    def beat_at(self) -> float:
        """Return the time of the next keep-alive."""
        return self._beat_at + self._interval

    def echo_due(self, now: float) -> bool:
        """Tell whether a keep-alive that arrived is answered: once a second."""
        if self._echoed_at is not None and now < self._echoed_at + ECHO_SECONDS:
            return False
        self._echoed_at = now
        return True

    def ask(self, nonce: bytes, now: float) -> bool:
        """Tell whether a PING question may leave, and count it as sent if so.

        At most one question is outstanding.
        """
        if self._nonce is not None:
            return False
        self._nonce, self._pinged_at = nonce, now
        return True

    def answered(self, nonce: bytes, now: float) -> bool:
        """Take the answer to our question; False if it is not one."""
        if nonce != self._nonce or self._pinged_at is None:
            return False
        self.rtt_seconds = now - self._pinged_at
        self._trips.append(self.rtt_seconds)
        self._nonce = None
        return True

    @property
    def shortest(self) -> float | None:
        """Return the shortest of the last round trips: the path without its queues."""
        shortest = min(self._trips)
        return None if shortest == math.inf else shortest
