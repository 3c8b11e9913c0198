"""Sum up warnings and errors that say the same again and again."""

from __future__ import annotations

from collections.abc import Callable
from time import time as wall_time
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogEvent, LogLevel

from gateway.ops.log_lines import message_of

WINDOW_SECONDS: Final = 60.0
MOST_TOLD: Final = 256  # events told apart within a window; others are all written

_Same = tuple[object, ...]


class Repeats:
    """Lets the first of equal warnings pass, and counts those of the next minute.

    Events are equal that come from one component, have one level and say the same.
    An event whose words differ each time, by a delay perhaps, names in its field
    `log_same` what it is to be known by.  A fatal one without a failure is the last
    word of a process and always passes.
    """

    def __init__(self, emit: Callable[[LogEvent], None]) -> None:
        """Nothing is counted until there is a clock.

        Args:
            emit: writes the event that sums others up.
        """
        self._emit = emit
        self._clock: IReactorTime | None = None
        self._counts: dict[_Same, int] = {}
        self._latest: dict[_Same, LogEvent] = {}
        self._summary: IDelayedCall | None = None

    def start(self, clock: IReactorTime) -> None:
        """Count from now on."""
        self._clock = clock

    def stop(self) -> None:
        """Tell what was counted, and count no more; may be called twice."""
        self._clock = None
        if self._summary is not None:
            if self._summary.active():
                self._summary.cancel()
            self._summarise()
        self._counts.clear()

    def holds_back(self, event: LogEvent) -> bool:
        """Count an event; tell whether it was said already, and is not to be again."""
        failed = event.get("log_failure") is not None
        fatal = event.get("log_level") is LogLevel.critical
        if self._clock is None or (fatal and not failed):
            return False
        same = _same(event)
        if same in self._counts:
            self._counts[same] += 1
            self._latest[same] = event
            return True
        if len(self._counts) < MOST_TOLD:
            self._counts[same] = 0
            if self._summary is None:
                self._summary = self._clock.callLater(WINDOW_SECONDS, self._summarise)
        return False

    def _summarise(self) -> None:
        self._summary = None
        latest, self._latest = self._latest, {}
        # who was told of just now has had this minute's line already
        counts, self._counts = self._counts, dict.fromkeys(latest, 0)
        if self._counts and self._clock is not None:
            self._summary = self._clock.callLater(WINDOW_SECONDS, self._summarise)
        for same, event in latest.items():
            self._emit(_summed_up(event, counts[same]))


def _same(event: LogEvent) -> _Same:
    words = event.get("log_same")
    failure = event.get("log_failure")
    return (
        event.get("log_namespace"),
        event.get("log_level"),
        message_of(event) if words is None else words,
        None if failure is None else (failure.type, str(failure.value)),
    )


def _summed_up(event: LogEvent, count: int) -> LogEvent:
    """Return the event that stands for `count` equal ones, the latest of them."""
    summary = {key: value for key, value in event.items() if key != "log_failure"}
    words = message_of(event)
    failure = event.get("log_failure")
    if failure is not None:
        words = f"{words}: {failure.type.__name__}: {failure.value}"
    summary["log_words"] = words
    summary["log_format"] = "{log_words} ({repeats} times more in the last minute)"
    summary["repeats"] = count
    summary["log_time"] = wall_time()
    return summary
