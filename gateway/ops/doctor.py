"""What to look at when a gateway or an agent does not work as it should."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway import SOFTWARE
from gateway.config.agent import AgentConfig
from gateway.config.gateway import GatewayConfig
from gateway.net.certificates import CertificateFiles
from gateway.ops.findings import Finding, Verdict, good
from gateway.ops.holders import Holder, holder_of
from gateway.ops.names import judge_names
from gateway.ops.packet_filter import Run, judge_filter
from gateway.ops.path import Probe, judge_probe
from gateway.ops.sealing import files_of, judge_files
from gateway.ops.system import (
    Machine,
    judge_buffers,
    judge_clock,
    judge_descriptors,
    judge_disk,
    judge_memory,
)
from gateway.policy.addresses import (
    is_loopback,
    join_host_port,
    parse_address,
)

_TARGET_SECONDS: Final = 3.0
Place = tuple[str, str, int]  # key of the port, address, port


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the running gateway says of itself over its API.

    Attributes:
        fault: why it could not be asked at all; empty = it was.
        status: `ok`, `degraded`, `unhealthy`, or empty.
        complaints: what its checks found wrong, a sentence each.
        agents: name and software of each agent; None = it does not tell us.
        targets: hosts of direct mappings; None = it does not tell us.
        unreachable: port of each mapping that cannot serve, and since when and why.
    """

    fault: str = ""
    status: str = ""
    complaints: Sequence[str] = ()
    agents: Sequence[tuple[str, str]] | None = None
    targets: Sequence[str] | None = None
    unreachable: Sequence[tuple[int, str]] = ()


def examine_gateway(
    config: GatewayConfig, machine: Machine, answers: Answers, run: Run
) -> Iterator[Finding]:
    """Examine the gateway of this machine.

    Args:
        config: its settings.
        machine: the system.
        answers: what it says of itself.
        run: returns what a command says, or None.
    """
    holders = [(place, holder_of(place[2], machine.read)) for place in _places(config)]
    yield from _judge_ports(holders, answers)
    yield from _judge_answers(answers)
    names = {forward.target.host for forward in config.forwards}
    names |= set(answers.targets or ())
    yield from judge_names(
        "the target", sorted(name for name in names if parse_address(name) is None)
    )
    yield from _judge_seals(config, machine)
    yield from judge_clock(machine)
    pids = [holder.pid for _, holder in holders if holder is not None]
    yield from judge_descriptors(
        machine,
        "limits.connections",
        config.limits.connections,
        each=2,
        pid=pids[0] if pids else None,
    )
    yield from judge_buffers(machine)
    yield from judge_disk(machine, "the database", config.database.path)
    if config.log.file is not None:
        yield from judge_disk(machine, "the log", config.log.file)
    yield from judge_memory(machine, config.limits.memory)
    yield from judge_filter(_public_ports(config), run)


def _places(config: GatewayConfig) -> list[Place]:
    places = [("api.listen_port", config.api.bind, config.api.listen_port)]
    if config.tunnel.enabled:
        tunnel = config.tunnel
        places.append(("tunnel.listen_port", tunnel.bind, tunnel.listen_port))
    health, health_port = config.health.bind, config.health.listen_port
    if health_port is not None:
        places.append(("health.listen_port", health, health_port))
    if config.debug.enabled:
        places.append(
            ("debug.listen_port", config.debug.bind, config.debug.listen_port)
        )
    return places


def _public_ports(config: GatewayConfig) -> list[tuple[str, int, int]]:
    ports = [("port_range", config.port_range.first, config.port_range.last)]
    for key, address, port in _places(config):
        if not is_loopback(address):
            ports.append((key, port, port))
    return ports


def _judge_ports(
    holders: Sequence[tuple[Place, Holder | None]], answers: Answers
) -> Iterator[Finding]:
    for (key, address, port), holder in holders:
        where = f"{key}: {join_host_port(address or '*', port)}"
        if holder is None:
            yield Finding(
                "ports",
                Verdict.BAD,
                f"{where}: nobody listens",
                "start the gateway (systemctl start gotunnel), and read its log",
                "the gateway listens",
            )
        elif holder.is_ours or (holder.pid is None and not answers.fault):
            yield good("ports", f"{where} is held by {holder}")
        else:
            yield Finding(
                "ports",
                Verdict.MIND if holder.pid is None else Verdict.BAD,
                f"{where} is held by {holder}",
                "run this as the gateway's user or root to see whose it is"
                if holder.pid is None
                else "stop that, or take another port",
                "the gateway listens",
            )


