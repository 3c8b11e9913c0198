"""The parts of a running gateway that take a changed configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from gateway.app.settings import (
    admission,
    ban_settings,
    credential,
    forward_mapping,
    link_settings,
    mapping_settings,
    public_ports,
    recorder_settings,
)
from gateway.config.gateway import CertificateConfig, GatewayConfig
from gateway.edge.tcp import Crowd
from gateway.link.factory import LinkFactory
from gateway.metrics.tallies import Stalls
from gateway.net.tls import ServerTLS
from gateway.ops.process import fitting_limit, raise_descriptor_limit
from gateway.ops.process_log import ProcessLog
from gateway.ops.reloading import Part
from gateway.ops.sealing import files_of
from gateway.policy.access import TargetRules
from gateway.policy.budget import Budget
from gateway.relay.dial import Dialer
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.recorder import Recorder
from gateway.server.upstreams import AgentUpstream

_LOG = Logger()
Commit = Callable[[], object]
_LINK_KEYS = (
    "tunnel.auth_token",
    "tunnel.auth_token_file",
    "tunnel.allow_legacy",
    "tunnel.connect_request",
    "tunnel.heartbeat_interval",
    "tunnel.hello_timeout",
    "tunnel.open_timeout",
    "tunnel.write_timeout",
    "tunnel.window",
    "tunnel.max_frame",
    "tunnel.legacy_high_water",
    "tunnel.legacy_low_water",
    "tunnel.agents",
    "flow.max_stream_window",
    "limits.tunnels",
    "limits.streams_per_tunnel",
    "security.tunnel.client_ca",
)
_RECORDER_KEYS = ("stats.record_interval", "stats.retention_days", "stats.max_records")
_TIMEOUTS = ("security.handshake_timeout", "limits.handshakes", "security.allow_unsafe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What of a running gateway can change."""

    log: ProcessLog
    links: Links
    link_factory: LinkFactory
    agents: AgentUpstream
    credentials: Credentials
    bans: BanTable
    dialer: Dialer
    mappings: Mappings
    crowd: Crowd
    recorder: Recorder
    memory: Budget
    stalls: Stalls
    link_tls: ServerTLS | None
    api_tls: ServerTLS | None
    wall_clock: Callable[[], float]
    set_patience: Callable[[float], None]


def live_parts(running: Running) -> list[Part]:
    """Return the parts, in the order in which they are changed."""
    live = _Live(running)
    return [
        Part(("log_level", "log.levels"), live.log),
        Part(_LINK_KEYS, live.links),
        Part(("tunnel.agents", "tunnel.allow_legacy"), live.credentials),
        Part(("security.bans.",), live.bans),
        Part(("direct.allow_targets", "direct.dial_timeout"), live.direct),
        Part(("limits.connections", "limits.connections_per_ip"), live.limits),
        Part(("port_range.", "security.port_range.", "limits.mappings"), live.book),
        Part(_RECORDER_KEYS, live.recorder),
        *_tls_part(
            "security.tunnel", running.link_tls, lambda new: new.security.tunnel
        ),
        *_tls_part("api.tls", running.api_tls, lambda new: new.api.tls),
        Part(("protocols",), live.forwards),
        Part(("shutdown_timeout",), live.patience),
    ]


def _link_files(config: GatewayConfig) -> CertificateConfig:
    return config.security.tunnel


def _api_files(config: GatewayConfig) -> CertificateConfig:
    return config.api.tls


class _Live:
    """Judges a configuration for each part, and returns what applies it."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def log(self, new: GatewayConfig) -> Commit:
        levels = self._running.log.levels
        return lambda: levels.configure(new.log_level, new.log.component_levels)

    def links(self, new: GatewayConfig) -> Commit:
        running = self._running
        settings = admission(new, running.memory)
        link = link_settings(new, running.memory, running.stalls)

        def commit() -> None:
            running.links.configure(settings)
            running.link_factory.configure(link)
            running.agents.openings.configure(settings.open_timeout)

        return commit

    def credentials(self, new: GatewayConfig) -> Commit:
        now = int(self._running.wall_clock())
        found = [credential(one, now) for one in new.tunnel.agents]
        legacy = new.tunnel.allow_legacy is True
        credentials = self._running.credentials
        return lambda: credentials.configure(found, legacy_allowed=legacy)

    def bans(self, new: GatewayConfig) -> Commit:
        return lambda: self._running.bans.configure(ban_settings(new))

    def direct(self, new: GatewayConfig) -> Commit:
        rules = TargetRules.parse(new.direct.allow_targets)
        dialer = self._running.dialer
        return lambda: dialer.configure(rules, new.direct.dial_timeout)

    def limits(self, new: GatewayConfig) -> Commit:
        crowd, limits = self._running.crowd, new.limits
        most, clamped = fitting_limit(
            "limits.connections", limits.connections, raise_descriptor_limit()
        )

        def commit() -> None:
            for words in clamped:
                _LOG.warn("{words}", words=words)
            crowd.slots.limit = most
            crowd.addresses.limit = limits.connections_per_ip

        return commit

    def book(self, new: GatewayConfig) -> Commit:
        book = self._running.mappings.book
        settings = mapping_settings(new, self._running.dialer)
        return lambda: book.configure(public_ports(new), settings)

    def recorder(self, new: GatewayConfig) -> Commit:
        def commit() -> None:
            self._running.recorder.settings = recorder_settings(new)

        return commit

    def forwards(self, new: GatewayConfig) -> Commit:
        now, book = int(self._running.wall_clock()), self._running.mappings.book
        wanted = [forward_mapping(one, now) for one in new.forwards]
        book.check_configured(wanted)
        return lambda: book.configure_mappings(wanted)

    def patience(self, new: GatewayConfig) -> Commit:
        return lambda: self._running.set_patience(new.shutdown_timeout)


def _tls_part(
    block: str,
    tls: ServerTLS | None,
    files: Callable[[GatewayConfig], CertificateConfig],
) -> list[Part]:
    """Return what changes the files of a port; none if it has no TLS."""
    if tls is None:
        return []
    names = ("cert_file", "key_file", "key_password_file", "client_ca")

    def prepare(config: GatewayConfig) -> Commit:
        unsafe = "readable_keys" in config.security.allow_unsafe
        found = ServerTLS.read(files_of(files(config), allow_readable=unsafe))
        limits = config.limits.handshakes, config.security.handshake_timeout
        return lambda: tls.configure(found, *limits)

    return [Part((*(f"{block}.{name}" for name in names), *_TIMEOUTS), prepare)]
