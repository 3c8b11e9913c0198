"""One line for each connection that is over, for those who count and bill them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from time import gmtime, strftime, time
from typing import IO, Final, Literal, NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gateway.ops.log_files import LineWriter
from gateway.ops.log_lines import timestamp
from gateway.ops.logs import InfoLogger
from gateway.wire.plain import escaped

AccessForm = Literal["combined", "json"]
_LOG: Final = InfoLogger("gateway.access")
_LOSSES: Final = Logger()
_encode: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class Visited(NamedTuple):
    """A connection of a visitor, from accept to end.

    Attributes:
        visitor: its address and port; the announced one where a balancer announces.
        port: public port.
        mapping_name: free text; may be empty.
        agent: that reached the target; None = the gateway did, or nobody.
        target: host and port.
        open_seconds: until the target was reached; None = it was not.
        duration_seconds: from accept to end.
        bytes_sent: from the visitor to the target.
        bytes_received: from the target to the visitor.
        reason: why it ended.
        trace: its id in all logs.
    """

    visitor: str
    port: int
    mapping_name: str
    agent: str | None
    target: str
    open_seconds: float | None
    duration_seconds: float
    bytes_sent: int
    bytes_received: int
    reason: str
    trace: str


def combined(visit: Visited, started_at_unix: float) -> str:
    """Return the line of a connection, its fields in order and parted by blanks.

    VISITOR [START] PORT "MAPPING" AGENT TARGET OPEN DURATION SENT RECEIVED "REASON"
    TRACE; `-` stands for what there is not.
    """
    opened = "-" if visit.open_seconds is None else f"{visit.open_seconds:.3f}"
    return (
        f"{visit.visitor} [{_clf_time(int(started_at_unix))}] {visit.port} "
        f"{_quoted(visit.mapping_name)} {visit.agent or '-'} {visit.target} "
        f"{opened} {visit.duration_seconds:.3f} {visit.bytes_sent} "
        f"{visit.bytes_received} {_quoted(visit.reason)} {visit.trace}"
    )


def as_json(visit: Visited, started_at_unix: float) -> str:
    """Return the line of a connection as an object with the names of its fields."""
    record = visit._asdict()
    for key in ("open_seconds", "duration_seconds"):
        if record[key] is not None:
            record[key] = round(record[key], 6)
    return _encode({"timestamp": timestamp(started_at_unix), **record})


def _quoted(text: str) -> str:
    if not text:
        return '"-"'
    return '"' + escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


@lru_cache(maxsize=64)
def _clf_time(second: int) -> str:
    return strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(second))


class AccessLog:
    """Writes a line for each connection that is over."""

    def __init__(
        self,
        form: AccessForm,
        file: IO[str] | None,
        redact: Callable[[str], str] = str,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        """Remember what lines look like and where they go.

        Args:
            form: `combined` or `json`.
            file: takes whole lines; None = they stand in the log itself.
            redact: takes secrets out of a line.
            wall_clock: Unix seconds.
        """
        self._wall_clock = wall_clock
        self._line = combined if form == "combined" else as_json
        self._writer = (
            None if file is None else LineWriter(file, None, _tell_lost, redact=redact)
        )

    def note(self, visit: Visited) -> None:
        """Write the line of one connection."""
        line = self._line(visit, self._wall_clock() - visit.duration_seconds)
        if self._writer is None:
            _LOG.say(line, **visit._asdict())
        else:
            self._writer.add(f"{line}\n")

    def gather(self, clock: IReactorTime) -> None:
        """From now on, let lines wait for each other a moment."""
        if self._writer is not None:
            self._writer.gather(clock)

    def release(self) -> None:
        """Write what waits, and from now on each line at once; may be called twice."""
        if self._writer is not None:
            self._writer.release()

    def reopen(self) -> None:
        """Open the file anew, which another program may have put aside."""
        if self._writer is not None:
            self._writer.reopen()


def _tell_lost(count: int) -> None:
    """Say in the log itself what was lost: these lines have no place for it."""
    _LOSSES.warn("{lines} lines of the access log lost", lines=count)