def _judge_answers(answers: Answers) -> Iterator[Finding]:
    if answers.fault:
        yield Finding(
            "health",
            Verdict.BAD,
            answers.fault,
            "look at the log, and whether this configuration is the running one",
            "the API answers",
        )
        return
    if answers.status == "ok":
        yield good("health", "the gateway says that it is well")
    for words in answers.complaints:
        yield Finding(
            "health",
            Verdict.BAD if answers.status == "unhealthy" else Verdict.MIND,
            f"the gateway is {answers.status}: {words}",
            "see docs/operations.md, and the log",
            "ok",
        )
    for port, words in answers.unreachable:
        yield Finding(
            "mappings",
            Verdict.MIND,
            f"the mapping on port {port} is {words}",
            f"see `gotunnel map show {port}`; mend the cause, or remove the mapping",
            "its connections reach the target",
        )
    yield from _judge_versions(answers.agents)


def _judge_versions(agents: Sequence[tuple[str, str]] | None) -> Iterator[Finding]:
    if agents is None:
        yield Finding(
            "version",
            Verdict.MIND,
            "the versions of the agents could not be asked for",
            "gotunnel status, with a key or a token, shows them",
        )
        return
    for name, software in agents:
        if software == SOFTWARE:
            yield good("version", f"agent {name} is {software}, as this is")
        else:
            yield Finding(
                "version",
                Verdict.MIND,
                f"agent {name} is {software or 'of no known version'}, this is "
                f"{SOFTWARE}",
                "bring the older end up to date, the gateway first",
                "the same version at both ends",
            )


def _judge_seals(config: GatewayConfig, machine: Machine) -> Iterator[Finding]:
    readable = "readable_keys" in config.security.allow_unsafe
    tunnel, api = config.security.tunnel, config.api.tls
    for key, enabled, files in (
        ("security.tunnel", tunnel.enable_tls, tunnel),
        ("api.tls", api.enabled, api),
    ):
        if enabled:
            named = files_of(files, allow_readable=readable)
            yield from judge_files("tls", key, named, machine.now, server=True)


def examine_agent(
    config: AgentConfig,
    machine: Machine,
    probes: Sequence[Probe],
    files: CertificateFiles,
) -> Iterator[Finding]:
    """Examine the agent of this machine, and its way to the gateway.

    Args:
        config: its settings.
        machine: the system.
        probes: what each of its gateways answered.
        files: its certificate and whom it trusts.
    """
    for probe in probes:
        yield from judge_probe(probe, machine.now)
    if config.tls.enabled:
        yield from judge_files("tls", "tls", files, machine.now, server=False)
    yield from _judge_targets(config)
    yield from judge_clock(machine)
    yield from judge_descriptors(
        machine, "limits.streams", config.limits.streams, each=1, pid=None
    )
    yield from judge_buffers(machine)
    if config.log.file is not None:
        yield from judge_disk(machine, "the log", config.log.file)
    yield from judge_memory(machine, config.limits.memory)


def _judge_targets(config: AgentConfig) -> Iterator[Finding]:
    """Judge whether what the agent offers is there."""
    for wish in config.expose:
        place = (wish.local.host, wish.local.port)
        try:
            socket.create_connection(place, _TARGET_SECONDS).close()
        except (OSError, UnicodeError) as fault:
            yield Finding(
                "targets",
                Verdict.BAD,
                f"expose {wish.name}: {wish.local}: "
                f"{getattr(fault, 'strerror', None) or fault}",
                "start the service there, or correct the entry",
                "something answers",
            )
        else:
            yield good("targets", f"expose {wish.name}: {wish.local} answers")
    names = [config.default_host] if parse_address(config.default_host) is None else []
    yield from judge_names("default_host", names)
