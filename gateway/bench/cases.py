"""The modes of the benchmark, and the cases that each is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from gateway.bench.loads import Kind

LEVELS: Final = (1, 2, 5, 10, 20, 50, 100)
_KIB: Final = 1024
SIZES: Final = (
    64,
    256,
    512,
    *(_KIB * size for size in (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024)),
)
BANDWIDTHS: Final = (
    *((connections, 64 * _KIB) for connections in (1, 5, 10, 20, 50)),
    *((connections, 128 * _KIB) for connections in (10, 20, 50)),
    *((connections, 256 * _KIB) for connections in (10, 20)),
)
USUAL_SIZE: Final = 1024
USUAL_CONNECTIONS: Final = 4
ONE_WAY_SIZE: Final = 64 * _KIB
ONE_WAY_CONNECTIONS: Final = 5


class Mode(StrEnum):
    """What is measured; the value is how the command spells it."""

    SPEED = "speed"
    RELIABILITY = "reliability"
    CONCURRENT = "concurrent"
    SIZES = "sizes"
    BANDWIDTH = "bandwidth"
    UPLOAD = "upload"
    DOWNLOAD = "download"


class Case(NamedTuple):
    """One measurement.

    Attributes:
        size: bytes of a message, or of one write if the way is one-way.
    """

    kind: Kind
    connections: int
    size: int


# the settings that a mode leaves to the user; the others are what it varies
TAKES_SIZE: Final = frozenset(Mode) - {Mode.SIZES, Mode.BANDWIDTH}
TAKES_CONNECTIONS: Final = frozenset(Mode) - {Mode.CONCURRENT, Mode.BANDWIDTH}

_KINDS: Final = {
    Mode.RELIABILITY: Kind.CHECKED,
    Mode.UPLOAD: Kind.UPLOAD,
    Mode.DOWNLOAD: Kind.DOWNLOAD,
}


def cases_of(mode: Mode, size: int | None, connections: int | None) -> list[Case]:
    """Return what a mode measures, in order.

    Args:
        mode: what is measured.
        size: bytes, None = as the mode has it.
        connections: how many, None = as the mode has it.
    """
    kind = _KINDS.get(mode, Kind.ECHO)
    match mode:
        case Mode.CONCURRENT:
            return [Case(kind, level, size or USUAL_SIZE) for level in LEVELS]
        case Mode.SIZES:
            return [Case(kind, connections or 1, one) for one in SIZES]
        case Mode.BANDWIDTH:
            return [Case(kind, *one) for one in BANDWIDTHS]
        case Mode.UPLOAD | Mode.DOWNLOAD:
            usual = ONE_WAY_CONNECTIONS, ONE_WAY_SIZE
        case _:
            usual = USUAL_CONNECTIONS, USUAL_SIZE
    return [Case(kind, connections or usual[0], size or usual[1])]
