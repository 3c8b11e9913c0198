"""Where log lines go, and what they look like."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import IO, Final, cast

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
)
from twisted.python.logfile import LogFile

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
    label = _LABELS.get(getattr(level, "name", ""), "INFO")
    time = _time(int(event.get("log_time") or 0))
    component = event.get("log_namespace", "-")
    lines = [f"{time} [{label}] {component}: {_escaped(message)}"]
    if failure is not None:
        trace = failure.getTraceback().rstrip("\n").split("\n")
        lines += ["    " + _escaped(line) for line in trace]
    return "".join(f"{line}\n" for line in lines)


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


@lru_cache(maxsize=4)
def _time(seconds: int) -> str:
    """Return the time as it stands in a line; lines of one second share it."""
    return formatTime(seconds)


def _escaped(text: str) -> str:
    if _CONTROL.search(text) is None:
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


def log_observer(file: IO[str], level: str) -> ILogObserver:
    """Return an observer for everything at or above `level`.

    Lines of Twisted itself appear from warnings upward only, unless the level is
    debug.
    """
    wanted = LogLevelFilterPredicate(LEVELS[level])
    if level != "debug":
        wanted.setLogLevelForNamespace("twisted", LogLevel.warn)
        wanted.setLogLevelForNamespace("log_legacy", LogLevel.warn)
    return FilteringLogObserver(FileLogObserver(file, format_line), [wanted])
