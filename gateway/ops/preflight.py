"""What to look at before a gateway goes to the internet."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.config.gateway import CertificateConfig, GatewayConfig
from gateway.config.rules import open_warning
from gateway.net.ports import open_listener
from gateway.ops.findings import Finding, Verdict, good
from gateway.ops.sealing import files_of, judge_files
from gateway.ops.system import GOOD_BACKLOG, OTHER_DESCRIPTORS
from gateway.policy.addresses import is_loopback, join_host_port

_PORTS_FILE: Final = "/proc/sys/net/ipv4/ip_local_port_range"
_BACKLOG_FILE: Final = "/proc/sys/net/core/somaxconn"
_PRIVILEGED: Final = 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is asked of the system.

    Attributes:
        now: the time.
        descriptors: files that a process may open at most.
        read: returns the text of a file, or None.
        agent_keys: returns how many agents have a key in a database.
    """

    now: datetime
    descriptors: int
    read: Callable[[str], str | None]
    agent_keys: Callable[[str], int] = lambda path: 0


def read_or_none(name: str) -> str | None:
    """Return the text of a file, or None if it cannot be read."""
    try:
        return Path(name).read_text("utf-8", "replace")
    except OSError:
        return None


def look(
    config: GatewayConfig, warnings: tuple[str, ...], around: Surroundings
) -> list[Finding]:
    """Return everything that was looked at, in the order of the areas.

    Args:
        config: of the gateway.
        warnings: what its configuration is warned of.
        around: what is asked of the system.
    """
    return [
        *_network(config, around),
        *_security(config, warnings, around),
        *_performance(config, around),
        *_monitoring(config),
        *_backup(config, around),
    ]


def _network(config: GatewayConfig, around: Surroundings) -> Iterator[Finding]:
    places = [("api.listen_port", config.api.bind, config.api.listen_port)]
    if config.health.listen_port is not None:
        health = config.health
        places.append(("health.listen_port", health.bind, health.listen_port or 0))
    if config.tunnel.enabled:
        tunnel = config.tunnel
        places.append(("tunnel.listen_port", tunnel.bind, tunnel.listen_port))
    for key, address, port in places:
        yield _port(key, address, port)
    first, last = config.port_range.first, config.port_range.last
    if first < _PRIVILEGED:
        yield Finding(
            "network",
            Verdict.MIND,
            f"port_range begins at {first}, below {_PRIVILEGED}",
            "grant CAP_NET_BIND_SERVICE, as etc/systemd/gotunnel.service does",
        )
    ephemeral = (around.read(_PORTS_FILE) or "").split()
    if len(ephemeral) == 2:
        low, high = map(int, ephemeral)
        if first <= high and low <= last:
            yield Finding(
                "network",
                Verdict.MIND,
                f"port_range {first}-{last} overlaps the ports {low}-{high} that this "
                "system takes for its own connections",
                "reserve the range: sysctl net.ipv4.ip_local_reserved_ports="
                f"{first}-{last}",
            )
        else:
            yield good("network", f"port_range {first}-{last} is nobody else's")


def _port(key: str, address: str, port: int) -> Finding:
    where = f"{key}: {join_host_port(address or '*', port)}"
    try:
        open_listener(address, port).close()
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            return Finding(
                "network",
                Verdict.MIND,
                f"{where} is in use",
                "by this gateway, if it runs; else stop what holds it",
            )
        words = fault.strerror or str(fault)
        advice = "check the address"
        if fault.errno in (errno.EACCES, errno.EPERM):
            advice = "grant CAP_NET_BIND_SERVICE, or take a port of 1024 or above"
        return Finding("network", Verdict.BAD, f"{where}: {words}", advice)
    return good("network", f"{where} can be opened")


