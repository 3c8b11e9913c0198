"""Read the last lines of a log file, and those that are added, over its rotations."""

from __future__ import annotations

import io
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

from gateway.cli.exits import FailedError
from gateway.ops.levels import LEVELS

POLL_SECONDS: Final = 0.25
LONGEST_LINE: Final = 1 << 20  # bytes; what is longer is shown in parts
_TEXT: Final = re.compile(r"\S+ \[([A-Z]+)\] (\S+): ")
_RANKS: Final = {label.upper(): rank for rank, label in enumerate(LEVELS)}


class Filter(NamedTuple):
    """Which lines are asked for.

    Attributes:
        level: lowest level; None = all.
        component: with all below it; None = all.
        trace: of one visitor; None = all.
    """

    level: str | None = None
    component: str | None = None
    trace: str | None = None

    def admits(self, level: str, component: str, trace: bool) -> bool:
        """Tell whether a line is asked for; `trace` = it has the one asked for."""
        if self.trace is not None and not trace:
            return False
        if self.level is not None:
            least = _RANKS[self.level.upper()]
            if _RANKS.get(level, least) < least:
                return False
        wanted = self.component
        return (
            wanted is None or component == wanted or component.startswith(f"{wanted}.")
        )


class Sieve:
    """Lets lines of a file pass that are asked for, of either form.

    Lines without a head, such as a traceback's, go with the line before them.
    """

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._passing = wanted == Filter()
        self._trace = None
        if wanted.trace is not None:
            self._trace = re.compile(rf"(?<![\w-]){re.escape(wanted.trace)}(?![\w-])")

    def passes(self, line: str) -> bool:
        """Tell whether a line is asked for."""
        if line.startswith("{"):
            record = _object(line)
            if record is not None:
                self._passing = self._wanted.admits(
                    str(record.get("level", "")),
                    str(record.get("component", "")),
                    record.get("trace") == self._wanted.trace,
                )
                return self._passing
        found = _TEXT.match(line)
        if found is not None:
            has_trace = self._trace is not None and self._trace.search(line) is not None
            self._passing = self._wanted.admits(found[1], found[2], has_trace)
        return self._passing


def _object(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class LogFollower:
    """Reads one file by its name."""

    def __init__(self, path: str, wanted: Filter) -> None:
        """Open the file.

        Raises:
            FailedError: it cannot be read.
        """
        self._path = path
        self._sieve = Sieve(wanted)
        self._file = self._open()
        self._behind = 0  # size of a file that was put aside, once it was read

    def _open(self) -> BinaryIO:
        try:
            return open(self._path, "rb")
        except OSError as fault:
            raise FailedError(
                f"cannot read {self._path}: {fault.strerror or fault}"
            ) from None

    def last(self, count: int) -> list[str]:
        """Return the last lines that are asked for; reading goes on behind them."""
        return list(deque(self._new(), maxlen=count))

    def follow(self, sleep: Callable[[float], None]) -> Iterator[str]:
        """Yield lines as they are added, without end.

        A file that was put aside is read to its end, then the new one of its name; one
        that was cut is read from its beginning.
        """
        while True:
            yield from self._new()
            if not self._turned_over():
                sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _new(self) -> Iterator[str]:
        while raw := self._file.readline(LONGEST_LINE):
            if not raw.endswith(b"\n") and len(raw) < LONGEST_LINE:
                self._file.seek(-len(raw), io.SEEK_CUR)  # it is being written
                return
            line = raw.decode("utf-8", "backslashreplace").rstrip("\n")
            if self._sieve.passes(line):
                yield line

    def _turned_over(self) -> bool:
        """Go to the next file if there is one; tell whether there may be lines."""
        ours = os.fstat(self._file.fileno())
        try:
            named = os.stat(self._path)
        except OSError:
            return False  # it is being put aside
        if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
            if self._behind < ours.st_size:  # written since the last look
                self._behind = ours.st_size
                return True
            self._file.close()
            self._file = self._open()
            self._behind = 0
            return True
        if ours.st_size < self._file.tell():
            self._file.seek(0)
            return True
        return False
