"""Many latencies in little room: exact extremes and mean, percentiles of a sample.

Up to `KEPT` values the percentiles are exact.  From there on every second value is
kept, then every fourth, and so on, evenly over the whole time.
"""

from __future__ import annotations

import base64
import math
from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

KEPT: Final = 1 << 17  # values


class Latency(NamedTuple):
    """The figures of a run, in seconds."""

    least: float
    mean: float
    p50: float
    p95: float
    p99: float
    most: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of all values lies.

    Args:
        ordered: at least one value, in rising order.
        share: from 0 (the least) to 1 (the most); between two values it is linear.
    """
    place = share * (len(ordered) - 1)
    before = math.floor(place)
    lower = ordered[before]
    if before == place:
        return lower
    return lower + (ordered[before + 1] - lower) * (place - before)


class Latencies:
    """The latencies of a run, in seconds.

    Attributes:
        recent: where new values are appended; `fold` takes them in.
    """

    __slots__ = ("_count", "_kept", "_least", "_most", "_stride", "_total", "recent")

    def __init__(self) -> None:
        self.recent: array[float] = array("d")
        self._kept: array[float] = array("d")
        self._stride = 1
        self._count = 0
        self._total = 0.0
        self._least = math.inf
        self._most = 0.0

    def fold(self) -> None:
        """Take the recent values in."""
        recent = self.recent
        if not recent:
            return
        self._kept.extend(recent[-self._count % self._stride :: self._stride])
        self._count += len(recent)
        self._total += sum(recent)
        self._least = min(self._least, min(recent))
        self._most = max(self._most, max(recent))
        del recent[:]
        self._thin(KEPT)

    def _thin(self, most: int) -> None:
        while len(self._kept) > most:
            self._widen()

    def _widen(self) -> None:
        self._kept = self._kept[::2]
        self._stride *= 2

    def summary(self) -> Latency | None:
        """Return the figures, None if there are no values."""
        self.fold()
        if not self._count:
            return None
        ordered = sorted(self._kept)
        return Latency(
            least=self._least,
            mean=self._total / self._count,
            p50=percentile(ordered, 0.50),
            p95=percentile(ordered, 0.95),
            p99=percentile(ordered, 0.99),
            most=self._most,
        )

    def content(self) -> dict[str, object]:
        """Return the values as JSON has them."""
        self.fold()
        return {
            "kept": base64.b64encode(self._kept.tobytes()).decode("ascii"),
            "stride": self._stride,
            "count": self._count,
            "total": self._total,
            "least": self._least if self._count else 0.0,
            "most": self._most,
        }

    @classmethod
    def of_content(cls, content: Any) -> Latencies:  # noqa: ANN401 - parsed JSON
        """Read what `content` has returned, on the same machine."""
        latencies = cls()
        latencies._kept.frombytes(base64.b64decode(content["kept"]))
        latencies._stride = content["stride"]
        latencies._count = content["count"]
        latencies._total = content["total"]
        latencies._least = content["least"] if latencies._count else math.inf
        latencies._most = content["most"]
        return latencies

    @classmethod
    def together(cls, parts: Sequence[Latencies]) -> Latencies:
        """Return the values of all parts, each weighing the same."""
        for part in parts:
            part.fold()
        whole = cls()
        whole._stride = max((part._stride for part in parts), default=1)
        for part in parts:
            # strides are powers of two, so every one divides the widest
            whole._kept.extend(part._kept[:: whole._stride // part._stride])
            whole._count += part._count
            whole._total += part._total
            whole._least = min(whole._least, part._least)
            whole._most = max(whole._most, part._most)
        whole._thin(KEPT)
        return whole
