"""`gotunnel bench`: what a way through the gateway carries."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from gateway.bench.bench import Place
from gateway.bench.cases import TAKES_CONNECTIONS, TAKES_SIZE, Mode
from gateway.bench.crew import far_process
from gateway.bench.loads import LARGEST_MESSAGE, SMALLEST_CHECKED
from gateway.bench.plot import PLOTTED, SUFFIXES, check_plotting
from gateway.bench.scraping import address_fault
from gateway.cli.bench_rivals import compare_with_stock
from gateway.cli.bench_run import (
    STANDARD,
    Stop,
    Wish,
    check_writable,
    listening,
    measure,
    serve,
)
from gateway.cli.exits import Exit, FailedError
from gateway.cli.kinds import listening_place
from gateway.cli.output import printable_lines
from gateway.cli.streams import end_with_output
from gateway.config.language import language_of
from gateway.config.places import HostPort, local_place
from gateway.errors import BenchError
from gateway.ops.process import raise_descriptor_limit
from gateway.texts import Language

USUAL_LISTEN: Final = HostPort("127.0.0.1", 9900)
USUAL_CONNECT: Final = HostPort("127.0.0.1", 9901)
MOST_CONNECTIONS: Final = 10000
MOST_WORKERS: Final = 64
_CONNECT_HINT: Final = (
    "--connect names the port that leads to the far end, such as that of a mapping"
)
_ALL: Final = "all"
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_SHORTEST_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 3600.0


def _local(text: str) -> HostPort:
    """Read `PORT` of this machine or `HOST:PORT`."""
    try:
        return local_place(text)
    except ValueError as fault:
        raise click.BadParameter(str(fault)) from None


def _listen(text: str) -> HostPort:
    """Read `PORT` of loopback, `:PORT` of all addresses or `ADDRESS:PORT`."""
    if text.isascii() and text.isdigit():
        return listening_place(f"{USUAL_LISTEN.host}:{text}")
    return listening_place(text)


def _seconds(text: str) -> float:
    """Read `10s`, `500ms`, `2m` or a number of seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)?", text, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration such as 10s, 500ms or 2m")
    seconds = float(found[1]) * _UNITS[found[2] or "s"]
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise click.BadParameter(f"{text!r} is not between 50ms and 60m")
    return seconds


def _address(text: str) -> str:
    fault = address_fault(text)
    if fault is not None:
        raise click.BadParameter(fault)
    return text


@click.command()
@click.option(
    "--listen",
    type=_listen,
    metavar="[ADDRESS:]PORT",
    help=f"Where the far end listens.  [default: {USUAL_LISTEN}]",
)
@click.option(
    "--connect",
    type=_local,
    metavar="[HOST:]PORT",
    help="Where the load goes, for instance a public port that leads to the far end.  "
    f"[default: {USUAL_CONNECT}]",
)
@click.option(
    "--mode",
    type=click.Choice([*map(str, Mode), _ALL]),
    default=_ALL,
    show_default=True,
    help="What is measured.",
)
@click.option(
    "--duration",
    "seconds",
    type=_seconds,
    default="10s",
    show_default=True,
    metavar="TIME",
    help="How long each case lasts: 500ms, 10s, 2m.",
)
@click.option(
    "--size",
    type=click.IntRange(1, LARGEST_MESSAGE),
    metavar="BYTES",
    help="Length of a message, or of a write of upload and download.  "
    "[default: 1024; upload, download: 65536]",
)
@click.option(
    "--concurrent",
    "connections",
    type=click.IntRange(1, MOST_CONNECTIONS),
    metavar="N",
    help="Connections at one time.  [default: 4; upload, download: 5; sizes: 1]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that make the load.",
)
@click.option(
    "--scrape",
    type=_address,
    metavar="URL",
    help="Ask for this address again and again beside the load, as fast as it "
    "answers, such as http://127.0.0.1:8080/metrics.",
)
@click.option(
    "--direct",
    is_flag=True,
    help="Measure the same without a relay, too, and print the ratio.",
)
@click.option(
    "--json",
    "as_json",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the figures as JSON; - is standard output, then without tables.",
)
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Draw the curves of sizes and concurrent; .png or .svg.",
)
@click.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    help="Language of the tables.  [default: that of the locale]",
)
@click.option(
    "--compare-stock",
    is_flag=True,
    help="Compare a gateway with a plain relay instead; exit code 1 if it is slow.",
)
@click.pass_context
def bench(
    context: click.Context,
    /,
    listen: HostPort | None,
    connect: HostPort | None,
    mode: str,
    direct: bool,
    language: Language | None,
    compare_stock: bool,
    **settings: object,
) -> None:
    """Measure what a way through the gateway carries.

    The far end listens in a process of its own, and the load goes to --connect, where
    a mapping or any other relay leads to the far end.  With --listen alone the far
    end serves until Ctrl-C; with --connect alone the load goes to a far end
    elsewhere.  Ctrl-C ends a measurement early and shows what there is.
    """
    stop = Stop()
    try:
        if compare_stock:
            _refuse_others(context, "compare_stock")
            _compare(stop)
        elif listen is not None and connect is None and not direct:
            _refuse_others(context, "listen")
            _prepare(stop)
            serve(listen, stop)
        else:
            modes = tuple(Mode) if mode == _ALL else (Mode(mode),)
            chosen = language_of(language, os.environ)
            wish = Wish(modes=modes, language=chosen, **settings)  # type: ignore[arg-type] # click
            _check(wish)
            is_local = listen is not None or connect is None or direct
            far = (listen or USUAL_LISTEN) if is_local else None
            _measure(wish, far, Place(*(connect or USUAL_CONNECT)), direct, stop)
    except BenchError as fault:
        text = str(fault)
        if connect is None and str(USUAL_CONNECT) in text:
            text += f"\n{_CONNECT_HINT}"
        raise FailedError(printable_lines(text)) from None


