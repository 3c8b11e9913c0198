"""The gateway beside a plain relay: ratios that hold on any machine.

The ways take turns within each round, so a slow moment of the machine hits all of
them; the medians over the rounds are compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gateway.bench.bench import Bench, Place
from gateway.bench.cases import Case
from gateway.bench.loads import Kind
from gateway.errors import BenchError

ROUNDS: Final = 3
SECONDS: Final = 0.8  # of each measurement
STOCK: Final = "stock"
METRICS: Final = {
    "msgs": Case(Kind.ECHO, 100, 1024),
    "bulk": Case(Kind.DOWNLOAD, 10, 64 << 10),
}
# generous: the ways share the machine with the load and with each other
FLOORS: Final[Mapping[tuple[str, str], float]] = {
    ("direct", "msgs"): 1.3,
    ("direct", "bulk"): 1.5,
    ("tunnel", "msgs"): 1.0,
    ("tunnel", "bulk"): 0.8,
}


class Ratio(NamedTuple):
    """A way through the gateway, as a share of the plain relay in the same run."""

    way: str
    metric: str
    ratio: float
    floor: float

    @property
    def holds(self) -> bool:
        """Whether it is as much as it must be."""
        return self.ratio >= self.floor

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "TOO SLOW"
        return (
            f"{self.way:<7} {self.metric:<5} {self.ratio:5.2f} of {STOCK}, "
            f"floor {self.floor:.2f}: {verdict}"
        )


def compared(
    places: Mapping[str, Place],
    *,
    is_stopped: Callable[[], bool],
    on_round: Callable[[int], None],
) -> list[Ratio]:
    """Measure all ways in turns and return the ratios.

    Args:
        places: where each way begins; their names are those of `FLOORS`, and `STOCK`.
        is_stopped: whether the user wants an end.
        on_round: is told the number of each round before it begins.

    Raises:
        BenchError: something went wrong on one of the ways, or the user stopped it.
    """
    figures: dict[tuple[str, str], list[float]] = {}
    for number in range(ROUNDS):
        on_round(number + 1)
        for metric, case in METRICS.items():
            for way, place in places.items():
                figure = _figure(way, place, case, is_stopped)
                figures.setdefault((way, metric), []).append(figure)
    medians = {key: statistics.median(values) for key, values in figures.items()}
    return ratios_of(medians)


def ratios_of(medians: Mapping[tuple[str, str], float]) -> list[Ratio]:
    """Return the ratio of each way that has a floor."""
    return [
        Ratio(way, metric, medians[way, metric] / medians[STOCK, metric], floor)
        for (way, metric), floor in FLOORS.items()
    ]


def _figure(
    way: str, place: Place, case: Case, is_stopped: Callable[[], bool]
) -> float:
    bench = Bench(
        place,
        direct=None,
        seconds=SECONDS,
        workers=1,
        is_stopped=is_stopped,
        on_progress=lambda _seconds, _arrived: None,
    )
    result = bench.result(case)
    if result is None or is_stopped():
        raise BenchError("stopped before the comparison was over")
    if not result.tally.sound or not result.tally.size_bytes:
        detail = result.tally.fault or "nothing came back"
        raise BenchError(f"the way {way!r} failed: {detail}")
    return result.tally.bytes_a_second
