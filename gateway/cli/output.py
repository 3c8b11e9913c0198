"""What commands print: tables for people, aligned text for pipes, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def printable(text: str) -> str:
    """Return `text` with everything escaped that could move a cursor or hide."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )


def printable_lines(text: str) -> str:
    """Return a text of several lines, each made printable."""
    return "\n".join(map(printable, text.split("\n")))


def show_json(value: object) -> None:
    """Print a value as JSON; ASCII alone, so every terminal and pipe takes it."""
    click.echo(json.dumps(value, indent=2))


def show_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings; ruled and coloured on a terminal only."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    for line in aligned([list(headings), *cells]):
        click.echo(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line for each row, columns two spaces apart; wide letters count."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
