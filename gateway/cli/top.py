"""`gotunnel top`: who is connected, live in a terminal."""

from __future__ import annotations

import sys
import time
from itertools import islice
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from gateway.api.answers import AgentRow
from gateway.api.stat_rows import ConnectionList, Stats
from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.exits import FailedError, UnreachableError
from gateway.cli.keys import (
    BACKSPACE,
    DOWN,
    END_OF_INPUT,
    ENTER,
    ESCAPE,
    PAGE_DOWN,
    PAGE_UP,
    UP,
    Keyboard,
)
from gateway.cli.kinds import Seconds
from gateway.cli.output import json_option, show_json
from gateway.cli.top_screen import MOST_AGENTS, OTHER_LINES, Choice, screen
from gateway.server.connections import SORTS

_CURVE: Final = 30
_LONGEST_FILTER: Final = 60
_FEWEST_ROWS: Final = 3


class Top:
    """Asks the gateway now and then, and does what keys say."""

    def __init__(self, api: ApiClient, console: Console, choice: Choice) -> None:
        self._api = api
        self._console = console
        self.choice = choice
        self._stats: Stats | None = None
        self._agents: list[AgentRow] = []
        self._page = ConnectionList(connections=[], total=0, offset=0, count=0)

    @property
    def _rows(self) -> int:
        lines = self._console.height - OTHER_LINES - MOST_AGENTS
        return max(_FEWEST_ROWS, lines)

    def ask(self) -> None:
        """Get everything anew.

        Raises:
            FailedError: the gateway refuses.
            UnreachableError: it does not answer.
        """
        choice = self.choice
        self._stats = self._api.stats()
        rate = self._stats.rate
        choice.rates = [*choice.rates[1 - _CURVE :], rate.sent + rate.received]
        self._agents = self._api.agents().agents
        self._page = self._api.connections(
            sort=choice.sort,
            descending=choice.descending,
            visitor=choice.visitor,
            offset=choice.offset,
            count=self._rows,
        )
        choice.row = max(0, min(choice.row, self._page.count - 1))

    def show(self) -> object:
        """Return the screen."""
        assert self._stats is not None
        return screen(self._api.url, self._stats, self._agents, self._page, self.choice)

    def facts(self) -> dict[str, object]:
        """Return the same for scripts."""
        assert self._stats is not None
        return {
            "stats": self._stats.model_dump(mode="json"),
            "agents": [agent.model_dump(mode="json") for agent in self._agents],
            **self._page.model_dump(mode="json"),
        }

    def press(self, key: str) -> bool:
        """Do what a key says; return whether to go on.

        Raises:
            FailedError: the gateway refuses.
            UnreachableError: it does not answer.
        """
        choice = self.choice
        choice.said = ""
        if key == END_OF_INPUT:
            return False
        if choice.asking is not None:
            self._answer(key)
        elif choice.typing:
            self._type(key)
        elif key in ("q", ESCAPE):
            return False
        else:
            self._command(key)
        return True

    def _command(self, key: str) -> None:
        choice = self.choice
        if key in (UP, DOWN, PAGE_UP, PAGE_DOWN):
            self._move(key)
        elif key == "k" and self._page.connections:
            choice.asking = self._page.connections[choice.row].id
        elif key == "s":
            names = list(SORTS)
            choice.sort = names[(names.index(choice.sort) + 1) % len(names)]
            self._from_the_top()
        elif key == "r":
            choice.descending = not choice.descending
            self._from_the_top()
        elif key == "/":
            choice.typing = True
        elif key == "p":
            choice.paused = not choice.paused

    def _answer(self, key: str) -> None:
        asked, self.choice.asking = self.choice.asking, None
        if key == "y" and asked is not None:
            ended = self._api.end_connection(asked)
            self.choice.said = f"ended: {ended.visitor} on port {ended.port}"
            self.ask()

    def _type(self, key: str) -> None:
        choice = self.choice
        if key in (ENTER, ESCAPE):
            choice.typing = False
            if key == ESCAPE:
                choice.visitor = ""
            self._from_the_top()
        elif key == BACKSPACE:
            choice.visitor = choice.visitor[:-1]
        elif len(key) == 1 and len(choice.visitor) < _LONGEST_FILTER:
            choice.visitor += key

    def _move(self, key: str) -> None:
        choice, page = self.choice, self._page
        if key == UP and choice.row:
            choice.row -= 1
        elif key == DOWN and choice.row < page.count - 1:
            choice.row += 1
        elif key in (UP, PAGE_UP) and choice.offset:
            choice.offset = max(0, choice.offset - self._rows)
            choice.row = self._rows - 1 if key == UP else 0
            self.ask()
        elif key in (DOWN, PAGE_DOWN) and page.offset + page.count < page.total:
            choice.offset += self._rows
            choice.row = 0
            self.ask()

    def _from_the_top(self) -> None:
        self.choice.row = self.choice.offset = 0
        self.ask()


@click.command()
@click.option(
    "--interval",
    type=Seconds(0.2),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@click.option(
    "--sort",
    type=click.Choice(list(SORTS)),
    default="rate",
    show_default=True,
    help="What the table is sorted by, the largest first.",
)
@click.option("--once", is_flag=True, help="Print one screen and end.")
@json_option
@asks_api
def top(api: ApiClient, interval: float, sort: str, once: bool, as_json: bool) -> None:
    """Show who is connected, live, and end connections by a key.

    Without a terminal it prints one screen and ends.
    """
    console = Console(highlight=False)
    view = Top(api, console, Choice(sort=sort))
    view.ask()
    if as_json:
        show_json(view.facts())
        return
    if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        console.print(view.show())
        return
    _watch(view, console, interval)


def _watch(view: Top, console: Console, interval: float) -> None:
    with (
        Keyboard() as keyboard,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        due = time.monotonic() + interval
        going_on = True
        while going_on:
            live.update(view.show(), refresh=True)  # type: ignore[arg-type] # it can be shown
            key = keyboard.read(due - time.monotonic())
            try:
                if key is not None:
                    going_on = view.press(key)
                if time.monotonic() >= due:
                    due = time.monotonic() + interval
                    if not view.choice.paused:
                        view.ask()
            except (FailedError, UnreachableError) as fault:
                first = next(islice(fault.format_message().splitlines(), 1), "")
                view.choice.said = first
