"""`gotunnel check` and `gotunnel firewall`: before a gateway goes to the internet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import click

from gateway.cli.exits import FailedError
from gateway.cli.findings import end_by, show_as_json
from gateway.cli.output import json_option, printable
from gateway.config.gateway import GatewayConfig
from gateway.config.parse import Loaded, load_gateway
from gateway.errors import ConfigError
from gateway.ops.findings import Verdict
from gateway.ops.preflight import Surroundings, look, read_or_none
from gateway.ops.process import raise_descriptor_limit
from gateway.policy.addresses import is_loopback
from gateway.store.keys import count_in_file

_SIGNS: Final = {Verdict.GOOD: "ok  ", Verdict.MIND: "mind", Verdict.BAD: "BAD "}

_config_option = click.option(
    "--config",
    "-c",
    "file",
    type=click.Path(dir_okay=False),
    help="Configuration of the gateway; defaults and the environment if left out.",
)


def _load(file: str | None) -> Loaded[GatewayConfig]:
    try:
        return load_gateway(file, environ=os.environ, options={})
    except ConfigError as fault:
        raise FailedError(printable_problems(fault)) from None


def printable_problems(fault: ConfigError) -> str:
    """Return what is wrong with a configuration, a line each."""
    return "\n".join(map(printable, fault.problems))


@click.command()
@_config_option
@json_option
def check(file: str | None, as_json: bool) -> None:
    """Look at everything that should be right before a gateway is put to work.

    Nothing is changed.  Run it as the gateway's user, where the gateway will run.
    """
    loaded = _load(file)
    around = Surroundings(
        datetime.now(UTC), raise_descriptor_limit(), read_or_none, count_in_file
    )
    findings = look(loaded.config, loaded.warnings, around)
    if as_json:
        show_as_json(findings, {verdict: str(verdict) for verdict in Verdict})
    else:
        area = ""
        for one in findings:
            if one.area != area:
                area = one.area
                click.echo(f"{area}:")
            click.echo(printable(f"  {_SIGNS[one.verdict]}  {one.what}"))
            if one.advice:
                click.echo(printable(f"        -> {one.advice}"))
    end_by(findings, quiet=as_json)


@click.command()
@_config_option
@click.option(
    "--form",
    type=click.Choice(("iptables", "nftables")),
    default="iptables",
    show_default=True,
    help="What the rules are written for.",
)
@click.option(
    "--drop-others",
    is_flag=True,
    help="Also drop everything else but answers, loopback, ping and SSH.",
)
@click.option(
    "--ssh-port",
    type=click.IntRange(1, 65535),
    default=22,
    show_default=True,
    help="Port that --drop-others leaves open for you.",
)
def firewall(file: str | None, form: str, drop_others: bool, ssh_port: int) -> None:
    """Print firewall rules that fit a configuration; nothing is changed.

    The API is open to security.api.allowed_ips alone, the link port, the public ports
    and those of `protocols` to everybody.
    """
    rules = _nftables if form == "nftables" else _iptables
    for line in rules(_load(file).config, drop_others, ssh_port):
        click.echo(line)


def _callers(config: GatewayConfig, version: int) -> list[str]:
    """Return who may reach the API from outside, of one version of IP."""
    allowed = config.security.api.allowed_ips
    return [str(network) for network in allowed if network.version == version]


def _public_ports(config: GatewayConfig, separator: str) -> Iterator[str]:
    """Yield the ports of mappings, and those of the configuration's own forwards."""
    first, last = config.port_range.first, config.port_range.last
    yield f"{first}{separator}{last}"
    others = {
        forward.listen.port
        for forward in config.forwards
        if not (first <= forward.listen.port <= last)
        and not is_loopback(forward.listen.host)
    }
    yield from map(str, sorted(others))


def _iptables(config: GatewayConfig, drop_others: bool, ssh: int) -> Iterator[str]:
    yield "#!/bin/sh"
    yield "set -eu"
    for version, command in ((4, "iptables"), (6, "ip6tables")):
        accept = f"{command} -A INPUT -p tcp --dport"
        if drop_others:
            ping = "icmp" if version == 4 else "ipv6-icmp"
            yield f"{command} -A INPUT -i lo -j ACCEPT"
            state = "-m conntrack --ctstate ESTABLISHED,RELATED"
            yield f"{command} -A INPUT {state} -j ACCEPT"
            yield f"{command} -A INPUT -p {ping} -j ACCEPT"
            yield f"{accept} {ssh} -j ACCEPT"
        if not is_loopback(config.api.bind):
            port = config.api.listen_port
            for network in _callers(config, version):
                yield f"{accept} {port} -s {network} -j ACCEPT"
            yield f"{accept} {port} -i lo -j ACCEPT"
            if config.security.api.allowed_ips:
                yield f"{accept} {port} -j DROP"
            else:
                yield f"{accept} {port} -j ACCEPT"
        if _probed(config):
            yield f"{accept} {config.health.listen_port} -j ACCEPT"
        if config.tunnel.enabled:
            yield f"{accept} {config.tunnel.listen_port} -j ACCEPT"
        for ports in _public_ports(config, ":"):
            yield f"{accept} {ports} -j ACCEPT"
        if drop_others:
            yield f"{command} -P INPUT DROP"


def _probed(config: GatewayConfig) -> bool:
    """Tell whether others reach a port for probes."""
    health = config.health
    return health.listen_port is not None and not is_loopback(health.bind)


def _nftables(config: GatewayConfig, drop_others: bool, ssh: int) -> Iterator[str]:
    policy = "drop" if drop_others else "accept"
    yield "table inet gotunnel"
    yield "delete table inet gotunnel"
    yield "table inet gotunnel {"
    yield "    chain input {"
    yield f"        type filter hook input priority 0; policy {policy};"
    yield '        iif "lo" accept'
    if drop_others:
        yield "        ct state established,related accept"
        yield "        meta l4proto { icmp, ipv6-icmp } accept"
        yield f"        tcp dport {ssh} accept"
    if not is_loopback(config.api.bind):
        port = config.api.listen_port
        for version, family in ((4, "ip"), (6, "ip6")):
            if networks := ", ".join(_callers(config, version)):
                yield f"        tcp dport {port} {family} saddr {{ {networks} }} accept"
        verdict = "drop" if config.security.api.allowed_ips else "accept"
        yield f"        tcp dport {port} {verdict}"
    if _probed(config):
        yield f"        tcp dport {config.health.listen_port} accept"
    if config.tunnel.enabled:
        yield f"        tcp dport {config.tunnel.listen_port} accept"
    for ports in _public_ports(config, "-"):
        yield f"        tcp dport {ports} accept"
    yield "    }"
    yield "}"