def _prepare(stop: Stop) -> None:
    """Make this process, and those that it starts, ready for the load."""
    raise_descriptor_limit()
    stop.watch()
    end_with_output()


def _measure(
    wish: Wish, far: HostPort | None, place: Place, direct: bool, stop: Stop
) -> None:
    _prepare(stop)
    if far is None:
        sound = measure(wish, place, None, stop)
    else:
        with listening(far) as listener:
            near = Place(far.host or USUAL_LISTEN.host, listener.getsockname()[1])
            with far_process(listener):
                sound = measure(wish, place, near if direct else None, stop)
    if not sound:
        raise click.exceptions.Exit(Exit.FAILED)


def _compare(stop: Stop) -> None:
    _prepare(stop)
    ratios = compare_with_stock(stop)
    for ratio in ratios:
        click.echo(str(ratio))
    if not all(ratio.holds for ratio in ratios):
        raise click.exceptions.Exit(Exit.FAILED)


def _refuse_others(context: click.Context, name: str) -> None:
    """Refuse options that have no effect beside the one called `name`."""
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name != name and source is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            alone = " without --connect" if name == "listen" else ""
            raise click.UsageError(
                f"{parameter.opts[0]} has no effect with {option}{alone}"
            )


def _check(wish: Wish) -> None:
    """Refuse settings that have no effect, or that cannot be."""
    modes = set(wish.modes)
    if wish.size is not None and not modes & TAKES_SIZE:
        raise click.UsageError(f"--size has no effect with --mode {wish.modes[0]}")
    if wish.connections is not None and not modes & TAKES_CONNECTIONS:
        raise click.UsageError(
            f"--concurrent has no effect with --mode {wish.modes[0]}"
        )
    if (wish.size or SMALLEST_CHECKED) < SMALLEST_CHECKED and Mode.RELIABILITY in modes:
        raise click.UsageError(
            f"--size must be at least {SMALLEST_CHECKED} with --mode reliability"
        )
    if wish.as_json not in (None, STANDARD):
        check_writable(wish.as_json)
    if wish.plot_file is not None:
        if Path(wish.plot_file).suffix.lower() not in SUFFIXES:
            raise click.UsageError(f"--plot takes a file {' or '.join(SUFFIXES)}")
        if not modes & set(PLOTTED):
            raise click.UsageError(
                f"--plot has no effect with --mode {wish.modes[0]}; take "
                f"{', '.join(PLOTTED)} or {_ALL}"
            )
        check_plotting()
        check_writable(wish.plot_file)
