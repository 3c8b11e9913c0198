"""From the configuration to the values that parts take."""

from __future__ import annotations

from collections.abc import Callable

from gateway.config.gateway import (
    CertificateConfig,
    Forward,
    GatewayConfig,
    KnownAgent,
)
from gateway.link.protocol import LinkSettings
from gateway.metrics.tallies import Stalls
from gateway.mux.core import SessionSettings
from gateway.mux.roles import GATEWAY
from gateway.net.tls import ServerTLS
from gateway.ops.sealing import files_of
from gateway.policy.bans import BanSettings
from gateway.policy.budget import Budget
from gateway.policy.credentials import (
    AgentCredential,
    AgentScope,
    Verifier,
)
from gateway.policy.mapping import Mapping, Target
from gateway.policy.ports import PublicPorts
from gateway.relay.dial import Dialer
from gateway.server.book import MappingSettings
from gateway.server.link_settings import AdmissionSettings
from gateway.server.recorder import RecorderSettings
from gateway.server.service import Place


def admission(config: GatewayConfig, memory: Budget) -> AdmissionSettings:
    """Return who may be an agent, and how its sessions behave."""
    tunnel = config.tunnel
    token = tunnel.auth_token
    allow_legacy = (
        not config.asks_credential
        if tunnel.allow_legacy == "auto"
        else bool(tunnel.allow_legacy)
    )
    return AdmissionSettings(
        token=None if token is None else token.get_secret_value(),
        max_links=config.limits.tunnels,
        streams_per_link=config.limits.streams_per_tunnel,
        open_timeout=tunnel.open_timeout,
        session=SessionSettings(
            roles=GATEWAY,
            window=tunnel.window,
            max_window=config.flow.max_stream_window,
            memory=memory,
            max_frame=tunnel.max_frame,
            heartbeat_seconds=tunnel.heartbeat_interval,
            hello_seconds=tunnel.hello_timeout,
            allow_legacy=allow_legacy,
            connect_request=tunnel.connect_request,
        ),
        by_certificate=config.asks_certificate,
    )


def link_settings(
    config: GatewayConfig, memory: Budget, stalls: Stalls
) -> LinkSettings:
    """Return how links treat their connections."""
    tunnel = config.tunnel
    return LinkSettings(
        window=tunnel.window,
        write_timeout=tunnel.write_timeout,
        legacy_high_water=tunnel.legacy_high_water,
        legacy_low_water=tunnel.legacy_low_water,
        memory=memory,
        stalls=stalls,
    )


def link_tls(
    config: GatewayConfig,
    refused: Callable[[str, str], None],
    admits: Callable[[str], bool],
) -> ServerTLS | None:
    """Return how links are sealed; None = they are plain."""
    tunnel, security = config.tunnel, config.security
    if not (tunnel.enabled and security.tunnel.enable_tls):
        return None
    return _server_tls(security.tunnel, config, refused, admits)


def api_tls(
    config: GatewayConfig,
    refused: Callable[[str, str], None],
    admits: Callable[[str], bool],
) -> ServerTLS | None:
    """Return how the API is sealed; None = it is plain."""
    files = config.api.tls
    return _server_tls(files, config, refused, admits) if files.enabled else None


def _server_tls(
    files: CertificateConfig,
    config: GatewayConfig,
    refused: Callable[[str, str], None],
    admits: Callable[[str], bool],
) -> ServerTLS:
    return ServerTLS(
        files_of(files, allow_readable="readable_keys" in config.security.allow_unsafe),
        limit=config.limits.handshakes,
        seconds=config.security.handshake_timeout,
        refused=refused,
        admits=admits,
    )


def ban_settings(config: GatewayConfig) -> BanSettings:
    """Return when wrong credentials lead to a ban."""
    rules = config.security.bans
    return BanSettings(rules.failures, rules.window, rules.duration, rules.exempt)


def mapping_settings(config: GatewayConfig, dialer: Dialer) -> MappingSettings:
    """Return what the rules of mappings need to know."""
    return MappingSettings(
        tunnel_enabled=config.tunnel.enabled,
        port_offset=config.tunnel.port_offset,
        max_mappings=config.limits.mappings,
        refusal=dialer.refusal,
    )


def recorder_settings(config: GatewayConfig) -> RecorderSettings:
    """Return what is recorded of traffic."""
    return RecorderSettings(
        enabled=config.stats.enabled,
        interval_seconds=config.stats.record_interval,
        retention_seconds=config.stats.retention_days * 86400,
        most=config.stats.max_records,
    )


def credential(agent: KnownAgent, now: int) -> AgentCredential:
    """Return the credential of an agent that stands in the configuration."""
    return AgentCredential(
        name=agent.name,
        verifiers=tuple(Verifier.parse(text) for text in agent.verifiers),
        scope=AgentScope(
            ports=agent.ports,
            targets=agent.targets,
            max_links=agent.max_links,
            max_streams=agent.max_streams,
            bandwidth_limit=agent.bandwidth_limit,
        ),
        created_at=now,
        updated_at=now,
    )


def own_listeners(config: GatewayConfig) -> list[tuple[str, int]]:
    """Return the addresses and ports of the gateway itself."""
    own = [(config.api.bind, config.api.listen_port)]
    if (health := health_place(config)) is not None:
        own.append(health)
    if config.tunnel.enabled:
        own.append((config.tunnel.bind, config.tunnel.listen_port))
    if config.debug.enabled:
        own.append((config.debug.bind, config.debug.listen_port))
    return own


def health_place(config: GatewayConfig) -> Place | None:
    """Return where probes are answered alone; None = nowhere."""
    port = config.health.listen_port
    return None if port is None else (config.health.bind, port)


def public_ports(config: GatewayConfig) -> PublicPorts:
    """Return which ports mappings may take."""
    return PublicPorts(
        config.port_range.first,
        config.port_range.last,
        frozenset(config.security.port_range.blacklist),
        frozenset(port for _, port in own_listeners(config)),
    )


def forward_mapping(forward: Forward, now: int) -> Mapping:
    """Return the mapping that a forward of the configuration is."""
    return Mapping(
        port=forward.listen.port,
        listen=forward.listen.host,
        targets=(
            Target(
                host=forward.target.host, port=forward.target.port, use_tunnel=False
            ),
        ),
        created_at=now,
        updated_at=now,
    )
