"""How long a legacy link may still be paused for its slow streams.

Without credit, one slow stream can only be waited for by not reading the whole
link.  That is bounded: 5 seconds in any 30.
"""

from __future__ import annotations

from collections import deque
from typing import Final

PAUSED_SECONDS: Final = 5.0
WITHIN_SECONDS: Final = 30.0


class PauseAllowance:
    """Bookkeeping of the pauses of one link; every `now` is monotonic seconds."""

    __slots__ = ("_began", "_past")

    def __init__(self) -> None:
        self._past: deque[tuple[float, float]] = deque()
        self._began: float | None = None

    def begin(self, now: float) -> None:
        """Note that the link is paused."""
        if self._began is None:
            self._began = now

    def end(self, now: float) -> None:
        """Note that the link is read again."""
        if self._began is not None:
            self._past.append((self._began, now))
            self._began = None

    def left(self, now: float) -> float:
        """Return the seconds that the link may be (or stay) paused, 0 or more."""
        horizon = now - WITHIN_SECONDS
        past = self._past
        while past and past[0][1] <= horizon:
            past.popleft()
        used = sum(stop - max(start, horizon) for start, stop in past)
        if self._began is not None:
            used += now - max(self._began, horizon)
        return max(0.0, PAUSED_SECONDS - used)
