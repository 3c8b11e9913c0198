"""`gotunnel map`: look at mappings and change them one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.api.answers import ChangedRow, MappingRow, date_text
from gateway.cli.apply import apply, export
from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.kinds import (
    PORT,
    WISHED_PORT,
    Place,
    Seconds,
    duration,
    label,
    place,
)
from gateway.cli.output import json_option, printable, show_json, show_table
from gateway.policy.addresses import join_host_port
from gateway.policy.visitors import PROXY_FORMS

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., None])


@click.group()
def mappings() -> None:
    """Look at mappings and change them."""


mappings.add_command(apply)
mappings.add_command(export)


def _fields(command: AnyCommand) -> AnyCommand:
    """Add the options that creating and updating have in common."""
    for option in (
        click.option(
            "--label",
            "labels",
            type=label,
            metavar="KEY=TEXT",
            multiple=True,
            help="A label; may be given several times.",
        ),
        click.option("--name", help="Free text for people."),
        click.option(
            "--expected/--not-expected",
            default=None,
            help="Whether the gateway counts as degraded while this cannot serve.",
        ),
        click.option("--agent", help="Name of the agent that reaches the target."),
        click.option(
            "--tunnel/--direct",
            "use_tunnel",
            default=None,
            help="Through an agent, or dialled by the gateway itself.",
        ),
        click.option("--target-port", type=PORT, help="Port of the target."),
        click.option(
            "--target",
            type=place,
            metavar="HOST[:PORT]",
            help="What visitors are taken to; :PORT is the agent's own machine.",
        ),
    ):
        command = option(command)
    return command


def _rules(command: AnyCommand) -> AnyCommand:
    """Add the options of what a mapping asks of its visitors."""
    for option in (
        click.option(
            "--expires",
            "expires_in",
            type=duration,
            metavar="TIME",
            help="Remove the mapping after that time, such as 90s, 12h or 30d.",
        ),
        click.option(
            "--trusted-proxy",
            "trusted_proxies",
            metavar="NETWORK",
            multiple=True,
            help="Where balancers in front send the PROXY protocol from; repeatable.",
        ),
        click.option(
            "--proxy-protocol",
            type=click.Choice(PROXY_FORMS),
            help="Tell the target where the visitor is from.",
        ),
        click.option(
            "--idle-timeout",
            type=Seconds(0),
            metavar="SECONDS",
            help="Send visitors away who are silent for so long; 0 = never.",
        ),
        click.option(
            "--connection-bandwidth",
            "connection_bandwidth_limit",
            type=click.IntRange(0),
            metavar="BYTES",
            help="Bytes a second each way of one visitor; 0 = any number.",
        ),
        click.option(
            "--bandwidth",
            "bandwidth_limit",
            type=click.IntRange(0),
            metavar="BYTES",
            help="Bytes a second each way of all visitors together; 0 = any number.",
        ),
        click.option(
            "--max-connections-per-ip",
            type=click.IntRange(0),
            help="Visitors of one address at one time; 0 = any number.",
        ),
        click.option(
            "--max-connections",
            type=click.IntRange(0),
            help="Visitors at one time; 0 = any number.",
        ),
        click.option(
            "--deny",
            metavar="NETWORK",
            multiple=True,
            help="Turn visitors from there away; repeatable.",
        ),
        click.option(
            "--allow",
            metavar="NETWORK",
            multiple=True,
            help="Admit visitors from there alone; repeatable.",
        ),
    ):
        command = option(command)
    return command


def _rule_keys(
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    **others: object,
) -> dict[str, object]:
    """Return the keys of a request for the options of `_rules` that were given."""
    if allow and deny:
        raise click.UsageError("--allow excludes --deny: a mapping has one list")
    keys: dict[str, object] = dict(others)
    if allow or deny:
        keys["access_rule"] = "whitelist" if allow else "blacklist"
        keys["access_ips"] = list(allow or deny)
    if trusted_proxies:
        keys["trusted_proxies"] = list(trusted_proxies)
    return keys


def _body(
    port: int,
    target: Place | None,
    target_port: int | None,
    labels: tuple[tuple[str, str], ...],
    **others: object,
) -> dict[str, object]:
    """Return the keys of a request for the options that were given."""
    if target is not None and target.port is not None:
        if target_port not in (None, target.port):
            raise click.UsageError(
                f"--target names port {target.port}, --target-port {target_port}"
            )
        target_port = target.port
    if len(dict(labels)) < len(labels):
        raise click.UsageError("--label gives one key twice")
    body: dict[str, object] = {
        "port": port,
        "target_host": None if target is None else target.host,
        "target_port": target_port,
        "labels": dict(labels) or None,
        **others,
    }
    return {key: value for key, value in body.items() if value is not None}


@mappings.command("list")
@json_option
@asks_api
def list_mappings(api: ApiClient, as_json: bool) -> None:
    """List all mappings, ordered by port."""
    found = api.mappings()
    if as_json:
        show_json(found.model_dump(mode="json"))
    elif found.mappings:
        show_mappings(found.mappings)
    else:
        click.echo("no mappings; make one with `gotunnel map add PORT`")


def show_mappings(rows: list[MappingRow]) -> None:
    """Print a table of mappings."""
    show_table(
        ("PORT", "LISTEN", "TARGET", "WAY", "STATE", "OPEN", "NAME", "LABELS"),
        [
            (
                row.port,
                row.listen or "*",
                target_text(row),
                way_text(row),
                state_text(row),
                row.connections,
                row.name,
                " ".join(f"{key}={text}" for key, text in row.labels.items()),
            )
            for row in rows
        ],
    )


def target_text(row: MappingRow) -> str:
    """Return a mapping's target for people; `agent` is the agent's own machine."""
    return join_host_port(row.target_host or "agent", row.target_port)


def state_text(row: MappingRow) -> str:
    """Return the state of a mapping, why it does not serve, and since when."""
    since = row.unreachable_since_unix
    moment = "" if since is None else f" since {date_text(since)} UTC"
    return row.state + moment + ("" if row.error is None else f": {row.error}")


def way_text(row: MappingRow) -> str:
    """Return how visitors get to the target, and who asked for the mapping."""
    if not row.use_tunnel:
        return "direct"
    way = f"agent {row.agent}" if row.agent is not None else "tunnel"
    return f"{way} (its own)" if row.source == "agent" else way


def _show_one(row: MappingRow, as_json: bool) -> None:
    if as_json:
        show_json(row.model_dump(mode="json"))
        return
    facts = {
        "port": row.port,
        "protocol": row.protocol,
        "listen": row.listen or "all interfaces",
        "target": target_text(row),
        "way": way_text(row),
        "state": state_text(row),
        "expected": "to serve" if row.expected else "-",
        "connections": row.connections,
        "name": row.name or "-",
        "labels": " ".join(f"{k}={v}" for k, v in row.labels.items()) or "-",
        **_rule_facts(row),
        "created": f"{row.created_at} UTC",
    }
    for name, fact in facts.items():
        click.echo(f"{name:<12} {printable(str(fact))}")


def _rule_facts(row: MappingRow) -> dict[str, object]:
    """Return what a mapping asks of its visitors, as far as it asks for anything."""
    rates = (row.bandwidth_limit, row.connection_bandwidth_limit)
    most = (row.max_connections, row.max_connections_per_ip)
    facts = {
        row.access_rule: " ".join(row.access_ips) or "-"
        if row.access_rule != "disabled"
        else "",
        "at most": f"{most[0] or 'any'} visitors, {most[1] or 'any'} of one address"
        if any(most)
        else "",
        "bytes/s": f"{rates[0] or 'any'} in all, {rates[1] or 'any'} for one visitor"
        if any(rates)
        else "",
        "idle": f"{row.idle_timeout:g} seconds at most" if row.idle_timeout else "",
        "PROXY": row.proxy_protocol if row.proxy_protocol != "off" else "",
        "balancers": " ".join(row.trusted_proxies),
        "turned away": " ".join(f"{k}={v}" for k, v in row.rejected.items()),
        "failed": " ".join(f"{k}={v}" for k, v in row.failed.items()),
        "expires": f"{row.expires_at} UTC" if row.expires_at else "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _warn_of_absence(row: ChangedRow) -> None:
    """Say on standard error that visitors would not find the agent now."""
    if not row.use_tunnel or row.tunnel_connected:
        return
    if row.agent is None:
        what = "no agent that would serve it (default, or the only one) is connected"
    else:
        what = f"no agent {row.agent} is connected"
    warning = f"{what}; visitors are turned away until it is"
    click.echo(printable(warning), err=True)


@mappings.command()
@click.argument("port", type=WISHED_PORT)
@_fields
@_rules
@click.option("--listen", help="Address to listen on; all interfaces if left out.")
@json_option
@asks_api
def add(
    api: ApiClient,
    /,
    port: int,
    target: Place | None,
    target_port: int | None,
    use_tunnel: bool | None,
    agent: str | None,
    name: str | None,
    labels: tuple[tuple[str, str], ...],
    expected: bool | None,
    listen: str | None,
    as_json: bool,
    **rules: Any,  # noqa: ANN401 - options of any kind
) -> None:
    """Open the public port PORT; 0 picks a free one and prints it."""
    row = api.create(
        _body(
            port,
            target,
            target_port,
            labels,
            use_tunnel=use_tunnel,
            agent=agent,
            name=name,
            expected=expected,
            listen=listen,
            **_rule_keys(**rules),
        )
    )
    if as_json:
        show_json(row.model_dump(mode="json"))
    else:
        click.echo(
            printable(f"port {row.port} leads to {target_text(row)} ({way_text(row)})")
        )
    _warn_of_absence(row)


@mappings.command()
@click.argument("port", type=PORT)
@json_option
@asks_api
def show(api: ApiClient, port: int, as_json: bool) -> None:
    """Show everything about the mapping on PORT."""
    _show_one(api.mapping(port), as_json)


@mappings.command()
@click.argument("port", type=PORT)
@_fields
@click.option("--any-agent", is_flag=True, help="No longer bound to one agent.")
@click.option("--no-labels", is_flag=True, help="Take all labels off.")
@_rules
@click.option("--any-visitor", is_flag=True, help="Admit visitors from anywhere.")
@click.option("--no-proxies", is_flag=True, help="No balancer is in front any more.")
@click.option("--never-expires", is_flag=True, help="Keep the mapping for good.")
@json_option
@asks_api
def update(
    api: ApiClient,
    /,
    port: int,
    target: Place | None,
    target_port: int | None,
    use_tunnel: bool | None,
    agent: str | None,
    name: str | None,
    labels: tuple[tuple[str, str], ...],
    expected: bool | None,
    any_agent: bool,
    no_labels: bool,
    any_visitor: bool,
    no_proxies: bool,
    never_expires: bool,
    as_json: bool,
    **rules: Any,  # noqa: ANN401 - options of any kind
) -> None:
    """Change the mapping on PORT; what is not named stays.

    Lists and labels given replace all old ones.  Connections under way go on as they
    are, but for those that may not come any more.
    """
    for given, opposite, names in (
        (any_agent, agent is not None, "--agent excludes --any-agent"),
        (no_labels, labels, "--label excludes --no-labels"),
        (
            any_visitor,
            rules["allow"] or rules["deny"],
            "--allow and --deny exclude --any-visitor",
        ),
        (
            no_proxies,
            rules["trusted_proxies"],
            "--trusted-proxy excludes --no-proxies",
        ),
        (never_expires, rules["expires_in"], "--expires excludes --never-expires"),
    ):
        if given and opposite:
            raise click.UsageError(names)
    changes = _body(
        port,
        target,
        target_port,
        labels,
        use_tunnel=use_tunnel,
        agent=agent,
        name=name,
        expected=expected,
        **_rule_keys(**rules),
    )
    if any_visitor:
        changes |= {"access_rule": "disabled", "access_ips": []}
    if no_proxies:
        changes["trusted_proxies"] = []
    if never_expires:
        changes["expires_in"] = None
    if any_agent:
        changes["agent"] = None
    if no_labels:
        changes["labels"] = {}
    if len(changes) == 1:
        raise click.UsageError("nothing to change was named")
    row = api.update(changes)
    _show_one(row, as_json)
    _warn_of_absence(row)


def _show_state(row: ChangedRow, as_json: bool) -> None:
    if as_json:
        show_json(row.model_dump(mode="json"))
    else:
        click.echo(printable(f"port {row.port} is {state_text(row)}"))


@mappings.command()
@click.argument("port", type=PORT)
@json_option
@asks_api
def enable(api: ApiClient, port: int, as_json: bool) -> None:
    """Open the public port PORT of a mapping that was disabled."""
    _show_state(api.enable(port), as_json)


@mappings.command()
@click.argument("port", type=PORT)
@click.option("--close", is_flag=True, help="End connections under way at once.")
@json_option
@asks_api
def disable(api: ApiClient, port: int, close: bool, as_json: bool) -> None:
    """Close the public port PORT and keep its mapping.

    Connections under way go on.
    """
    _show_state(api.disable(port, close=close), as_json)


@mappings.command()
@click.argument("port", type=PORT)
@json_option
@asks_api
def reload(api: ApiClient, port: int, as_json: bool) -> None:
    """Read the mapping of the public port PORT from the store anew.

    Connections that are still admitted go on.
    """
    _show_state(api.reload(port), as_json)


@mappings.command()
@click.argument("port", type=PORT)
@click.option(
    "--drain",
    "drain_seconds",
    type=Seconds(0),
    default=0.0,
    metavar="SECONDS",
    help="Let connections under way go on for so long; without it they end at once.",
)
@json_option
@asks_api
def remove(api: ApiClient, port: int, drain_seconds: float, as_json: bool) -> None:
    """Close the public port PORT and forget its mapping."""
    api.remove(port, drain_seconds=drain_seconds)
    if as_json:
        show_json({"port": port})
    else:
        click.echo(f"port {port} is closed and its mapping removed")
