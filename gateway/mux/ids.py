"""Which stream ids are free, live or just closed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from typing import Final

from gateway.wire.frames import MAX_ID

TOMBSTONE_SECONDS: Final = 120.0
MAX_TOMBSTONES: Final = 10_000


class Tombstones:
    """Ids that were closed a short while ago.

    An id is remembered for 2 minutes or until 10 000 newer ones, whichever is
    less.
    """

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        # a plain dict would look through the places of all that left at its front
        self._closed: OrderedDict[int, float] = OrderedDict()

    def __contains__(self, stream_id: object) -> bool:
        return stream_id in self._closed

    def __len__(self) -> int:
        return len(self._closed)

    def add(self, stream_id: int, now: float) -> None:
        """Remember an id that closes at `now`."""
        closed = self._closed
        closed.pop(stream_id, None)
        closed[stream_id] = now
        if len(closed) > MAX_TOMBSTONES:
            closed.popitem(last=False)

    def discard(self, stream_id: int) -> None:
        """Forget an id that is used again."""
        self._closed.pop(stream_id, None)

    def expire(self, now: float) -> None:
        """Forget what closed 2 minutes before `now`."""
        closed = self._closed
        while closed:
            if closed[next(iter(closed))] + TOMBSTONE_SECONDS > now:
                return
            closed.popitem(last=False)


class Allocator:
    """Give out ids: from the first upward, then again past 2^32-1, never 0."""

    __slots__ = ("_least", "_next", "_step")

    def __init__(self, first: int = 1, step: int = 1) -> None:
        self._next = first
        self._step = step
        self._least = (first - 1) % step + 1

    def gives(self, stream_id: int) -> bool:
        """Return whether an id is one of those that are given out here."""
        return (stream_id - self._least) % self._step == 0

    def take(self, live: Container[int], closed: Container[int]) -> int:
        """Return the next id that is neither live nor just closed.

        There always is one: both tables are far smaller than the range.
        """
        while True:
            found = self._next
            after = found + self._step
            self._next = after if after <= MAX_ID else self._least
            if found not in live and found not in closed:
                return found
