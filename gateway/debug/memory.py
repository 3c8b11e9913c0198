"""Where memory was taken: traced for some seconds, because tracing costs time."""

from __future__ import annotations

import gc
import resource
import tracemalloc
from collections import Counter
from typing import Final

MOST_LINES: Final = 40
DEEP_FRAMES: Final = 8
_LEFT_OUT: Final = (
    tracemalloc.Filter(False, tracemalloc.__file__),
    tracemalloc.Filter(False, "<frozen importlib._bootstrap>"),
)


class MemoryTrace:
    """One trace, from its beginning to its report."""

    def __init__(self, frames: int) -> None:
        """Begin to trace.

        Args:
            frames: callers that are remembered of each block.
        """
        self._frames = frames
        tracemalloc.start(frames)

    def abandon(self) -> None:
        """Stop tracing; may be called twice."""
        tracemalloc.stop()

    def by_line(self, seconds: float) -> str:
        """Stop, and return the lines that took most of what is still held."""
        snapshot, summary = self._end(seconds)
        rows = [
            f"{stat.size / 1024:10.1f} KiB {stat.count:8} blocks  {stat.traceback}"
            for stat in snapshot.statistics("lineno")[:MOST_LINES]
        ]
        return "\n".join([*summary, "", *rows, "", *_objects()]) + "\n"

    def by_callers(self, seconds: float) -> str:
        """Stop, and return who asked for most blocks that are still held."""
        snapshot, summary = self._end(seconds)
        lines = [*summary]
        stats = sorted(snapshot.statistics("traceback"), key=lambda stat: -stat.count)
        for stat in stats[:MOST_LINES]:
            lines += ["", f"{stat.count} blocks, {stat.size / 1024:.1f} KiB:"]
            lines += stat.traceback.format()
        return "\n".join(lines) + "\n"

    def _end(self, seconds: float) -> tuple[tracemalloc.Snapshot, list[str]]:
        held, peak = tracemalloc.get_traced_memory()
        snapshot = tracemalloc.take_snapshot().filter_traces(_LEFT_OUT)
        tracemalloc.stop()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return snapshot, [
            f"heap profile: what {seconds:g} seconds took and still hold",
            f"{held / 1024:.1f} KiB held, {peak / 1024:.1f} KiB at most; what was "
            "given back meanwhile is not listed",
            f"the process has used {most} KiB at most",
        ]


def _objects() -> list[str]:
    counts = Counter(
        f"{type(found).__module__}.{type(found).__qualname__}"
        for found in gc.get_objects()
    )
    total = sum(counts.values())
    rows = [f"{count:10}  {name}" for name, count in counts.most_common(MOST_LINES)]
    return [f"{total} objects that have come since the start, by type:", *rows]
