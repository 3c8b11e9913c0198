"""How many bytes may be under way on one stream, in each direction.

Credit goes back when bytes have *left* for the near socket's kernel, never when
they arrive; that is the whole back-pressure scheme.  A window that slows its stream
down grows, as long as there is memory.

Doubling is too slow for a long path that loses packets: TCP settles for the rate that
it saw while the window was small.  So a window grows by as much as the arriving bytes
prove that it is too small, up to eight times what it was, and up to what a fast path
of that round trip needs.
"""

from __future__ import annotations

from typing import Final, Protocol

from gateway.errors import CreditError
from gateway.wire.frames import MAX_CREDIT

UNLIMITED: Final = 1 << 62
FAST_PATH: Final = 80_000_000  # bytes a second
MOST_GROWTH: Final = 8  # times, at once
PATIENCE: Final = 4.0  # times as slow a stream may be bulk behind lost packets
SHARE: Final = 16  # part of the room for growth that a window may take to grow so


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


class ReceiveCredit:
    """What we let the peer send.

    Attributes:
        first: the window that the stream began with, bytes.
        window: bytes that may be unspent or held together.
        unspent: bytes that the peer may still send.
        mark: unspent and held bytes together at which credit is due.
        since: monotonic seconds of the last grant, or of the beginning.
    """

    __slots__ = ("first", "mark", "since", "unspent", "window")

    def __init__(self, window: int, now: float = 0.0) -> None:
        self.first = self.window = self.unspent = window
        self.mark = window // 2
        self.since = now

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
        return due

    def wanted(
        self,
        held: int,
        now: float,
        round_trip: float,
        most: int,
        reached: int = 0,
    ) -> int:
        """Return how large the window should be, at least what it is.

        It should be larger if the reader keeps up and what is due now was used up in
        about the time that credit takes to reach the sender and bytes to come back.

        Args:
            held: bytes received that the near socket's kernel has not taken.
            now: monotonic seconds.
            round_trip: seconds.
            most: bytes up to which it may more than double.
            reached: window of an earlier stream of the link, which a stream that may
                be bulk gets at once.
        """
        window = wanted = self.window
        if held * 4 > window:
            return window
        known = min(int(round_trip * FAST_PATH), most, reached)
        most = min(int(round_trip * FAST_PATH), most, MOST_GROWTH * window)
        most = max(most, 2 * window)
        seconds = now - self.since
        needed = 2 * round_trip * (window - self.unspent - held)
        while wanted * 2 <= most and seconds * wanted <= needed:
            wanted *= 2
        if known > wanted and seconds * window <= PATIENCE * needed:
            return known
        return wanted

    def widen(self, size: int) -> None:
        """Let the window grow by `size` bytes, which are due at once."""
        self.window += size
        self.mark = self.window // 2

    def narrow(self, held: int) -> int:
        """Go back towards the first window as far as was not granted already.

        Returns:
            By how many bytes it has shrunk.
        """
        window = max(self.first, self.unspent + held)
        size, self.window = self.window - window, window
        self.mark = window // 2
        return size
