"""What `gotunnel bench` does once its options are understood."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console

from gateway.bench.bench import Bench, Place, Report, Result
from gateway.bench.cases import Mode, cases_of
from gateway.bench.document import document_of
from gateway.bench.far import FarEnd
from gateway.bench.plot import PLOTTED, plot
from gateway.bench.progress import Gauge
from gateway.bench.style import style_for
from gateway.bench.tables import drawn
from gateway.cli.exits import FailedError
from gateway.cli.output import printable, show_json
from gateway.config.places import HostPort
from gateway.errors import BenchError
from gateway.texts import Language

_BACKLOG: Final = 4096
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# whoever signals a whole group may reach a process twice
_SAME_SIGNAL_SECONDS: Final = 1.0
_PIPE_COLUMNS: Final = 200  # a table in a file is not folded
STANDARD: Final = "-"


class Wish(NamedTuple):
    """What is to be measured, and where the outcome goes.

    Attributes:
        size: bytes, None = as each mode has it.
        connections: how many, None = as each mode has it.
        as_json: file for the figures as JSON; `-` is standard output.
        language: of the tables.
        scrape: address that is asked beside the load; None = none.
    """

    modes: tuple[Mode, ...]
    size: int | None
    connections: int | None
    seconds: float
    workers: int
    as_json: str | None
    plot_file: str | None
    language: Language
    scrape: str | None = None


class Stop:
    """Tells whether a signal has come; a later one ends the process at once."""

    def __init__(self) -> None:
        self._since: float | None = None

    def watch(self) -> None:
        """Take the signals from now on."""
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # a script's "&"
                signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since > _SAME_SIGNAL_SECONDS:
            raise KeyboardInterrupt

    def __call__(self) -> bool:
        """Return whether one has."""
        return self._since is not None


@contextmanager
def listening(place: HostPort) -> Iterator[socket.socket]:
    """Listen for the far end.

    Raises:
        BenchError: the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        listener = socket.create_server(place, family=family, backlog=_BACKLOG)
    except OSError as fault:
        # the text of the fault itself repeats the place in Python's words
        detail = os.strerror(fault.errno) if fault.errno else fault
        raise BenchError(f"the far end cannot listen on {place}: {detail}") from None
    with listener:
        yield listener


def serve(place: HostPort, stop: Callable[[], bool]) -> None:
    """Be the far end until a signal comes."""
    with listening(place) as listener:
        port = listener.getsockname()[1]
        click.echo(f"far end listening on {HostPort(place.host, port)}; Ctrl-C ends it")
        FarEnd(listener).run(stop)


def measure(
    wish: Wish, place: Place, direct: Place | None, stop: Callable[[], bool]
) -> bool:
    """Measure, and show each mode as soon as it is measured.

    Returns:
        whether every message came back right, and nobody asked to stop.

    Raises:
        BenchError: something could not be measured; the rest is shown all the same.
    """
    run = _Run(wish, place, direct, stop)
    reports: list[Report] = []
    try:
        for mode in wish.modes:
            report = run.report(mode)
            if report.results:
                reports.append(report)
                run.show(report)
            if run.fault is not None:
                raise run.fault
            if stop():
                click.echo("stopped before everything was measured", err=True)
                break
    finally:
        if reports:
            _write(wish, reports, interrupted=stop() or run.fault is not None)
    return all(report.sound for report in reports) and not stop()


def check_writable(path: str) -> None:
    """Return if a file can be written, as far as one can tell without writing.

    Raises:
        BenchError: it cannot.
    """
    file = Path(path)
    place = file if file.exists() else file.parent
    if not place.exists():
        code = errno.ENOENT
    elif (place == file) == place.is_dir():
        code = errno.EISDIR if place == file else errno.ENOTDIR
    elif not os.access(place, os.W_OK):
        code = errno.EACCES
    else:
        return
    raise BenchError(f"cannot write {path}: {os.strerror(code)}")


def _write(wish: Wish, reports: list[Report], *, interrupted: bool) -> None:
    document = document_of(reports, interrupted=interrupted)
    if wish.as_json == STANDARD:
        show_json(document)
    elif wish.as_json is not None:
        try:
            Path(wish.as_json).write_text(json.dumps(document, indent=2) + "\n")
        except OSError as fault:
            detail = fault.strerror or fault
            raise FailedError(f"cannot write {wish.as_json}: {detail}") from None
    if wish.plot_file is None:
        return
    if any(report.mode in PLOTTED for report in reports):
        plot(reports, wish.plot_file)
    else:
        text = f"no curve was measured; {wish.plot_file} is not written"
        click.echo(printable(text), err=True)


class _Run:
    """The measurements of one command.

    Attributes:
        fault: why the last report has not all of its results.
    """

    def __init__(
        self, wish: Wish, place: Place, direct: Place | None, stop: Callable[[], bool]
    ) -> None:
        self._wish = wish
        self._place = place
        self._direct = direct
        self._stop = stop
        self.fault: BenchError | None = None
        is_terminal = sys.stdout.isatty()
        self._console = Console(
            width=None if is_terminal else _PIPE_COLUMNS, highlight=False, emoji=False
        )
        terminal = os.environ.get("TERM", "") if is_terminal else ""
        self._style = style_for(self._console.encoding, terminal, wish.language)

    def report(self, mode: Mode) -> Report:
        """Measure the cases of a mode, until the end or the first fault."""
        wish = self._wish
        cases = cases_of(mode, wish.size, wish.connections)
        ways = 1 if self._direct is None else 2
        results: list[Result] = []
        console = Console(stderr=True)
        with Gauge(console, len(cases) * wish.seconds * ways) as gauge:
            gauge.begin(self._style.say(mode.value))
            bench = Bench(
                self._place,
                direct=self._direct,
                seconds=wish.seconds,
                workers=wish.workers,
                is_stopped=self._stop,
                on_progress=gauge.show,
                scrape=wish.scrape,
            )
            try:
                for case in cases:
                    result = bench.result(case)
                    if result is None:
                        break
                    results.append(result)
            except BenchError as fault:
                self.fault = fault
        return Report(
            mode=mode, seconds=wish.seconds, workers=wish.workers, results=results
        )

    def show(self, report: Report) -> None:
        """Print the tables of a report, unless JSON goes there."""
        if self._wish.as_json == STANDARD:
            return
        for item in drawn(report, self._style, self._console.width):
            self._console.print(item)
