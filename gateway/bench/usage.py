"""How long this process has run, and how long it was kept waiting for a core."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

BUSY: Final = 0.9  # of the time; a process above it was hardly ever idle

# Linux: nanoseconds on a core, nanoseconds ready to run without one, turns
_SCHEDULE: Final = Path("/proc/self/schedstat")


class Usage(NamedTuple):
    """What a process has done so far in seconds, or as shares of some time.

    Attributes:
        ran: on a core.
        waited: ready to run while others had the cores; 0 where nobody knows.
    """

    ran: float = 0.0
    waited: float = 0.0

    @property
    def was_limit(self) -> bool:
        """Whether these are the shares of one that never waited for the others."""
        return self.ran + self.waited > BUSY

    def share_since(self, before: Usage, seconds: float) -> Usage:
        """Return the shares of the `seconds` that have passed since `before`."""
        return Usage(
            (self.ran - before.ran) / seconds, (self.waited - before.waited) / seconds
        )


def used() -> Usage:
    """Return what this process has done so far."""
    try:
        waited = int(_SCHEDULE.read_text("ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # another system, or it does not tell
        waited = 0.0
    return Usage(time.process_time(), waited)
