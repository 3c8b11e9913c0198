"""How log lines get from who says something to a file."""

from __future__ import annotations

from collections.abc import Callable
from time import time as wall_time
from typing import IO, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from gateway.ops.levels import RANKS, WARN, Levels
from gateway.ops.log_files import LineWriter
from gateway.ops.log_lines import Formatter, format_line
from gateway.ops.repeats import Repeats

_NAMESPACE: Final = __name__


@implementer(ILogObserver)
class LineObserver:
    """Write everything at or above its component's level, a line each.

    Equal warnings are summed up once there is a clock.

    Attributes:
        levels: decide what is written.
    """

    def __init__(
        self,
        file: IO[str] | None,
        levels: Levels | str,
        form: Formatter = format_line,
        *,
        redact: Callable[[str], str] | None = None,
        keep: Callable[[LogEvent], None] | None = None,
    ) -> None:
        """Remember where lines go.

        Args:
            file: takes whole lines; None = they are kept by `keep` alone.
            levels: the least that is written, of each component or of all.
            form: makes a line of an event.
            redact: takes secrets out of a line.
            keep: is given each event that is written.
        """
        self.levels = Levels(levels) if isinstance(levels, str) else levels
        self._form = form
        self._keep = keep
        self._repeats = Repeats(self._write)
        self._writer = (
            None if file is None else LineWriter(file, self._lost, redact=redact)
        )

    def __call__(self, event: LogEvent) -> None:
        """Write or gather one event's line."""
        rank = RANKS[getattr(event.get("log_level"), "name", "info")]
        if rank < self.levels.least(event.get("log_namespace") or ""):
            return
        if rank >= WARN and self._repeats.holds_back(event):
            return
        self._write(event, urgent=rank >= WARN)

    def _write(self, event: LogEvent, *, urgent: bool = True) -> None:
        if self._keep is not None:
            self._keep(event)
        if self._writer is None:
            return
        line = self._form(event)
        if line is None:
            return
        self._writer.add(line, urgent)

    def _lost(self, count: int) -> str:
        event: LogEvent = {
            "log_format": "{lines} lines lost",
            "lines": count,
            "log_level": LogLevel.error,
            "log_namespace": _NAMESPACE,
            "log_time": wall_time(),
        }
        return self._form(event) or ""

    def gather(self, clock: IReactorTime) -> None:
        """From now on, let lines below a warning wait for each other a moment."""
        self._repeats.start(clock)
        if self._writer is not None:
            self._writer.gather(clock)

    def release(self) -> None:
        """Write what waits, and from now on each line at once; may be called twice."""
        self._repeats.stop()
        if self._writer is not None:
            self._writer.release()

    def flush(self) -> None:
        """Write what waits; what a full disk does not take is counted and lost."""
        if self._writer is not None:
            self._writer.flush()

    def reopen(self) -> None:
        """Open the file anew, which another program may have put aside."""
        if self._writer is not None:
            self._writer.reopen()


class InfoLogger:
    """Say what happens with each visitor, at info or debug level.

    Its events are those of `twisted.logger.Logger`, which looks all levels up for
    each of them, and that alone takes longer than to write the line.  Their fields
    are plain values that nobody changes.
    """

    def __init__(self, namespace: str, observer: ILogObserver | None = None) -> None:
        """Remember where events go; None = to everybody who observes the process."""
        self._namespace = namespace
        self._observer = globalLogPublisher if observer is None else observer

    def info(self, form: str, **fields: object) -> None:
        """Emit one event.

        Args:
            form: names fields, and nothing else, in braces.
            fields: their values: text, numbers and None.
        """
        self._emit(LogLevel.info, form, fields)

    def say(self, text: str, **fields: object) -> None:
        """Emit one event whose words stand already; fields as above."""
        fields["log_text"] = text
        self._emit(LogLevel.info, "{log_text}", fields)

    def debug(self, form: str, **fields: object) -> None:
        """Emit one event that most do not want to see; arguments as above."""
        self._emit(LogLevel.debug, form, fields)

    def _emit(self, level: object, form: str, fields: dict[str, object]) -> None:
        fields["log_format"] = form
        fields["log_level"] = level
        fields["log_namespace"] = self._namespace
        fields["log_time"] = wall_time()
        fields["log_logger"] = self
        fields["log_source"] = None
        self._observer(fields)
