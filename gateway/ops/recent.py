"""The last lines of the log, kept in memory for those who ask over the API."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from twisted.logger import LogEvent

from gateway.ops.levels import LEVELS
from gateway.ops.log_lines import record_of
from gateway.ops.logs import InfoLogger

MOST_LINES: Final = 2000
_RANKS: Final = {label.upper(): rank for rank, label in enumerate(LEVELS)}
Record = dict[str, Any]


class Wanted(NamedTuple):
    """Which lines somebody asks for.

    Attributes:
        least: rank of the lowest level.
        component: a component, with all below it; empty = all.
        trace: the id of one visitor; empty = all lines.
    """

    least: int = 0
    component: str = ""
    trace: str = ""

    def fits(self, record: Record) -> bool:
        """Tell whether a line is asked for."""
        component = str(record["component"])
        return (
            _RANKS[record["level"]] >= self.least
            and (not self.trace or record.get("trace") == self.trace)
            and (
                not self.component
                or component == self.component
                or component.startswith(f"{self.component}.")
            )
        )


class Lines(NamedTuple):
    """An answer.

    Attributes:
        records: oldest first, each with its `number`.
        last: number of the newest line looked at; ask for those after it next.
        lost: lines after the number asked for that are not kept any more.
    """

    records: list[Record]
    last: int
    lost: int


class RecentLines:
    """Keeps the newest lines, numbered from 1 since the process started.

    Attributes:
        epoch: tells the numbers of this process from those of another.
        last: number of the newest line; 0 = there is none.
    """

    def __init__(
        self, service: str, epoch: str, redact: Callable[[str], str] = str
    ) -> None:
        """Nothing is kept yet.

        Args:
            service: whose lines these are.
            epoch: unlike that of any other process.
            redact: takes secrets out of a text.
        """
        self.epoch: Final = epoch
        self.last = 0
        self._service = service
        self._redact = redact
        # events of plain values as they are, of others what was made of them
        self._kept: deque[LogEvent] = deque(maxlen=MOST_LINES)

    def keep(self, event: LogEvent) -> None:
        """Keep an event's line.

        Those of visitors are plain values and made into a line only if somebody asks;
        all else is made at once, since it may change or hold on to objects.
        """
        kept = event
        if type(event.get("log_logger")) is not InfoLogger:
            record = record_of(event, self._service)
            if record is None:
                return
            kept = record
        self.last += 1
        self._kept.append(kept)

    def after(self, number: int, count: int, wanted: Wanted) -> Lines:
        """Return lines that came after a number: the oldest `count` of them.

        Args:
            number: of a line that is known already; 0 = from the first that is kept.
            count: how many at most.
            wanted: which of them.
        """
        records: list[Record] = []
        first = self.last - len(self._kept) + 1
        last = max(number, first - 1)
        for at, record in self.each_after(number, wanted):
            last = at
            if record is not None:
                records.append(record)
                if len(records) >= count:
                    break
        return Lines(records, last, self.lost_after(number))

    def lost_after(self, number: int) -> int:
        """Return how many lines after a number are not kept any more."""
        return max(0, self.last - len(self._kept) - number)

    def each_after(
        self, number: int, wanted: Wanted
    ) -> Iterator[tuple[int, Record | None]]:
        """Return the lines that are kept now and came after a number, oldest first.

        Each has its number, and is None if it is not one of those asked for.
        """
        first = self.last - len(self._kept) + 1
        start = max(0, number - first + 1)
        kept = list(islice(self._kept, start, None))
        return (
            (at, self._record(at, event, wanted))
            for at, event in enumerate(kept, first + start)
        )

    def each_newest(self, wanted: Wanted) -> Iterator[Record | None]:
        """Return the lines that are kept now, newest first; None as above."""
        last, kept = self.last, list(self._kept)
        return (
            self._record(last - back, event, wanted)
            for back, event in enumerate(reversed(kept))
        )

    def newest(self, count: int, wanted: Wanted) -> Lines:
        """Return the newest `count` lines."""
        last = self.last
        found = (one for one in self.each_newest(wanted) if one is not None)
        records = list(islice(found, count))
        records.reverse()
        return Lines(records, last, 0)

    def _record(self, number: int, kept: LogEvent, wanted: Wanted) -> Record | None:
        record: Record | None = kept
        if "log_logger" in kept:
            record = record_of(kept, self._service)
        if record is None or not wanted.fits(record):
            return None
        shown = {
            key: self._redact(value) if isinstance(value, str) else value
            for key, value in record.items()
        }
        return {"number": number, **shown}
