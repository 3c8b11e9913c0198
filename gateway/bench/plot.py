"""The curves of sizes and concurrency as a picture (extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from gateway.bench.bench import Report, Result
from gateway.bench.cases import Mode
from gateway.bench.figures import size_text
from gateway.bench.style import Style
from gateway.bench.tables import settings_of
from gateway.errors import BenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOTTED: Final = (Mode.SIZES, Mode.CONCURRENT)
SUFFIXES: Final = (".png", ".svg")


def check_plotting() -> None:
    """Return if pictures can be made.

    Raises:
        BenchError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise BenchError(
            "--plot needs matplotlib, which is not installed; "
            "get it by: pip install 'gotunnel[plot]'"
        )


def plot(reports: Sequence[Report], path: str) -> None:
    """Draw the curves into a file; its name's ending says in which form.

    Args:
        reports: at least one of a mode that is `PLOTTED`.
        path: of the file.

    Raises:
        BenchError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # an optional extra

    curves = [report for report in reports if report.mode in PLOTTED]
    figure = Figure(figsize=(8, 4.5 * len(curves)), layout="constrained")
    for place, report in enumerate(curves, 1):
        axes = figure.add_subplot(len(curves), 1, place)
        results = [result for result in report.results if result.tally.messages]
        axes.set_title(f"{report.mode}: {', '.join(settings_of(report, Style()))}")
        _draw_speeds(axes, report.mode, results)
        _draw_spans(axes.twinx(), results)
    try:
        figure.savefig(path)
    except OSError as error:
        raise BenchError(f"cannot write {path}: {error.strerror or error}") from None


def _draw_speeds(axes: Axes, mode: Mode, results: Sequence[Result]) -> None:
    by_size = mode is Mode.SIZES
    places = range(len(results))
    speeds = [result.tally.bytes_a_second / 1e6 for result in results]
    axes.plot(places, speeds, "o-", color="C0")
    axes.set_ylabel("MB/s", color="C0")
    direct = [r.direct.bytes_a_second / 1e6 for r in results if r.direct is not None]
    if len(direct) == len(speeds):
        axes.plot(places, direct, "o:", color="C0", alpha=0.5)
        axes.set_ylabel("MB/s (dotted: without a relay)", color="C0")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("message size" if by_size else "connections")
    axes.set_xticks(
        places,
        [
            size_text(r.case.size) if by_size else f"{r.case.connections}"
            for r in results
        ],
        rotation=45 if by_size else 0,
    )


def _draw_spans(axes: Axes, results: Sequence[Result]) -> None:
    summaries = [result.tally.latencies.summary() for result in results]
    for figure, line in (("p50", "s-"), ("p99", "s--")):
        micros = [getattr(one, figure) * 1e6 for one in summaries if one is not None]
        axes.plot(range(len(micros)), micros, line, color="C1")
    axes.set_yscale("log")
    axes.set_ylabel("latency, µs (solid: P50, dashed: P99)", color="C1")
