"""What a log line looks like, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from time import gmtime, strftime
from typing import Final

from twisted.logger import LogEvent, LogLevel, formatEvent, formatTime

from gateway.ops.levels import NAMES
from gateway.wire.plain import escaped, json_escaped

_LABELS: Final = {name: label.upper() for name, label in NAMES.items()}
_PLAIN: Final = (str, int, float, bool, type(None))
_FIXED: Final = frozenset({"timestamp", "level", "service", "message", "component"})
# words of the message alone, and what Twisted's older log adds to each event
_NOT_CONTEXT: Final = frozenset(
    {"phrase", "format", "message", "time", "system", "isError", "failure", "printed"}
)
LONGEST_FIELD: Final = 2000  # characters of one context field
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Formatter = Callable[[LogEvent], str | None]


def format_line(event: LogEvent) -> str | None:
    """Return one line: time, level, component, message; a traceback behind it.

    Line ends and other control characters inside of the message are escaped and
    the traceback is indented, so that nobody who can put text into the log can
    forge a line or command the terminal that shows it.
    """
    message = message_of(event)
    failure = event.get("log_failure")
    if not message and failure is None:
        return None
    level = event.get("log_level", LogLevel.info)
    space = event.get("log_namespace", "-")
    start = line_start(
        int(event.get("log_time") or 0), getattr(level, "name", ""), str(space)
    )
    line = f"{start}{escaped(message)}\n"
    if failure is None:
        return line
    trace = failure.getTraceback().rstrip("\n").split("\n")
    return line + "".join(f"    {escaped(found)}\n" for found in trace)


def message_of(event: LogEvent) -> str:
    """Return the event's text.

    Our own formats name fields and nothing else, which the language itself formats
    many times faster than Twisted, whose formats may also call.
    """
    text = event.get("log_text")
    if type(text) is str:
        return text
    form = event.get("log_format")
    if type(form) is str and "()" not in form:
        try:
            return form.format_map(event)
        except Exception:  # noqa: BLE001 - a field's own fault; Twisted says which
            return formatEvent(event)
    return formatEvent(event)


@lru_cache(maxsize=64)
def line_start(second: int, level: str, namespace: str) -> str:
    """Return how a line begins; those of one second and component share it."""
    label = _LABELS.get(level, "INFO")
    return f"{formatTime(second)} [{label}] {namespace}: "


class JsonLines:
    """Makes a line of JSON of each event, for one service."""

    def __init__(self, service: str) -> None:
        """Remember whose lines these are."""
        self._service = service

    def __call__(self, event: LogEvent) -> str | None:
        """Return one line: an object, in which control characters are escaped."""
        found = record_of(event, self._service)
        if found is None:
            return None
        return json_escaped(_encode(found)) + "\n"


def record_of(event: LogEvent, service: str) -> dict[str, object] | None:
    """Return an event as the keys of a JSON line; None if it says nothing.

    `timestamp`, `level`, `service`, `message` and `component` come first, then the
    event's own fields, and `traceback` if something failed.
    """
    message = message_of(event)
    failure = event.get("log_failure")
    if not message and failure is None:
        return None
    moment = event.get("log_time") or 0.0
    level = getattr(event.get("log_level"), "name", "info")
    record: dict[str, object] = {
        "timestamp": timestamp(moment),
        "level": _LABELS.get(level, "INFO"),
        "service": service,
        "message": message,
        "component": str(event.get("log_namespace", "-")),
    }
    for key, value in event.items():
        if key[:4] == "log_" or value is None or key in _NOT_CONTEXT:
            continue
        if type(value) is not int:
            value = _plain(value)
        record[f"{key}_" if key in _FIXED else key] = value
    if failure is not None:
        record["traceback"] = failure.getTraceback().rstrip("\n")
    return record


def _plain(value: object) -> object:
    if type(value) not in _PLAIN:
        value = str(value)
    if type(value) is str:
        return value if len(value) <= LONGEST_FIELD else value[:LONGEST_FIELD]
    if type(value) is float:
        return round(value, 6) if abs(value) < float("inf") else str(value)
    return value


def timestamp(moment: float) -> str:
    """Return a time (Unix seconds) as ISO 8601 in UTC, with milliseconds and `Z`."""
    second = int(moment)
    return f"{_second(second)}.{int((moment - second) * 1000):03d}Z"


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
