"""What takes some seconds to answer: one at a time, and never longer than allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

MOST_SECONDS: Final = 120.0
T = TypeVar("T")


class BusyError(Exception):
    """Another measurement runs."""


class Measuring:
    """At most one measurement at a time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._running: str | None = None

    async def measure(
        self,
        name: str,
        seconds: float,
        begin: Callable[[], T],
        end: Callable[[T], bytes],
        abandon: Callable[[T], object],
    ) -> bytes:
        """Begin, wait, end, and return what the end gives.

        Args:
            name: for those who come meanwhile.
            seconds: how long it lasts.
            begin: starts to measure.
            end: stops it and returns the answer.
            abandon: stops it instead, when nobody waits any more.

        Raises:
            BusyError: another one runs.
        """
        if self._running is not None:
            raise BusyError(f"{self._running} is under way; come again when it is over")
        self._running = name
        try:
            measured = begin()
            try:
                await self._pause(seconds)
            except BaseException:
                abandon(measured)
                raise
            return end(measured)
        finally:
            self._running = None

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds)
