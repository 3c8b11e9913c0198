"""`gotunnel status`: is the gateway fit, who is connected, what is mapped."""

from __future__ import annotations

import click

from gateway.api.answers import AgentRow, Health
from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.exits import Exit
from gateway.cli.map import show_mappings
from gateway.cli.output import json_option, printable, show_json, show_table


@click.command()
@json_option
@asks_api
def status(api: ApiClient, as_json: bool) -> None:
    """Show the gateway's health, agents and mappings; exit code 1 if unhealthy."""
    health, agents, mappings = api.health(), api.agents(), api.mappings()
    if as_json:
        show_json(
            {
                "health": health.model_dump(mode="json"),
                "agents": agents.model_dump(mode="json")["agents"],
                "mappings": mappings.model_dump(mode="json")["mappings"],
            }
        )
    else:
        _show_health(api.url, health)
        if agents.open_to_all and health.tunnel_enabled:
            click.echo(
                "!!! NO CREDENTIAL: whoever reaches the link port can act as an agent; "
                "set tunnel.auth_token, or make keys by `gotunnel agent-key create`\n"
            )
        _show_agents(agents.agents)
        if mappings.mappings:
            show_mappings(mappings.mappings)
        else:
            click.echo("no mappings")
    if health.status == "unhealthy":
        raise click.exceptions.Exit(Exit.FAILED)


def _show_health(url: str, health: Health) -> None:
    tunnel = "on" if health.tunnel_enabled else "off"
    click.echo(f"gateway at {url}: {health.status}, tunnel service {tunnel}")
    for check in health.checks:
        note = f": {check.message}" if check.message else ""
        click.echo(printable(f"  {check.name} {check.status.value}{note}"))
    click.echo()


def _show_agents(agents: list[AgentRow]) -> None:
    if not agents:
        click.echo("no agent is connected")
    else:
        show_table(
            ("AGENT", "ADDRESS", "LINKS", "OPEN", "RTT", "SINCE (UTC)", "SOFTWARE"),
            [
                (
                    agent.name,
                    agent.address,
                    agent.links,
                    agent.streams,
                    _milliseconds(agent.rtt_seconds),
                    agent.connected_at,
                    agent.software if agent.negotiated else f"{agent.software} (v1)",
                )
                for agent in agents
            ],
        )
    click.echo()


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
