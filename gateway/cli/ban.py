"""`gotunnel ban` and `gotunnel audit`: who is kept out, and who changed what."""

from __future__ import annotations

import json

import click

from gateway.api.answers import AuditRow
from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.kinds import duration
from gateway.cli.output import json_option, printable, show_json, show_table


@click.group()
def ban() -> None:
    """Keep addresses out, and let them come again."""


@ban.command("list")
@json_option
@asks_api
def list_bans(api: ApiClient, as_json: bool) -> None:
    """List who is kept out, by you or for wrong credentials."""
    found = api.bans()
    if as_json:
        show_json(found.model_dump(mode="json"))
    elif found.bans:
        show_table(
            ("NETWORK", "UNTIL (UTC)", "REASON"),
            [(row.network, row.until or "for good", row.reason) for row in found.bans],
        )
    else:
        click.echo("nobody is banned")


@ban.command("add")
@click.argument("network")
@click.option(
    "--for",
    "seconds",
    type=duration,
    metavar="TIME",
    help="How long, such as 15m, 12h or 30d; for good if left out.",
)
@click.option("--reason", default="", help="Free text for people.")
@json_option
@asks_api
def add_ban(
    api: ApiClient, network: str, seconds: int | None, reason: str, as_json: bool
) -> None:
    """Keep NETWORK, or an address, out of every port; its visitors end now."""
    row = api.add_ban(network, seconds, reason)
    if as_json:
        show_json(row.model_dump(mode="json"))
    else:
        until = f"until {row.until} UTC" if row.until else "for good"
        click.echo(printable(f"{row.network} is kept out {until}"))


@ban.command("remove")
@click.argument("network")
@json_option
@asks_api
def remove_ban(api: ApiClient, network: str, as_json: bool) -> None:
    """Let NETWORK, or an address, come again."""
    row = api.remove_ban(network)
    if as_json:
        show_json(row.model_dump(mode="json"))
    else:
        click.echo(printable(f"{row.network} may come again"))


@click.command()
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many of the newest.",
)
@click.option("--before", type=click.IntRange(1), help="Only those with lower numbers.")
@json_option
@asks_api
def audit(api: ApiClient, count: int, before: int | None, as_json: bool) -> None:
    """Show who changed what, the newest first."""
    found = api.audit(count, before)
    if as_json:
        show_json(found.model_dump(mode="json"))
        return
    show_table(
        ("NUMBER", "TIME (UTC)", "WHO", "FROM", "ACTION", "SUBJECT", "CHANGE"),
        [
            (
                row.id,
                row.at,
                row.who,
                row.address,
                row.action,
                row.subject,
                _difference(row),
            )
            for row in found.entries
        ],
    )


def _difference(row: AuditRow) -> str:
    """Return what became different, in one line."""
    if not isinstance(row.before, dict) or not isinstance(row.after, dict):
        return ""
    keys = sorted(row.before.keys() | row.after.keys())
    return ", ".join(
        f"{key}: {_short(row.before.get(key))} -> {_short(row.after.get(key))}"
        for key in keys
        if row.before.get(key) != row.after.get(key)
    )


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
