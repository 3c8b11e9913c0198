"""`gotunnel events`: what happens at a gateway, as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from typing import IO, Any, Final, NamedTuple
from urllib.parse import quote

import click

from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.exits import UnreachableError
from gateway.cli.output import json_option, printable
from gateway.cli.streams import end_with_output

AGAIN_SECONDS: Final = 2.0
USUAL_RECENT: Final = 20
_LONGEST_LINE: Final = 1 << 20  # bytes
_NOW: Final = ": now"  # the comment behind what was there already


class Told(NamedTuple):
    """One event as it was told.

    Attributes:
        id: to go on behind it.
        topic: what it is about; `gap` = others were lost; empty = nothing happened,
            and `id` is where the stream begins.
        fields: when, what, and to what.
    """

    id: str
    topic: str
    fields: dict[str, Any]


def read_events(stream: IO[bytes]) -> Iterator[Told | None]:
    """Read server-sent events; None = what follows is new.

    Raises:
        ValueError: this is something else.
    """
    found: dict[str, str] = {}
    while line := stream.readline(_LONGEST_LINE):
        text = line.decode("utf-8").rstrip("\n")
        if text == _NOW:
            yield None
        elif text.startswith(":"):
            continue
        elif text:
            name, _, value = text.partition(":")
            found[name] = value.removeprefix(" ")
        elif found:
            fields = json.loads(found.get("data", "{}"))
            yield Told(found.get("id", ""), found.get("event", ""), fields)
            found = {}


@click.command()
@click.option(
    "--topics",
    default="",
    metavar="TOPIC,...",
    help="Only these: mapping, link, connection, refusal, reload, ban, gateway.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now.")
@click.option(
    "--recent",
    type=click.IntRange(0, 2000),
    default=USUAL_RECENT,
    show_default=True,
    help="How many of the last events to begin with.",
)
@json_option
@asks_api
def events(
    api: ApiClient, topics: str, follow: bool, recent: int, as_json: bool
) -> None:
    """Show what happened last, and with -f what happens, one line for each event."""
    path = f"/api/events?topics={quote(topics)}" + (f"&recent={recent}" * bool(recent))
    reader = _Reader(api, path, follow=follow, as_json=as_json)
    if follow:
        end_with_output()
    try:
        while (why := reader.read()) is not None:
            if not follow:
                raise UnreachableError(why)
            click.echo(printable(f"{why}; trying again"), err=True)
            time.sleep(AGAIN_SECONDS)
    except KeyboardInterrupt:
        return


class _Reader:
    """Reads one stream after the other, each from where the last one ended."""

    def __init__(
        self, api: ApiClient, path: str, *, follow: bool, as_json: bool
    ) -> None:
        self._api = api
        self._path = path
        self._follow = follow
        self._as_json = as_json
        self._last_id: str | None = None
        self._begun = False

    def read(self) -> str | None:
        """Show a stream; return why it ended, or None if it was all that is wanted.

        Raises:
            FailedError: the gateway refuses.
            UnreachableError: it has never been there.
        """
        try:
            with self._api.stream(self._path, self._last_id) as stream:
                self._begun = True
                return self._show_all(stream)
        except (OSError, HTTPException, ValueError) as fault:
            return f"the stream broke off: {fault}"
        except UnreachableError as fault:
            if not self._begun:
                raise
            return fault.message.partition("\n")[0]

    def _show_all(self, stream: IO[bytes]) -> str | None:
        for told in read_events(stream):
            if told is not None:
                self._last_id = told.id or self._last_id
                if told.topic:
                    _show(told, as_json=self._as_json)
            elif not self._follow:
                return None
        return "the gateway ended the stream"


def _show(told: Told, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": told.id, "topic": told.topic, **told.fields}))
    elif told.topic == "gap":
        click.echo("events were lost before what follows", err=True)
    else:
        click.echo(printable(_line(told)))


def _line(told: Told) -> str:
    fields = dict(told.fields)
    at = datetime.fromtimestamp(float(fields.pop("at_unix", 0)), UTC)
    action = fields.pop("action", "")
    said = [
        f"{name}={_value(value)}"
        for name, value in fields.items()
        if value is not None and value != ""
    ]
    return " ".join([f"{at:%Y-%m-%d %H:%M:%S}", told.topic, action, *said])


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
