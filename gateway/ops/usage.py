"""What this process uses of the machine."""

from __future__ import annotations

import resource
import time
from typing import Final, NamedTuple

from gateway.ops.descriptors import open_descriptors

_PAGE_BYTES: Final = resource.getpagesize()


class ProcessUsage(NamedTuple):
    """What a process uses now.

    Attributes:
        resident: bytes of memory; 0 where the system does not tell.
        descriptors: open files and sockets; 0 where the system does not tell.
        descriptor_limit: how many there may be.
        cpu_seconds: spent since its start.
    """

    resident: int
    descriptors: int
    descriptor_limit: int
    cpu_seconds: float


def process_usage() -> ProcessUsage:
    """Return what this process uses now."""
    try:
        with open("/proc/self/statm", "rb") as file:
            resident = int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:  # another system, or no descriptor is left to ask with
        resident = 0
    return ProcessUsage(
        resident,
        open_descriptors() or 0,
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        time.process_time(),
    )
