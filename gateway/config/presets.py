"""Named sets of defaults.

A preset changes defaults only: a key that is set anywhere keeps its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Preset = Mapping[str, int | float]

GATEWAY: Final[Mapping[str, Preset]] = {
    "server": {
        "buffers.read_size": 65536,
        "limits.connections": 10000,
        "tunnel.legacy_high_water": 2097152,
        "tunnel.legacy_low_water": 1048576,
    },
    "client": {
        "buffers.read_size": 32768,
        "limits.connections": 0,
        "tunnel.legacy_high_water": 1048576,
        "tunnel.legacy_low_water": 524288,
    },
    "high_throughput": {
        "buffers.read_size": 131072,
        "tunnel.legacy_high_water": 4194304,
        "tunnel.legacy_low_water": 2097152,
    },
}
RECONNECT: Final[Mapping[str, Preset]] = {
    "fixed": {
        "reconnect.initial": 5.0,
        "reconnect.multiplier": 1.0,
        "reconnect.max": 5.0,
        "reconnect.jitter": 0.0,
        "reconnect.max_attempts": 0,
    },
    "article": {
        "reconnect.initial": 1.0,
        "reconnect.multiplier": 2.0,
        "reconnect.max": 30.0,
        "reconnect.jitter": 0.0,
        "reconnect.max_attempts": 10,
    },
}
