"""`gotunnel logs`: the last lines of a log, those to come, and which are written."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import click

from gateway.api.log_rows import LogLevels, LogLine
from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.exits import UnreachableError
from gateway.cli.kinds import duration
from gateway.cli.log_file import Filter, LogFollower
from gateway.cli.output import json_option, printable, show_json, show_table
from gateway.cli.streams import end_with_output
from gateway.ops.levels import LEVELS

WAIT_SECONDS: Final = 10  # that one question waits for lines
AGAIN_SECONDS: Final = 2.0  # after a question that nobody answered
MOST_LINES: Final = 2000
_LEVEL: Final = click.Choice(list(LEVELS))


class _Wish(NamedTuple):
    """What was asked for on the command line."""

    follow: bool
    lines: int
    wanted: Filter
    file: str | None
    as_json: bool


@click.group(invoke_without_command=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they come.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(0, MOST_LINES),
    default=100,
    show_default=True,
    help="How many of the last lines.",
)
@click.option("--level", type=_LEVEL, help="Lines of this level and above.")
@click.option("--component", help="Lines of a component and all below it.")
@click.option("--trace", help="Lines about one visitor, by its trace id.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False),
    help="Read this log file, of a gateway or an agent, in place of asking the API.",
)
@json_option
@asks_api
@click.pass_context
def logs(
    ctx: click.Context,
    api: ApiClient,
    follow: bool,
    count: int,
    level: str | None,
    component: str | None,
    trace: str | None,
    file: str | None,
    as_json: bool,
) -> None:
    """Show the gateway's last lines (role admin), or those of a log file."""
    if ctx.invoked_subcommand is not None:
        return
    if follow:
        end_with_output()
    wish = _Wish(follow, count, Filter(level, component, trace), file, as_json)
    try:
        if file is None:
            _from_api(api, wish)
        else:
            _from_file(file, wish)
    except KeyboardInterrupt:
        sys.exit(0)


def _from_file(path: str, wish: _Wish) -> None:
    follower = LogFollower(path, wish.wanted)
    try:
        for line in follower.last(wish.lines):
            click.echo(_line_of_file(line, as_json=wish.as_json))
        if wish.follow:
            for line in follower.follow(time.sleep):
                click.echo(_line_of_file(line, as_json=wish.as_json))
    finally:
        follower.close()


def _line_of_file(line: str, *, as_json: bool) -> str:
    if as_json and not line.startswith("{"):
        return json.dumps({"line": line})
    return printable(line)


def _from_api(api: ApiClient, wish: _Wish) -> None:
    level, component, trace = wish.wanted
    asked = {"level": level, "component": component, "trace": trace}
    query = {key: text for key, text in asked.items() if text}
    found = api.logs(urlencode({**query, "count": max(1, wish.lines)}))
    if wish.lines:
        _show(found.lines, wish)
    cursor = found.cursor
    query["wait"] = str(WAIT_SECONDS)
    while wish.follow:
        try:
            found = api.logs(urlencode({**query, "count": 500, "after": cursor}))
        except UnreachableError as fault:
            click.echo(f"gotunnel: {fault.message.partition(chr(10))[0]}", err=True)
            time.sleep(AGAIN_SECONDS)
            continue
        if found.lost:
            click.echo(f"gotunnel: {found.lost} lines were missed", err=True)
        _show(found.lines, wish)
        cursor = found.cursor


def _show(lines: list[LogLine], wish: _Wish) -> None:
    for line in lines:
        if wish.as_json:
            click.echo(json.dumps(line.model_dump(mode="json")))
            continue
        head = f"{line.timestamp} [{line.level}] {line.component}: {line.message}"
        click.echo(printable(head))
        trace = line.fields.get("traceback")
        for part in str(trace or "").splitlines():
            click.echo(f"    {printable(part)}")


@logs.command("level")
@click.argument("component", required=False)
@click.argument("level", required=False, type=click.Choice([*LEVELS, "configured"]))
@click.option(
    "--for",
    "seconds",
    type=duration,
    metavar="TIME",
    help="How long, such as 15m or 2h; until the gateway is started anew if left out.",
)
@json_option
@asks_api
def set_level(
    api: ApiClient,
    component: str | None,
    level: str | None,
    seconds: int | None,
    as_json: bool,
) -> None:
    """Show which lines are logged, or set the LEVEL of a COMPONENT.

    COMPONENT is a name as lines have it, such as gateway.net, with all below it; `all`
    stands for those without a level of their own.  LEVEL `configured` sets it back.
    """
    if component is None:
        found = api.log_levels()
    elif level is None:
        raise click.UsageError("LEVEL is missing")
    else:
        body: dict[str, Any] = {
            "component": "" if component == "all" else component,
            "level": None if level == "configured" else level,
            "for_seconds": seconds,
        }
        found = api.set_log_level(body)
    if as_json:
        show_json(found.model_dump(mode="json"))
    else:
        _show_levels(found)


def _show_levels(found: LogLevels) -> None:
    rows = [
        ("all others", found.level, found.configured, found.seconds_left),
        *(
            (one.component, one.level, one.configured or "-", one.seconds_left)
            for one in found.components
        ),
    ]
    show_table(
        ("COMPONENT", "LEVEL", "CONFIGURED", "SECONDS LEFT"),
        [
            (name, level, configured, "-" if left is None else left)
            for name, level, configured, left in rows
        ],
    )
