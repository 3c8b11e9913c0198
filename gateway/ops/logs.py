"""Where log lines go, and what they look like."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from time import time as wall_time
from typing import IO, Final, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    formatTime,
    globalLogPublisher,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

LEVELS: Final[Mapping[str, LogLevel]] = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
    "fatal": LogLevel.critical,
}
# also what some programs take for the end of a line, what changes the direction of
# the text behind it, and halves of surrogate pairs, which a file cannot hold
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LABELS: Final = {level.name: label.upper() for label, level in LEVELS.items()}
_RANKS: Final = {level.name: rank for rank, level in enumerate(LEVELS.values())}
_WARN: Final = _RANKS["warn"]
_OTHERS: Final = ("twisted", "log_legacy")

# how long a line may wait for others, so that many visitors cost one write; what a
# killed process can lose
GATHER_SECONDS: Final = 0.05
GATHER_CHARACTERS: Final = 32768


def format_line(event: LogEvent) -> str | None:
    """Return one line: time, level, component, message; a traceback behind it.

    Line ends and other control characters inside of the message are escaped and
    the traceback is indented, so that nobody who can put text into the log can
    forge a line or command the terminal that shows it.
    """
    message = _message(event)
    failure = event.get("log_failure")
    if not message and failure is None:
        return None
    level = event.get("log_level", LogLevel.info)
    space = event.get("log_namespace", "-")
    start = _start(
        int(event.get("log_time") or 0), getattr(level, "name", ""), str(space)
    )
    line = f"{start}{_escaped(message)}\n"
    if failure is None:
        return line
    trace = failure.getTraceback().rstrip("\n").split("\n")
    return line + "".join(f"    {_escaped(found)}\n" for found in trace)


def _message(event: LogEvent) -> str:
    """Return the event's text.

    Our own formats name fields and nothing else, which the language itself formats
    many times faster than Twisted, whose formats may also call.
    """
    form = event.get("log_format")
    if type(form) is str and "()" not in form:
        try:
            return form.format_map(event)
        except Exception:  # noqa: BLE001 - a field's own fault; Twisted says which
            return formatEvent(event)
    return formatEvent(event)


@lru_cache(maxsize=64)
def _start(second: int, level: str, namespace: str) -> str:
    """Return how a line begins; those of one second and component share it."""
    label = _LABELS.get(level, "INFO")
    return f"{formatTime(second)} [{label}] {namespace}: "


def _escaped(text: str) -> str:
    if text.isprintable() or _CONTROL.search(text) is None:
        return text
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


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
    file = LogFile(
        name,
        folder,
        rotateLength=max_bytes,
        maxRotatedFiles=max(1, keep),
        defaultMode=0o640,
    )
    return cast("IO[str]", file)  # it has what an observer uses


@implementer(ILogObserver)
class LineObserver:
    """Write everything at or above one level, a line each.

    Lines of Twisted itself appear from warnings upward only, unless the level is
    debug.  Each line is written at once until `gather` is called.
    """

    def __init__(self, file: IO[str], level: str) -> None:
        """Remember where lines go.

        Args:
            file: takes whole lines.
            level: one of `LEVELS`, the least that is written.
        """
        self._file = file
        self._least = _RANKS[LEVELS[level].name]
        self._quiet = max(self._least, _WARN) if level != "debug" else self._least
        self._lines: list[str] = []
        self._size = 0
        self._lost = 0
        self._clock: IReactorTime | None = None
        self._flush_call: IDelayedCall | None = None

    def __call__(self, event: LogEvent) -> None:
        """Write or gather one event's line."""
        rank = _RANKS[getattr(event.get("log_level"), "name", "info")]
        if rank < self._quiet:
            space = event.get("log_namespace", "")
            least = self._quiet if space.startswith(_OTHERS) else self._least
            if rank < least:
                return
        line = format_line(event)
        if line is None:
            return
        self._lines.append(line)
        self._size += len(line)
        if self._clock is None or rank >= _WARN or self._size > GATHER_CHARACTERS:
            self.flush()
        elif self._flush_call is None:
            self._flush_call = self._clock.callLater(GATHER_SECONDS, self.flush)

    def gather(self, clock: IReactorTime) -> None:
        """From now on, let lines below a warning wait for each other a moment."""
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
        if self._lost:
            start = _start(int(wall_time()), "error", __name__)
            lines.insert(0, f"{start}{self._lost} lines lost\n")
        try:
            self._file.write("".join(lines))
            self._file.flush()
        except OSError:
            self._lost += len(lines) - bool(self._lost)
        else:
            self._lost = 0


class InfoLogger:
    """Say at info level what happens with each visitor.

    Its events are those of `twisted.logger.Logger`, which looks all levels up for
    each of them, and that alone takes longer than to write the line.
    """

    def __init__(self, namespace: str, observer: ILogObserver | None = None) -> None:
        """Remember where events go; None = to everybody who observes the process."""
        self._namespace = namespace
        self._observer = globalLogPublisher if observer is None else observer

    def info(self, form: str, **fields: object) -> None:
        """Emit one event.

        Args:
            form: names fields, and nothing else, in braces.
            fields: their values.
        """
        fields["log_format"] = form
        fields["log_level"] = LogLevel.info
        fields["log_namespace"] = self._namespace
        fields["log_time"] = wall_time()
        fields["log_logger"] = self
        fields["log_source"] = None
        self._observer(fields)
