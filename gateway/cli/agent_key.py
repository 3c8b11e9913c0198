"""`gotunnel agent-key`: keys of agents, and what they may do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import yaml
from pydantic import ValidationError

from gateway.api.answers import AgentKeyRow, NewAgentKey
from gateway.api.bodies import AgentKeyBody
from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.kinds import duration
from gateway.cli.output import json_option, printable, show_json, show_table
from gateway.link.proof import make_verifier
from gateway.policy.credentials import make_key

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group()
def agent_key() -> None:
    """Make, replace and revoke the keys of agents."""


def _limit_options(command: _Command) -> _Command:
    """Add the options that say what an agent may do."""
    options = (
        click.option(
            "--ports",
            help="Public ports that it may ask for and serve, such as "
            "10000-10100,10443.",
        ),
        click.option(
            "--targets",
            multiple=True,
            metavar="TARGET",
            help="What it may be asked to dial: network, host or host:port; "
            "repeatable.",
        ),
        click.option(
            "--max-links", type=click.IntRange(0, 16), help="Links at one time."
        ),
        click.option(
            "--max-streams", type=click.IntRange(0), help="Visitors at one time."
        ),
        click.option(
            "--rate",
            "bandwidth_limit",
            type=click.IntRange(0),
            metavar="BYTES",
            help="Bytes a second each way, of all its visitors.",
        ),
        click.option(
            "--expires",
            "expires_in",
            type=duration,
            metavar="TIME",
            help="How long the key is good for from now, such as 12h or 30d.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@agent_key.command()
@click.argument("name")
@_limit_options
@click.option(
    "--offline",
    is_flag=True,
    help="Ask no gateway: print an entry for its configuration.",
)
@json_option
@asks_api
def create(
    api: ApiClient,
    /,
    name: str,
    targets: tuple[str, ...],
    offline: bool,
    as_json: bool,
    **limits: object,
) -> None:
    """Make a key for the agent NAME and print it, this once.

    Give it to the agent as its token; the gateway keeps what it checks the key by.
    """
    given: dict[str, object] = {
        "name": name,
        "targets": list(targets) or None,
        **limits,
    }
    body = {key: value for key, value in given.items() if value is not None}
    if offline:
        _create_offline(body, as_json=as_json)
        return
    _show_new(api.create_key(body), as_json=as_json)


def _create_offline(body: Mapping[str, object], *, as_json: bool) -> None:
    if "expires_in" in body:
        raise click.UsageError("--offline excludes --expires")
    try:
        checked = AgentKeyBody.model_validate(body)
    except ValidationError as fault:
        raise click.UsageError(str(fault.errors()[0]["msg"])) from None
    key = make_key(os.urandom)
    entry = {
        **checked.model_dump(exclude_defaults=True),
        "verifiers": [str(make_verifier(key, os.urandom))],
    }
    if as_json:
        show_json({"secret": key.secret, "entry": entry})
        return
    click.echo(f"key of the agent, its token: {key.secret}")
    click.echo("In the gateway's configuration, under tunnel.agents:")
    click.echo(yaml.safe_dump([entry], sort_keys=False, width=1000).rstrip())


def _show_new(made: NewAgentKey, *, as_json: bool) -> None:
    if as_json:
        show_json(made.model_dump(mode="json"))
    else:
        click.echo(made.secret)
        click.echo(
            f"This is the key of agent {made.name}; it is not shown again. Put it in "
            "a file (chmod 0600) that the agent's token_file names.",
            err=True,
        )


@agent_key.command("list")
@json_option
@asks_api
def list_keys(api: ApiClient, as_json: bool) -> None:
    """List the agents that have keys, and what they may do."""
    found = api.keys()
    if as_json:
        show_json(found.model_dump(mode="json"))
    elif found.keys:
        _show_rows(found.keys)
    else:
        click.echo("no agent has a key; make one with `gotunnel agent-key create NAME`")


def _show_rows(rows: list[AgentKeyRow]) -> None:
    show_table(
        ("AGENT", "KEYS", "PORTS", "TARGETS", "LINKS", "STREAMS", "RATE", "EXPIRES"),
        [
            (
                row.name if row.source == "stored" else f"{row.name} ({row.source})",
                " ".join(_key_words(row)),
                row.ports or "any",
                "any" if row.targets is None else " ".join(row.targets) or "none",
                row.max_links or "any",
                row.max_streams or "any",
                row.bandwidth_limit or "any",
                "expired" if row.expired else row.expires_at or "never",
            )
            for row in rows
        ],
    )


def _key_words(row: AgentKeyRow) -> list[str]:
    """Return the ids of an agent's keys; of two, one never used is marked."""
    two = len(row.key_ids) > 1 and row.source == "stored"
    return [
        f"{one} (unused)" if two and one not in row.used_key_ids else one
        for one in row.key_ids
    ]


@agent_key.command()
@click.argument("name")
@json_option
@asks_api
def rotate(api: ApiClient, name: str, as_json: bool) -> None:
    """Make a second key for the agent NAME; the older one stays good."""
    _show_new(api.rotate_key(name), as_json=as_json)
    if not as_json:
        click.echo(
            "Put it in the agent's token_file and send the agent a SIGHUP; then "
            f"run: gotunnel agent-key retire {name}",
            err=True,
        )


@agent_key.command()
@click.argument("name")
@_limit_options
@click.option("--any-target", is_flag=True, help="Whatever the agent itself allows.")
@click.option("--never-expires", is_flag=True, help="The key is good for good.")
@json_option
@asks_api
def update(
    api: ApiClient,
    /,
    name: str,
    targets: tuple[str, ...],
    any_target: bool,
    never_expires: bool,
    as_json: bool,
    **limits: object,
) -> None:
    """Change what the agent NAME may do; its links go on.

    What is not named stays as it is; `--ports ""` means all ports.
    """
    if targets and any_target:
        raise click.UsageError("--targets excludes --any-target")
    if limits["expires_in"] is not None and never_expires:
        raise click.UsageError("--expires excludes --never-expires")
    body = {key: value for key, value in limits.items() if value is not None}
    if targets or any_target:
        body["targets"] = list(targets) or None
    if never_expires:
        body["expires_in"] = None
    if not body:
        raise click.UsageError("nothing to change was named")
    row = api.update_key({"name": name, **body})
    if as_json:
        show_json(row.model_dump(mode="json"))
    else:
        _show_rows([row])


@agent_key.command()
@click.argument("name")
@click.option(
    "--force", is_flag=True, help="Even if the agent has never used the newest key."
)
@json_option
@asks_api
def retire(api: ApiClient, name: str, force: bool, as_json: bool) -> None:
    """Let only the newest key of the agent NAME be good; its links go on."""
    row = api.retire_key(name, force=force)
    if as_json:
        show_json(row.model_dump(mode="json"))
    else:
        click.echo(printable(f"agent {row.name} has one key, {row.key_ids[0]}"))


@agent_key.command()
@click.argument("name")
@json_option
@asks_api
def revoke(api: ApiClient, name: str, as_json: bool) -> None:
    """Forget the keys of the agent NAME and end its links at once."""
    row = api.revoke_key(name)
    if as_json:
        show_json(row.model_dump(mode="json"))
    else:
        click.echo(printable(f"agent {row.name} has no key any more"))
