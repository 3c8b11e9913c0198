"""How many links an agent holds, and which of them gets the next stream.

One TCP connection is slow on a long path that loses packets, however many streams it
carries, so an agent that is told to choose opens more while links are what limits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

LONG_ROUND_TRIP: Final = 0.005  # seconds; below it one link is as fast as many
BUSY_BYTES: Final = 262144  # arriving between two looks, on a link that is in use
PRESSED_LOOKS: Final = 2  # before the first link is added
GROWTH: Final = 4  # times as many links at a look
REST_SECONDS: Final = 300.0  # without pressure until there is one link again
RETRY_SECONDS: Final = 300.0  # until more links are tried than the gateway took
WEIGHT_BYTES: Final = 262144  # moved within a second that count as much as a stream
MOST_WEIGHT: Final = 8.0  # streams; a dead link moves nothing and must not attract all


class LinkUse(NamedTuple):
    """One link of an agent since the last look.

    Attributes:
        streams: live ones.
        waiting: bytes for the gateway wait for room on the link.
        arrived: bytes that came from the gateway.
        round_trip: shortest that was measured lately, in seconds; None = none was.
    """

    streams: int
    waiting: bool
    arrived: int
    round_trip: float | None


class LinkCount:
    """Decide how many links are wanted.

    Attributes:
        wanted: 1 up to the limit.
        limit: how many the gateway takes.
    """

    __slots__ = ("_pressed", "_pressed_at", "_refused_at", "limit", "wanted")

    def __init__(self) -> None:
        self.wanted = self.limit = 1
        self._pressed = 0
        self._pressed_at = 0.0
        self._refused_at: float | None = None

    def look(self, links: Iterable[LinkUse], now: float) -> int:
        """Return how many links are wanted now.

        More are wanted while there are more streams than links and a link is pressed;
        one is wanted after 5 minutes without pressure.  A stream stays on its link, so
        that a single one needs no other.

        Args:
            links: those that are up.
            now: monotonic seconds.
        """
        links = list(links)
        streams = sum(link.streams for link in links)
        if streams > 1 and any(map(_pressed, links)):
            self._pressed += 1
            self._pressed_at = now
        else:
            self._pressed = 0
        if self._pressed >= PRESSED_LOOKS and self._may_grow(now):
            most = min(self.limit, streams, GROWTH * max(1, len(links)))
            self.wanted = max(self.wanted, most)
        elif now - self._pressed_at >= REST_SECONDS:
            self.wanted = 1
        self.wanted = min(self.wanted, self.limit)
        return self.wanted

    def _may_grow(self, now: float) -> bool:
        refused_at = self._refused_at
        return refused_at is None or now - refused_at >= RETRY_SECONDS

    def refused(self, count: int, now: float) -> None:
        """Stay with the links that are up for 5 minutes: one more was not to be had.

        Args:
            count: links that are up.
            now: monotonic seconds.
        """
        self.wanted = max(1, min(self.wanted, count))
        self._refused_at = now


def _pressed(link: LinkUse) -> bool:
    """Return whether a link on a long path has as much to do as it can.

    What waits at the gateway is not seen here; that much arrives is.
    """
    if link.round_trip is None or link.round_trip < LONG_ROUND_TRIP:
        return False
    return link.waiting or (link.streams > 1 and link.arrived >= BUSY_BYTES)


class Recent:
    """Bytes that a link moved within the last second or so."""

    __slots__ = ("_at", "_moved", "_recent")

    def __init__(self) -> None:
        self._at = 0.0
        self._moved = 0
        self._recent = 0.0

    def weight(self, moved: int, now: float) -> float:
        """Return what they count as, in streams: 0 up to 8.

        Args:
            moved: bytes ever moved.
            now: monotonic seconds.
        """
        seconds, self._at = now - self._at, now
        left = max(0.0, 1.0 - seconds)
        self._recent = self._recent * left + (moved - self._moved) / max(1.0, seconds)
        self._moved = moved
        return min(MOST_WEIGHT, self._recent / WEIGHT_BYTES)
