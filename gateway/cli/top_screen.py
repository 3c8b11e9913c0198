"""How `gotunnel top` looks: a few lines of numbers above a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.api.answers import AgentRow
from gateway.api.stat_rows import ConnectionList, ConnectionRow, Stats
from gateway.cli.output import printable

OTHER_LINES: Final = 9  # of the screen, beside the rows of the table
MOST_AGENTS: Final = 3
_BARS: Final = "▁▂▃▄▅▆▇█"
_HELP: Final = (
    "↑↓ select  k end connection  s sort  r reverse  / filter  p pause  q quit"
)
_WAITS: Final = {
    "target_answer": "target's answer",
    "visitor": "slow visitor",
    "target": "slow target",
    "window": "window",
    "link": "link is full",
    "memory": "memory",
    "rate": "rate limit",
}


@dataclass(slots=True)
class Choice:
    """What the person at the terminal has chosen.

    Attributes:
        sort: a key of `gateway.server.connections.SORTS`.
        descending: the largest first.
        visitor: part of the address that is looked for; empty = all.
        row: number of the selected row of the page.
        offset: rows before the page.
        paused: nothing is asked for anew.
        typing: the filter is being typed.
        asking: the id of the connection that is to be ended if `y` follows.
        said: what to tell at the bottom.
        rates: bytes a second of late, the newest last.
    """

    sort: str = "rate"
    descending: bool = True
    visitor: str = ""
    row: int = 0
    offset: int = 0
    paused: bool = False
    typing: bool = False
    asking: str | None = None
    said: str = ""
    rates: list[float] = field(default_factory=list)


def screen(
    url: str,
    stats: Stats,
    agents: Sequence[AgentRow],
    page: ConnectionList,
    choice: Choice,
) -> RenderableType:
    """Return the whole screen."""
    return Group(
        _first_line(url, stats),
        _second_line(stats, choice.rates),
        _machine_line(stats),
        *map(_agent_line, agents[:MOST_AGENTS]),
        *([Text(f"... {len(agents)} agents")] if len(agents) > MOST_AGENTS else []),
        _table(page, choice),
        _bottom(page, choice),
    )


def _first_line(url: str, stats: Stats) -> Text:
    line = Text.assemble(
        ("gotunnel ", "bold"),
        f"{stats.version} at {url}, up {duration_text(stats.uptime_seconds)}",
    )
    if stats.draining:
        line.append("  STOPPING", "bold red")
    if stats.open_to_all and stats.tunnel_enabled:
        line.append("  NO LINK CREDENTIAL: anybody can act as an agent", "bold red")
    return line


def _second_line(stats: Stats, rates: Sequence[float]) -> Text:
    count, rate = stats.connections, stats.rate
    line = Text.assemble(
        (f"{count.active}", "bold"),
        f" active, {count.pending} waiting, {count.total} ever, ",
        f"{count.errors} errors, {count.rejected} turned away   ",
        (f"▲ {size_text(rate.sent)}/s ", "green"),
        (f"▼ {size_text(rate.received)}/s ", "cyan"),
        f"{rate.connections:g} new/s ",
    )
    line.append(bars(rates), "dim")
    return line


def _machine_line(stats: Stats) -> Text:
    mappings, memory, files = stats.mappings, stats.memory, stats.descriptors
    line = Text(
        f"{mappings.listening} of {mappings.total} mappings open, "
        f"{stats.agents} agents, {stats.links} links   "
        f"memory {size_text(memory.resident)}, "
        f"{size_text(memory.held)} waiting   files {files.open}/{files.limit}   "
        f"lag {stats.loop_lag_seconds * 1000:.0f} ms"
    )
    if mappings.error:
        line.append(f"   {mappings.error} mappings NOT SERVED", "bold red")
    if stats.tunnel_enabled and not stats.tunnel_connected:
        line.append("   NO AGENT", "bold red")
    return line


def _agent_line(agent: AgentRow) -> Text:
    trip = "?" if agent.rtt_seconds is None else f"{agent.rtt_seconds * 1000:.1f} ms"
    return Text(
        printable(
            f"agent {agent.name} at {agent.address}: {agent.links} links, "
            f"{agent.streams} connections, round trip {trip}"
        ),
        "dim",
        no_wrap=True,
        overflow="ellipsis",
    )


def _table(page: ConnectionList, choice: Choice) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="reverse")
    for heading, sort in (
        ("VISITOR", "visitor"),
        ("PORT", "port"),
        ("NAME", ""),
        ("AGENT", "agent"),
        ("TARGET", ""),
        ("AGE", "age"),
        ("SENT", "sent"),
        ("RECEIVED", "received"),
        ("RATE", "rate"),
        ("STATE", ""),
    ):
        sign = " ▼" if choice.descending else " ▲"
        mark = sign if sort == choice.sort else ""
        right = heading in ("PORT", "AGE", "SENT", "RECEIVED", "RATE")
        table.add_column(
            heading + mark,
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for number, row in enumerate(page.connections):
        style = "reverse" if number == choice.row else ""
        table.add_row(*_cells(row), style=style)
    return table


def _cells(row: ConnectionRow) -> list[str]:
    waits = row.waits_for
    state = row.state if waits is None else f"waits: {_WAITS.get(waits, waits)}"
    cells = (
        row.visitor,
        str(row.port),
        row.mapping_name,
        row.agent or ("-" if row.use_tunnel else "direct"),
        row.target,
        duration_text(row.age_seconds),
        size_text(row.bytes_sent),
        size_text(row.bytes_received),
        f"{size_text(row.rate_sent + row.rate_received)}/s",
        state,
    )
    return [printable(cell).replace("[", "\\[") for cell in cells]


def _bottom(page: ConnectionList, choice: Choice) -> Text:
    if choice.asking is not None:
        return Text(f"end connection {choice.asking}? y/n", "bold")
    if choice.typing:
        return Text(f"visitor: {choice.visitor}_", "bold")
    if choice.said:
        return Text(printable(choice.said), "bold")
    first = page.offset + 1 if page.connections else 0
    shown = f"{first}-{page.offset + page.count} of {page.total}"
    filtered = f", visitor {choice.visitor}" if choice.visitor else ""
    paused = "  PAUSED" if choice.paused else ""
    return Text(f"{shown}{filtered}{paused}   {_HELP}", "dim", no_wrap=True)


def bars(values: Sequence[float]) -> str:
    """Return a small curve, as high as its highest value."""
    highest = max(values, default=0.0)
    if not highest:
        return _BARS[0] * len(values)
    last = len(_BARS) - 1
    return "".join(_BARS[round(value / highest * last)] for value in values)


def size_text(size: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def duration_text(seconds: float) -> str:
    """Return a duration for people, in its two largest units."""
    whole = int(seconds)
    for unit, name, below, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= unit:
            return f"{whole // unit}{name}{whole % unit // below:02d}{small}"
    return f"{whole}s"
