"""Reports as boxes and tables, with a mark on the winner and on nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.bench.bench import Report, Result
from gateway.bench.cases import Mode
from gateway.bench.figures import megabytes, size_text
from gateway.bench.labels import LABELS
from gateway.bench.latency import Latency
from gateway.bench.style import Style
from gateway.bench.usage import Usage

SCARCE: Final = 0.1  # of the time; who waits longer for a core has too few of them
NAMED: Final = 3  # so many rows are named, more are counted
_ENDLESS: Final = 1000  # columns
_TABLED: Final = (Mode.CONCURRENT, Mode.SIZES, Mode.BANDWIDTH)


def drawn(report: Report, style: Style, width: int) -> Iterator[Table | Text]:
    """Return what is printed for a report, from top to bottom.

    Args:
        report: what was measured.
        style: how it is written.
        width: of the terminal; a table leaves columns out until it fits.
    """
    if report.mode in _TABLED:
        winners = _winners(report)
        yield _fitting(report, style, winners[0].result if winners else None, width)
        for winner in winners:
            yield Text(winner.line(report.mode, style))
    else:
        for result in report.results:
            yield _box(report.mode, result, style)
    yield Text(style.say("parameters", settings=", ".join(settings_of(report, style))))
    for note in _notes(report, style):
        yield Text(note, style="yellow")
    yield Text()


def settings_of(report: Report, style: Style) -> Iterator[str]:
    """Name what every case of a report has in common."""
    connections = {result.case.connections for result in report.results}
    sizes = {result.case.size for result in report.results}
    if len(connections) == 1:
        yield style.say("connections_are", count=connections.pop())
    if len(sizes) == 1:
        yield style.say("size_is", size=size_text(sizes.pop()))
    yield style.say("each", seconds=f"{report.seconds:g}")
    yield style.say("workers", count=report.workers)


def _notes(report: Report, style: Style) -> Iterator[str]:
    tallies = (tally for result in report.results for tally in result.tallies)
    faults = [tally.fault for tally in tallies if tally.fault]
    faults += [one.scrapes.fault for one in report.results if one.scrapes]
    faults = [fault for fault in faults if fault]
    if faults:
        yield style.say("fault", fault=faults[0])
    loads = [(r, r.tally.usage) for r in report.results if r.load_was_limit]
    if loads:
        yield _limit("load_limit", loads, report, style)
    fars = [(r, r.far_usage) for r in report.results if r.far_usage and r.far_was_limit]
    if fars:
        yield _limit("far_limit", fars, report, style)


def _limit(
    who: str, busy: Sequence[tuple[Result, Usage]], report: Report, style: Style
) -> str:
    """Say who was the limit, in which cases if not in all, and whether cores lacked."""
    usage = max((usage for _, usage in busy), key=sum)
    where = what = ""
    if NAMED < len(busy) < len(report.results):
        where = style.say("limit_often", some=len(busy), all=len(report.results))
    elif len(busy) < len(report.results):
        cases = ", ".join(_name_of(result, report.mode, style) for result, _ in busy)
        where = style.say("limit_in", cases=cases)
    if usage.waited >= SCARCE:
        what = style.say("waited", share=f"{usage.waited:.0%}")
    elif who == "load_limit":
        what = style.say("more_workers")
    return style.say(
        "limit", who=style.say(who), where=where, ran=f"{usage.ran:.0%}", what=what
    )


def _box(mode: Mode, result: Result, style: Style) -> Table:
    table = Table(title=style.say(mode.value), box=box.ROUNDED, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for key, value in _box_rows(result, style):
        table.add_row(key, value)
    return table


def _box_rows(result: Result, style: Style) -> Iterator[tuple[str, str]]:
    tally, say = result.tally, style.say
    yield say("duration"), f"{tally.seconds:.3f} s"
    total = f"{tally.size_bytes} ({megabytes(tally.size_bytes)} MB)"
    yield say("total_bytes"), total
    if result.case.kind.echoes:
        yield say("total_messages"), str(tally.messages + tally.failed)
        yield say("good_messages"), str(tally.messages)
        yield say("failed_messages"), str(tally.failed)
    yield say("lost"), str(tally.lost)
    yield say("success"), style.success(tally)
    yield say("mean_speed"), _speed_text(result)
    if result.direct is not None:
        yield say("direct_speed"), f"{megabytes(result.direct.bytes_a_second)} MB/s"
        yield say("ratio"), _ratio_text(result)
    if latency := tally.latencies.summary():
        yield say("least"), style.span(latency.least)
        yield say("most"), style.span(latency.most)
        yield say("mean"), style.span(latency.mean)
        for name in ("p50", "p95", "p99"):
            yield name.upper(), style.span(getattr(latency, name))
        yield say("rate"), f"{tally.messages_a_second:.2f} packets/s"
    if (scrapes := result.scrapes) is not None:
        slowest = style.span(scrapes.slowest)
        yield (
            say("scrapes"),
            say("scrapes_are", rate=f"{scrapes.rate:.1f}", slowest=slowest),
        )


class _Row(NamedTuple):
    """One result, as the columns of a table see it."""

    result: Result
    first: Result
    latency: Latency | None
    style: Style


class _Column(NamedTuple):
    """A heading, or the key of its label, and how a cell is made."""

    heading: str
    cell: Callable[[_Row], str]


def _latency_column(heading: str, figure: str) -> _Column:
    def cell(row: _Row) -> str:
        return row.style.span(getattr(row.latency, figure, None))

    return _Column(heading, cell)


def _scaling(row: _Row) -> str:
    first = row.first.tally.bytes_a_second
    return f"{row.result.tally.bytes_a_second / first:.2f}x" if first else "-"


_CONNECTIONS: Final = _Column("connections", lambda r: str(r.result.case.connections))
_SIZE: Final = _Column("size", lambda r: size_text(r.result.case.size))
_FIGURES: Final = (
    _Column("MB/s", lambda r: megabytes(r.result.tally.bytes_a_second)),
    _Column("success", lambda r: r.style.success(r.result.tally)),
    _Column("packets/s", lambda r: f"{r.result.tally.messages_a_second:.0f}"),
    _latency_column("short_mean", "mean"),
    _latency_column("P50", "p50"),
    _latency_column("P95", "p95"),
    _latency_column("P99", "p99"),
    _Column("short_lost", lambda r: str(r.result.tally.lost)),
    _Column("total", lambda r: megabytes(r.result.tally.size_bytes)),
)
_SCALING: Final = _Column("scaling", _scaling)
_COLUMNS: Final = {
    Mode.CONCURRENT: (_CONNECTIONS, *_FIGURES, _SCALING),
    Mode.SIZES: (_SIZE, *_FIGURES),
    Mode.BANDWIDTH: (_CONNECTIONS, _SIZE, *_FIGURES),
}
# what a narrow terminal can do without; the JSON has it all
_LEAST_FIRST: Final = (
    *("P95", "P50", "total", "short_lost", "scaling", "packets/s"),
    *("direct", "short_mean", "P99", "success"),
)
_DIRECT: Final = (
    _Column(
        "direct",
        lambda r: megabytes(r.result.direct.bytes_a_second) if r.result.direct else "-",
    ),
    _Column("ratio", lambda r: _ratio_text(r.result)),
)


def _fitting(report: Report, style: Style, winner: Result | None, width: int) -> Table:
    columns = list(_COLUMNS[report.mode])
    if any(result.direct is not None for result in report.results):
        columns += _DIRECT
    # with its height it does not ask how wide a dumb terminal is
    ruler = Console(width=_ENDLESS, height=1)
    table = _table(report, style, winner, columns)
    for heading in _LEAST_FIRST:
        if ruler.measure(table).maximum <= width:
            break
        columns = [column for column in columns if column.heading != heading]
        table = _table(report, style, winner, columns)
    return table


def _table(
    report: Report, style: Style, winner: Result | None, columns: Sequence[_Column]
) -> Table:
    results = report.results
    table = Table(title=style.say(report.mode.value), box=box.SIMPLE_HEAD)
    for column in columns:
        heading = column.heading
        heading = style.say(heading) if heading in LABELS else heading
        table.add_column(heading, justify="right")
    table.add_column("")
    mark = style.widest if report.mode is Mode.BANDWIDTH else style.fastest
    for result in results:
        row = _Row(result, results[0], result.tally.latencies.summary(), style)
        cells = [column.cell(row) for column in columns]
        table.add_row(*cells, mark if result is winner else "")
    return table


def _name_of(result: Result, mode: Mode, style: Style) -> str:
    """Return what tells a row of a table from the others."""
    connections, size = result.case.connections, size_text(result.case.size)
    if mode is Mode.CONCURRENT:
        return style.say("connections_are", count=connections)
    return size if mode is Mode.SIZES else f"{connections} x {size}"


class _Winner(NamedTuple):
    """The best result in one respect.

    Attributes:
        key: of the label that names the respect.
    """

    key: str
    result: Result

    def line(self, mode: Mode, style: Style) -> str:
        """Return the line that praises it."""
        what, tally = _name_of(self.result, mode, style), self.result.tally
        mark, figure = {
            "fastest": (f"{style.fastest} ", _speed_text(self.result)),
            "widest": (f"{style.widest} ", _speed_text(self.result)),
            "best_success": ("", style.success(tally)),
            "best_latency": ("", style.span(_mean(self.result))),
            "best_rate": ("", f"{tally.messages_a_second:.0f} packets/s"),
        }[self.key]
        return f"{mark}{style.say(self.key)}: {what}, {figure}"


def _winners(report: Report) -> list[_Winner]:
    """Return the best of each respect, the one that gets the mark first.

    A result with failures is best only among its like.
    """
    ran = [result for result in report.results if result.tally.messages]
    if not ran:
        return []
    ran = [result for result in ran if result.tally.sound] or ran
    fastest = max(ran, key=lambda result: result.tally.bytes_a_second)
    if report.mode is Mode.BANDWIDTH:
        return [_Winner("widest", fastest)]
    winners = [
        _Winner("fastest", fastest),
        _Winner("best_success", max(ran, key=lambda r: r.tally.success or 0.0)),
        _Winner("best_latency", min(ran, key=_mean)),
    ]
    if report.mode is Mode.SIZES:
        best = max(ran, key=lambda r: r.tally.messages_a_second)
        winners.append(_Winner("best_rate", best))
    return winners


def _mean(result: Result) -> float:
    latency = result.tally.latencies.summary()
    return latency.mean if latency else 0.0


def _speed_text(result: Result) -> str:
    speed = result.tally.bytes_a_second
    return f"{megabytes(speed)} MB/s ({speed * 8e-6:.2f} Mbit/s)"


def _ratio_text(result: Result) -> str:
    return "-" if result.ratio is None else f"{result.ratio:.2f}"