def _security(
    config: GatewayConfig, warnings: tuple[str, ...], around: Surroundings
) -> Iterator[Finding]:
    keys = around.agent_keys(config.database.path)
    answered = {open_warning(config)} if keys else set()
    for warning in [one for one in warnings if one not in answered]:
        yield Finding("security", Verdict.BAD, warning, "see docs/security.md")
    tunnel, api = config.security.tunnel, config.api
    if config.tunnel.enabled:
        if tunnel.enable_tls:
            yield from _certificate("security.tunnel", tunnel, around)
        elif not is_loopback(config.tunnel.bind):
            yield Finding(
                "security",
                Verdict.BAD,
                "links are not sealed: whoever sits on the way can read them and take "
                "them over",
                "set security.tunnel.enable_tls; `gotunnel cert` makes a first set",
            )
        if config.asks_credential or keys:
            yield good("security", "agents must show a credential")
    if api.tls.enabled:
        yield from _certificate("api.tls", api.tls, around)
    elif not is_loopback(api.bind):
        yield Finding(
            "security",
            Verdict.BAD,
            "the API is not sealed: keys and tokens go over the net in the clear",
            "set api.tls.enabled, or api.bind to 127.0.0.1",
        )
    else:
        yield good("security", "the API is for this machine alone")
    access = config.security.api
    if access.api_key or access.jwt_secret or access.jwt_public_key_file:
        yield good("security", "callers of the API must show a credential")
    else:
        yield Finding(
            "security",
            Verdict.MIND,
            "every user of this machine may change mappings over the API",
            "set security.api.jwt_secret_file or security.api.api_key_file",
        )
    if config.direct.allow_targets is None:
        yield Finding(
            "security",
            Verdict.MIND,
            "direct mappings may lead to everything that this machine reaches",
            "set direct.allow_targets",
        )


def _certificate(
    key: str, files: CertificateConfig, around: Surroundings
) -> Iterator[Finding]:
    yield from judge_files("security", key, files_of(files), around.now, server=True)


def _performance(config: GatewayConfig, around: Surroundings) -> Iterator[Finding]:
    wanted = config.limits.connections
    needed = 2 * wanted + OTHER_DESCRIPTORS
    what = (
        f"limits.connections {wanted or 'unlimited'}, {around.descriptors} open files"
    )
    if wanted and needed <= around.descriptors:
        yield good("performance", what)
    else:
        yield Finding(
            "performance",
            Verdict.MIND,
            f"{what}: a direct visitor needs two",
            f"raise LimitNOFILE (ulimit -n) to {needed} or more, or lower the limit"
            if wanted
            else "set limits.connections to what this machine can hold",
        )
    backlog = around.read(_BACKLOG_FILE)
    if backlog is not None and int(backlog) < GOOD_BACKLOG:
        yield Finding(
            "performance",
            Verdict.MIND,
            f"the system keeps {int(backlog)} connections waiting for accept at most",
            f"sysctl net.core.somaxconn={GOOD_BACKLOG}",
        )
    if not config.limits.memory:
        yield Finding(
            "performance",
            Verdict.MIND,
            "limits.memory is off: slow readers can use up this machine's memory",
            "set limits.memory",
        )


def _monitoring(config: GatewayConfig) -> Iterator[Finding]:
    if config.log.file is None:
        yield Finding(
            "monitoring",
            Verdict.MIND,
            "the log goes to standard output",
            "fine under systemd (journalctl -u gotunnel); else set log.file",
        )
    else:
        folder = os.path.dirname(config.log.file) or "."
        writable = os.access(folder, os.W_OK)
        what = f"log.file {config.log.file}"
        yield (
            good("monitoring", what)
            if writable
            else Finding(
                "monitoring",
                Verdict.BAD,
                f"{what}: the folder cannot be written",
                f"make {folder} writable for the gateway's user",
            )
        )
    port = config.api.listen_port
    yield Finding(
        "monitoring",
        Verdict.MIND,
        f"health is at /health, /livez and /readyz of port {port}",
        "have something ask there, and alert on it",
    )


def _backup(config: GatewayConfig, around: Surroundings) -> Iterator[Finding]:
    path = Path(config.database.path)
    if not path.exists():
        parent = next(one for one in path.absolute().parents if one.exists())
        if os.access(parent, os.W_OK):
            yield good("backup", f"database {path} will be made at the first start")
        else:
            yield Finding(
                "backup",
                Verdict.BAD,
                f"database {path}: {parent} cannot be written",
                "make the folder writable for the gateway's user",
            )
    elif not os.access(path, os.W_OK):
        yield Finding(
            "backup",
            Verdict.BAD,
            f"database {path} cannot be written",
            "make it writable for the gateway's user",
        )
    else:
        yield good("backup", f"database {path} can be written")
    yield Finding(
        "backup",
        Verdict.MIND,
        "the database holds mappings, agent keys, bans and the audit log",
        "have `gotunnel backup` copy it every day, to another machine",
    )
