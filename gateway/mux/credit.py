"""How many bytes may be under way on one stream, in each direction.

Credit goes back when bytes have *left* for the near socket's kernel, never when
they arrive; that is the whole back-pressure scheme.  A window that slows its stream
down grows, as long as there is memory.

Doubling is too slow for a long path that loses packets: TCP settles for the rate that
it saw while the window was small.  So a stream that has used up its first window gets
at once what a fast path of that round trip would need.  Some round trips later the
rate of the stream is known, and a window that is far too large for it shrinks again.
"""

from __future__ import annotations

from typing import Final, Protocol

from gateway.errors import CreditError
from gateway.wire.frames import MAX_CREDIT

UNLIMITED: Final = 1 << 62
PRESUMED_RATE: Final = 40_000_000  # bytes a second of a path, until the rate is known
PRESUMED_SHARE: Final = 16  # part of the room for growth that one stream may take then
PATIENCE: Final = 2.0  # how much slower than others the first bytes may be
TRIAL_ROUND_TRIPS: Final = 32.0  # until a connection has found its rate
SPAN_ROUND_TRIPS: Final = 4.0  # over which a rate is measured
NEEDED: Final = 4  # bandwidth-delay products that a stream needs where packets are lost


class SendCredit:
    """What the peer lets us send.

    Attributes:
        left: bytes that may be sent now.
        frame_limit: Data bytes of one frame at most: what the peer accepts, and a
            quarter of the largest credit so far, so that the peer can repay while
            more is under way; at least 1.
    """

    __slots__ = ("_largest", "_longest", "frame_limit", "left")

    def __init__(self, window: int, longest_frame: int) -> None:
        self.left = window
        self._largest = window
        self._longest = longest_frame
        self.frame_limit = max(1, min(longest_frame, window // 4))

    def grant(self, amount: int) -> None:
        """Add credit that the peer announced.

        Raises:
            CreditError: the sum is above 2^31-1.
        """
        left = self.left + amount
        if left > MAX_CREDIT:
            raise CreditError(f"credit of {left} bytes, {MAX_CREDIT} at most")
        self.left = left
        if left > self._largest:
            self._largest = left
            self.frame_limit = max(1, min(self._longest, left // 4))


class Memory(Protocol):
    """What all streams of the process share; `policy.budget.Budget` is one."""

    @property
    def room(self) -> int:
        """Bytes by which windows may still grow."""

    @property
    def tight(self) -> bool:
        """Whether credit is repaid sparingly."""

    def grow(self, size: int) -> bool:
        """Let a window grow by `size` bytes; False if memory is short."""

    def shrink(self, size: int) -> None:
        """Take back what a window had grown."""

    def hold(self, size: int) -> None:
        """Count bytes that wait in this process."""

    def let_go(self, size: int) -> None:
        """Count bytes that wait no longer."""


class Plenty:
    """Memory without a limit."""

    room: Final = UNLIMITED
    tight: Final = False

    def grow(self, size: int) -> bool:
        """Let every window grow."""
        return True

    def shrink(self, size: int) -> None:
        """Nothing was counted."""

    hold = let_go = shrink


class Trial:
    """Measure what a stream makes of a window that was presumed to be right for it.

    The best of several short spans counts, because waits for lost packets and the
    beginning of a connection are slow spans of a fast path.

    Attributes:
        granted: bytes that might have arrived since the trial began.
        goal: bytes that the window is to shrink to; 0 = it need not.
    """

    __slots__ = ("_arrived", "_best", "_ends", "_since", "goal", "granted")

    def __init__(self, unspent: int, now: float, round_trip: float) -> None:
        self._ends: float | None = now + TRIAL_ROUND_TRIPS * round_trip
        self._since = now
        self._arrived = 0  # by then
        self._best = 0.0  # bytes a second
        self.granted = unspent
        self.goal = 0

    def judge(self, receiving: ReceiveCredit, now: float, round_trip: float) -> None:
        """Look at the rate; at the end of the trial set the goal, once.

        Args:
            receiving: what has the window.
            now: monotonic seconds.
            round_trip: seconds.
        """
        seconds = now - self._since
        if self._ends is None or seconds < SPAN_ROUND_TRIPS * round_trip:
            return
        arrived = self.granted - receiving.unspent
        self._best = max(self._best, (arrived - self._arrived) / seconds)
        self._since, self._arrived = now, arrived
        if now >= self._ends:
            self._ends = None
            needed = int(NEEDED * self._best * round_trip)
            if receiving.window > 2 * needed:
                self.goal = max(receiving.first, needed)


class ReceiveCredit:
    """What we let the peer send.

    Attributes:
        first: the window that the stream began with, bytes.
        window: bytes that may be unspent or held together.
        unspent: bytes that the peer may still send.
        mark: unspent and held bytes together at which credit is due.
        since: monotonic seconds of the last grant, or of the beginning.
        trial: of a window that more than doubled; None = there was none.
    """

    __slots__ = ("first", "mark", "since", "trial", "unspent", "window")

    def __init__(self, window: int, now: float = 0.0) -> None:
        self.first = self.window = self.unspent = window
        self.mark = window // 2
        self.since = now
        self.trial: Trial | None = None

    def charge(self, amount: int) -> None:
        """Take arriving bytes off the credit.

        Raises:
            CreditError: the peer overran its credit.
        """
        if amount > self.unspent:
            raise CreditError(f"{amount} bytes with a credit of {self.unspent}")
        self.unspent -= amount

    def due(self, held: int) -> int:
        """Return the credit to announce now, and count it as granted.

        Args:
            held: bytes received that the near socket's kernel has not taken.

        Returns:
            0, or at least half a window, so that small reads cause no storm of
            WINDOW frames.
        """
        if self.unspent + held > self.mark:
            return 0
        due = self.window - self.unspent - held
        self.unspent += due
        if self.trial is not None:
            self.trial.granted += due
        return due

    def limits(self, held: int, now: float, round_trip: float) -> bool:
        """Tell whether a larger window would make the stream faster.

        It would if the reader keeps up and what is due now was used up in about the
        time that credit takes to reach the sender and bytes to come back.

        Args:
            held: bytes received that the near socket's kernel has not taken.
            now: monotonic seconds.
            round_trip: seconds.
        """
        used = self.window - self.unspent - held
        hurried = (now - self.since) * self.window <= 2 * round_trip * used
        return hurried and held * 4 <= self.window

    def wanted(self, held: int, now: float, round_trip: float, most: int) -> int:
        """Return how large the window should be, at least what it is.

        Args:
            held: bytes received that the near socket's kernel has not taken.
            now: monotonic seconds.
            round_trip: seconds.
            most: bytes that may be granted without knowing the rate.
        """
        presumed = min(int(round_trip * PRESUMED_RATE), most)
        if self.trial is None and presumed > self.window:
            if not self.limits(held, now, PATIENCE * round_trip):
                return self.window
            return presumed if self.window > self.first else 2 * self.window
        limits = self.limits(held, now, round_trip)
        return 2 * self.window if limits else self.window

    def widen(self, size: int, now: float = 0.0, round_trip: float = 0.0) -> None:
        """Let the window grow by `size` bytes, which are due at once.

        More than double is on trial.

        Args:
            size: bytes.
            now: monotonic seconds.
            round_trip: seconds.
        """
        if size > self.window:
            self.trial = Trial(self.unspent, now, round_trip)
        self.window += size
        self.mark = self.window // 2

    def narrow(self, held: int, goal: int = 0) -> int:
        """Go back towards the first window as far as was not granted already.

        Args:
            held: bytes received that the near socket's kernel has not taken.
            goal: bytes to go back to, if they are more than the first window.

        Returns:
            By how many bytes it has shrunk.
        """
        window = min(self.window, max(self.first, goal, self.unspent + held))
        size, self.window = self.window - window, window
        self.mark = window // 2
        return size
