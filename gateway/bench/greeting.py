"""The first line each way, by which one port of the far end serves every mode.

    load to far end   gotunnel-bench 1 echo|source|sink SIZE
    far end to load   gotunnel-bench 1 ok RAN WAITED

RAN and WAITED are the seconds of `Usage`.  After that, `echo` sends back what
comes.  `source` waits for one byte and then pours, in writes of SIZE bytes, until
the connection ends.  `sink` swallows, and tells the bytes it has had so far, as 8
big-endian bytes, whenever their number reaches or passes a multiple of `STEP`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from gateway.bench.usage import Usage

LONGEST_LINE: Final = 64  # bytes, the newline included
STEP: Final = 1 << 18  # bytes
START: Final = b"g"
_NAME: Final = "gotunnel-bench"
_VERSION: Final = "1"


class Part(StrEnum):
    """What the far end plays on one connection."""

    ECHO = "echo"
    SOURCE = "source"
    SINK = "sink"


class Command(NamedTuple):
    """What is asked of the far end.

    Attributes:
        size: bytes of one write of a source.
    """

    part: Part
    size: int

    def line(self) -> bytes:
        """Return the line that says it."""
        return f"{_NAME} {_VERSION} {self.part} {self.size}\n".encode("ascii")

    @classmethod
    def of_line(cls, line: bytes) -> Command:
        """Read a line.

        Raises:
            ValueError: it is no command of this version.
        """
        match line.decode("ascii").split():
            case [name, version, part, size] if (name, version) == (_NAME, _VERSION):
                command = cls(Part(part), int(size))
            case _:
                raise ValueError("no command of a benchmark")
        if not 1 <= command.size <= 1 << 30:
            raise ValueError(f"a size of {command.size} bytes")
        return command


def answer_line(usage: Usage) -> bytes:
    """Return what the far end says to a command that it understands."""
    return f"{_NAME} {_VERSION} ok {usage.ran:.6f} {usage.waited:.6f}\n".encode("ascii")


def usage_of(answer: bytes, command: bytes) -> Usage | None:
    """Read an answer.

    Returns:
        what the far end has done so far; None if a plain echo server sent the
        command back.

    Raises:
        ValueError: whoever answers is neither.
    """
    if answer == command:
        return None
    match answer.decode("ascii").split():
        case [name, version, "ok", ran, waited] if (name, version) == (_NAME, _VERSION):
            return Usage(float(ran), float(waited))
    raise ValueError("no far end of a benchmark")
