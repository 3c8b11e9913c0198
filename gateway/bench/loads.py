"""What a load worker is asked to do, and what it counted.

Both cross the border between two processes as one line of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

from gateway.bench.latency import Latencies
from gateway.bench.usage import Usage

LARGEST_MESSAGE: Final = 16 << 20  # bytes
SMALLEST_CHECKED: Final = 9  # bytes; a sequence number and one byte behind it


class Kind(StrEnum):
    """What goes over a connection."""

    ECHO = "echo"  # a message, its echo, the next message
    CHECKED = "checked"  # the same with a pause, every byte of the echo compared
    DOWNLOAD = "download"  # one way, from the far end
    UPLOAD = "upload"  # one way, to the far end

    @property
    def echoes(self) -> bool:
        """Whether everything that is sent comes back."""
        return self in (Kind.ECHO, Kind.CHECKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The task of one worker.

    Attributes:
        host: a literal address.
        size: bytes of a message, or of one write if the way is one-way.
    """

    kind: Kind
    host: str
    port: int
    connections: int
    size: int
    seconds: float

    def line(self) -> bytes:
        """Return the load as a line of JSON."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Load:
        """Read what `line` has written."""
        content = json.loads(line)
        return cls(**(content | {"kind": Kind(content["kind"])}))


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was counted.

    Attributes:
        seconds: from the first byte to the last that is counted, or to the end of
            sending if that came later.
        messages: echoes that came back right; 0 if the way is one-way.
        failed: echoes that came back wrong or not at all.
        lost: connections that could not be made, or ended too early.
        size_bytes: payload that arrived, counted once if it is echoed.
        latencies: the time from each message to its echo.
        usage: shares of the time, of the busiest of the workers.
        fault: the first thing that went wrong, empty if nothing did.
    """

    seconds: float = 0.0
    messages: int = 0
    failed: int = 0
    lost: int = 0
    size_bytes: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    usage: Usage = field(default_factory=Usage)
    fault: str = ""

    def note(self, fault: str) -> None:
        """Keep the first thing that went wrong."""
        self.fault = self.fault or fault

    @property
    def sound(self) -> bool:
        """Whether nothing at all went wrong."""
        return not (self.failed or self.lost or self.fault)

    @property
    def success(self) -> float | None:
        """The share of messages that came back right; None if there were none."""
        tried = self.messages + self.failed
        return self.messages / tried if tried else None

    @property
    def bytes_a_second(self) -> float:
        """The speed, 0 if nothing was measured."""
        return self.size_bytes / self.seconds if self.seconds else 0.0

    @property
    def messages_a_second(self) -> float:
        """The rate of echoes, 0 if nothing was measured."""
        return self.messages / self.seconds if self.seconds else 0.0

    def content(self) -> dict[str, object]:
        """Return the tally as JSON has it."""
        plain: dict[str, object] = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        return plain | {"latencies": self.latencies.content()}

    @classmethod
    def of_content(cls, content: dict[str, object]) -> Tally:
        """Read what `content` has returned."""
        latencies = Latencies.of_content(content.pop("latencies"))
        usage = Usage(*content.pop("usage"))  # type: ignore[misc] # own JSON
        return cls(latencies=latencies, usage=usage, **content)  # type: ignore[arg-type] # own JSON

    @classmethod
    def together(cls, tallies: Sequence[Tally]) -> Tally:
        """Return what several workers counted side by side."""
        whole = cls(
            seconds=max((one.seconds for one in tallies), default=0.0),
            latencies=Latencies.together([one.latencies for one in tallies]),
            usage=max((one.usage for one in tallies), key=sum, default=Usage()),
        )
        for one in tallies:
            whole.messages += one.messages
            whole.failed += one.failed
            whole.lost += one.lost
            whole.size_bytes += one.size_bytes
            whole.note(one.fault)
        return whole


_PLAIN_FIELDS: Final = (
    "seconds",
    "messages",
    "failed",
    "lost",
    "size_bytes",
    "usage",
    "fault",
)
