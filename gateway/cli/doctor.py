"""`gotunnel doctor`: something is wrong now, and where."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.agent.greeting import files_of
from gateway.agent.probe import Prober
from gateway.cli.client import ApiClient
from gateway.cli.exits import FailedError, UnreachableError
from gateway.cli.findings import end_by, show_as_json
from gateway.cli.map import state_text
from gateway.cli.output import aligned, printable, printable_lines
from gateway.config.agent import AgentConfig
from gateway.config.gateway import GatewayConfig
from gateway.config.parse import load_agent, load_gateway
from gateway.errors import ConfigError
from gateway.ops.doctor import Answers, examine_agent, examine_gateway
from gateway.ops.findings import Finding, Verdict
from gateway.ops.packet_filter import run_or_none
from gateway.ops.preflight import read_or_none
from gateway.ops.process import raise_descriptor_limit
from gateway.ops.system import Machine
from gateway.policy.addresses import join_host_port, parse_address

WORDS: Final = {Verdict.GOOD: "ok", Verdict.MIND: "warn", Verdict.BAD: "bad"}
_COLOURS: Final = {Verdict.GOOD: "green", Verdict.MIND: "yellow", Verdict.BAD: "red"}
_API_SECONDS: Final = 5.0
_MOST_UNREACHABLE: Final = 20  # mappings that are listed; `gotunnel map list` has all


@click.command()
@click.option(
    "--config",
    "-c",
    "file",
    type=click.Path(dir_okay=False),
    help="Configuration of the gateway or the agent; defaults and the environment if "
    "left out.",
)
@click.option(
    "--role",
    type=click.Choice(("gateway", "agent")),
    help="Whose configuration it is; found out if left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(file: str | None, role: str | None, as_json: bool) -> None:
    """Find out what is wrong with a gateway or an agent, and what to do about it.

    Nothing is changed.  An agent's way to its gateway is tried by a probe that takes no
    place of the running agent.  Run it as the user and on the machine of the process,
    while that should be running.
    """
    findings = examine(_load(file, role))
    if as_json:
        show_as_json(findings, WORDS)
    else:
        _show(findings)
    end_by(findings, quiet=as_json)


def examine(config: GatewayConfig | AgentConfig) -> list[Finding]:
    """Return everything that was found on this machine, and on the way to others."""
    machine = Machine(datetime.now(UTC), raise_descriptor_limit(), read_or_none)
    if isinstance(config, GatewayConfig):
        return [*examine_gateway(config, machine, _ask(config), run_or_none)]
    prober = Prober(config, os.urandom, time.time)
    probes = [prober.probe(server) for server in config.server]
    return [*examine_agent(config, machine, probes, files_of(config.tls))]


def _load(file: str | None, role: str | None) -> GatewayConfig | AgentConfig:
    """Return the configuration of whichever end it is fit for."""
    problems: dict[str, ConfigError] = {}
    loaded: dict[str, GatewayConfig | AgentConfig] = {}
    for name in (role,) if role else ("gateway", "agent"):
        load = load_gateway if name == "gateway" else load_agent
        try:
            loaded[name] = load(file, environ=os.environ, options={}).config
        except ConfigError as fault:
            problems[name] = fault
    if len(loaded) == 2 and file is not None:
        raise FailedError(
            f"{printable(file)} is good for a gateway and for an agent; say which by "
            "--role"
        )
    if loaded:
        return next(iter(loaded.values()))
    # the end that has less to complain of is the one that was meant
    meant = min(problems.values(), key=lambda one: len(one.problems))
    raise FailedError(printable_lines("\n".join(meant.problems)))


def _ask(config: GatewayConfig) -> Answers:
    """Ask the running gateway how it is."""
    client = _client(config)
    try:
        health = client.health()
    except (FailedError, UnreachableError) as fault:
        return Answers(fault=fault.message.partition("\n")[0])
    complaints = [
        f"{check.name}: {check.message or check.status}"
        for check in health.checks
        if check.status != "healthy"
    ]
    try:
        agents = [(one.name, one.software) for one in client.agents().agents]
        rows = client.mappings().mappings
        targets = [
            row.target_host
            for row in rows
            if not row.use_tunnel and parse_address(row.target_host) is None
        ]
    except (FailedError, UnreachableError):
        return Answers(status=health.status, complaints=complaints)
    return Answers(
        status=health.status,
        complaints=complaints,
        agents=agents,
        targets=targets,
        unreachable=[
            (row.port, state_text(row)) for row in rows if row.unreachable_cause
        ][:_MOST_UNREACHABLE],
    )


def _client(config: GatewayConfig) -> ApiClient:
    api = config.api
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(
        api.bind, api.bind
    )
    scheme, tls = "http", None
    if api.tls.enabled:
        # the certificate is judged from its file; it is hardly for a loopback address
        scheme, tls = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    key = config.security.api.api_key
    return ApiClient(
        f"{scheme}://{join_host_port(host, api.listen_port)}",
        api_key=None if key is None else key.get_secret_value(),
        timeout_seconds=_API_SECONDS,
        language="en",
        tls=tls,
    )


def _show(findings: Sequence[Finding]) -> None:
    """Print a table on a terminal, lines elsewhere; what is wrong with advice."""
    console = Console()
    if console.is_terminal:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("", "AREA", "SEEN", "SHOULD BE", "WHAT TO DO"):
            table.add_column(heading, overflow="fold")
        for one in findings:
            table.add_row(
                Text(WORDS[one.verdict].upper(), style=_COLOURS[one.verdict]),
                *(Text(printable(text)) for text in
                  (one.area, one.what, one.wanted, one.advice)),
            )  # fmt: skip
        console.print(table)
        return
    for one, line in zip(
        findings,
        aligned(
            [[WORDS[f.verdict].upper(), f.area, printable(f.what)] for f in findings]
        ),
        strict=True,
    ):
        click.echo(line)
        for title, text in (("should be", one.wanted), ("to do", one.advice)):
            if text:
                click.echo(f"      {title}: {printable(text)}")
