"""Give many things the same time each, on one timer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol as Seam

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger


class Due(Seam):
    """Whoever may run out of time."""

    def timed_out(self) -> None:
        """The time is over."""


class Deadlines:
    """Who waits, in the order in which they came.

    After the time was shortened, who came before is told first all the same.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        """Remember how long each may wait.

        Args:
            clock: tells the time.
            seconds: the same for all.
        """
        self._clock = clock
        self._seconds = seconds
        self._waiting: OrderedDict[Due, float] = OrderedDict()
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def configure(self, seconds: float) -> None:
        """Let those who come from now on wait for another time."""
        self._seconds = seconds

    def add(self, one: Due) -> None:
        """Begin to wait; `one` is not waiting yet."""
        self._waiting[one] = self._clock.seconds() + self._seconds
        if self._call is None:
            self._call = self._clock.callLater(self._seconds, self._look)

    def discard(self, one: Due) -> None:
        """Wait no longer; no error if it does not wait."""
        if self._waiting.pop(one, None) is not None and not self._waiting:
            self._stop()

    def _stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        """Tell those whose time is over, and come back for the next one."""
        self._call = None
        now = self._clock.seconds()
        while self._waiting:
            one, due = next(iter(self._waiting.items()))
            if due > now:
                self._call = self._clock.callLater(due - now, self._look)
                return
            del self._waiting[one]
            try:
                one.timed_out()
            except Exception:  # noqa: BLE001 - the others are told all the same
                self.log.failure("{one} failed to time out", one=one)
