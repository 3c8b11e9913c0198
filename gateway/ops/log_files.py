"""Files that log lines go to, and how lines wait for each other on their way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Final, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.logfile import LogFile
from typing_extensions import override

from gateway.wire.plain import encodable

# how long a line may wait for others, so that many visitors cost one write; what a
# killed process can lose
GATHER_SECONDS: Final = 0.05
GATHER_CHARACTERS: Final = 32768


class RotatingFile(LogFile):
    """A file of bounded size that another program may put aside or cut, too.

    It is appended to, so that what a program that cuts it leaves behind has no gap,
    and its size is the real one.
    """

    @override
    def _openFile(self) -> None:
        self._file = open(  # noqa: SIM115 - closed by `close`
            self.path, "ab", 0, opener=lambda name, flags: os.open(name, flags, 0o640)
        )
        self.size = self._file.seek(0, os.SEEK_END)
        self.closed = False
        if self.defaultMode is not None and os.path.isfile(self.path):
            os.chmod(self.path, self.defaultMode)

    def close(self) -> None:
        """Close it; a closed one takes no lines until it is opened again."""
        if not self.closed:
            super().close()

    @override
    def shouldRotate(self) -> bool:
        """Tell whether the next line belongs into a new file."""
        return bool(self.rotateLength and self._file.tell() >= self.rotateLength)


def open_log(path: str | None, max_bytes: int, keep: int) -> IO[str]:
    """Return where lines go: a file of bounded size, or standard output.

    Args:
        path: None = standard output.
        max_bytes: size at which the file is put aside and a new one begun.
        keep: how many of the old ones are kept, at least 1.

    Raises:
        OSError: the file cannot be written.
    """
    if path is None:
        return sys.stdout
    folder, name = os.path.split(os.path.abspath(path))
    file = RotatingFile(
        name,
        folder,
        rotateLength=max_bytes,
        maxRotatedFiles=max(1, keep),
        defaultMode=0o640,
    )
    return cast("IO[str]", file)  # it has what a writer uses


class LineWriter:
    """Writes whole lines to a file, each at once until `gather` is called."""

    def __init__(
        self,
        file: IO[str],
        line_of_lost: Callable[[int], str] | None = None,
        tell_lost: Callable[[int], None] | None = None,
        *,
        redact: Callable[[str], str] | None = None,
    ) -> None:
        """Remember where lines go.

        Args:
            file: takes them.
            line_of_lost: returns the line that says how many were lost.
            tell_lost: is told the number when lines are taken again.
            redact: takes secrets out of lines, many at a time.
        """
        self._redact = redact
        self._file = file
        self._line_of_lost = line_of_lost
        self._tell_lost = tell_lost
        self._lines: list[str] = []
        self._size = 0
        self._lost = 0
        self._clock: IReactorTime | None = None
        self._flush_call: IDelayedCall | None = None

    def add(self, line: str, urgent: bool = False) -> None:
        """Write a line, or let it wait for others unless it is urgent."""
        self._lines.append(line)
        self._size += len(line)
        if urgent or self._clock is None or self._size > GATHER_CHARACTERS:
            self.flush()
        elif self._flush_call is None:
            self._flush_call = self._clock.callLater(GATHER_SECONDS, self.flush)

    def gather(self, clock: IReactorTime) -> None:
        """From now on, let lines that are not urgent wait for each other a moment."""
        self._clock = clock

    def release(self) -> None:
        """Write what waits, and from now on each line at once; may be called twice."""
        self._clock = None
        self.flush()

    def flush(self) -> None:
        """Write what waits; what a full disk does not take is counted and lost."""
        if self._flush_call is not None:
            if self._flush_call.active():
                self._flush_call.cancel()
            self._flush_call = None
        lines, self._lines = self._lines, []
        self._size = 0
        if not lines:
            return
        lost, count = self._lost, len(lines)
        if lost and self._line_of_lost is not None:
            lines.insert(0, self._line_of_lost(lost))
        text = "".join(lines)
        if self._redact is not None:
            text = self._redact(text)
        try:
            if getattr(self._file, "closed", False):
                self._open_again()
            self._write(text)
            self._file.flush()
        except OSError:
            self._lost += count
            return
        self._lost = 0
        if lost and self._tell_lost is not None:
            self._tell_lost(lost)

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
        except UnicodeEncodeError as fault:  # nothing of the text is written yet
            self._file.write(encodable(text, fault.encoding))

    def reopen(self) -> None:
        """Write what waits and open the file of that name, which may be a new one.

        One that cannot be opened is tried again with each write.
        """
        self.flush()
        with suppress(OSError):
            self._open_again()

    def _open_again(self) -> None:
        file: object = self._file
        if isinstance(file, RotatingFile):
            file.reopen()
