"""How many frames without use a link may send.

A frame is without use if a peer that keeps the protocol has no reason to send it:
one of unknown kind, Data or WINDOW without bytes, an answer to no question, a
keep-alive that is not answered, a frame for an id that was never seen.  What comes
late, for an id that closed a short while ago, is nobody's fault.
"""

from __future__ import annotations

from typing import Final

USELESS_A_SECOND: Final = 1000
USELESS_AT_ONCE: Final = 4000


class UselessFrames:
    """What is left of the allowance of one link; it fills at a steady rate."""

    __slots__ = ("_left", "_then")

    def __init__(self) -> None:
        self._left = float(USELESS_AT_ONCE)
        self._then = 0.0

    def allow(self, now: float) -> bool:
        """Count one more frame; return False if it is one too many.

        Args:
            now: monotonic seconds.
        """
        earned = (now - self._then) * USELESS_A_SECOND
        self._left = min(USELESS_AT_ONCE, self._left + earned) - 1
        self._then = now
        return self._left >= 0
