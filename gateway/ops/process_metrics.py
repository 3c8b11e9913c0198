"""What Prometheus asks of every process, read without listing its open files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.ops.descriptors import open_descriptors

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = resource.getpagesize()
# places in /proc/self/stat behind the name of the program
_UTIME, _STIME, _STARTED, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21


def _booted_at() -> float:
    with open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    raise OSError("/proc/stat does not tell when the machine was started")


def process_families() -> Iterator[Metric]:
    """Return the metrics; none where the system does not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:
            parts = file.read().rpartition(b")")[2].split()
        booted_at = _booted_at()
    except OSError:
        return
    cpu = (int(parts[_UTIME]) + int(parts[_STIME])) / _TICKS
    for name, text, value in (
        ("virtual_memory_bytes", "Virtual memory size in bytes.", int(parts[_VIRTUAL])),
        (
            "resident_memory_bytes",
            "Resident memory size in bytes.",
            int(parts[_RESIDENT]) * _PAGE_BYTES,
        ),
        (
            "start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            booted_at + int(parts[_STARTED]) / _TICKS,
        ),
    ):
        yield GaugeMetricFamily(f"process_{name}", text, value=value)
    yield CounterMetricFamily(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        value=cpu,
    )
    count = open_descriptors()
    if count is not None:
        yield GaugeMetricFamily(
            "process_open_fds", "Number of open file descriptors.", value=count
        )
    yield GaugeMetricFamily(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        value=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )
