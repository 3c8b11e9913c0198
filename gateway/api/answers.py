"""What callers get: values of the gateway -> rows of JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gateway.interfaces import AuditEntry
from gateway.ops.health import HealthReport, HealthStatus
from gateway.policy.bans import Ban
from gateway.policy.credentials import AgentCredential
from gateway.policy.visitors import RULE_NAMES
from gateway.server.agents import AgentView
from gateway.server.mappings import MappingView
from gateway.server.traffic import Served


class Row(BaseModel):
    """A JSON object of an answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class MappingRow(Row):
    """A mapping, in the first spelling of its keys and in the longer one."""

    id: int
    """Unique number, the same as long as the mapping lives."""
    source_port: int
    """Public port."""
    target_ip: str
    """Host of the target; empty = the agent's own machine."""
    target_port: int
    """Port of the target."""
    created_at: str
    """`YYYY-MM-DD HH:MM:SS`, UTC."""
    port: int
    """Public port."""
    target_host: str
    """Host of the target; empty = the agent's own machine."""
    use_tunnel: bool
    """Through an agent, or dialled by the gateway."""
    protocol: str
    """Protocol of the public port."""
    listen: str
    """Address listened on; empty = all interfaces."""
    agent: str | None
    """Name of the agent; null = `default`, else the only one connected."""
    name: str
    """Free text for people."""
    labels: dict[str, str]
    """Free key/value pairs."""
    created_at_unix: int
    """Unix seconds."""
    updated_at_unix: int
    """Unix seconds."""
    state: str
    """`listening`, `unreachable`, `disabled`, `error` or `draining`."""
    error: str | None
    """Why the state is `error` or `unreachable`."""
    unreachable_cause: str | None
    """`agent_absent`, `no_default_agent`, `port_forbidden`, `target_forbidden` or
    `target_unreached`; null in other states."""
    unreachable_since_unix: int | None
    """Unix seconds; null in other states."""
    connections: int
    """Connections open now."""
    connections_total: int
    """Connections ever admitted since the gateway started."""
    rejected: dict[str, int]
    """Connections turned away since then, by the setting that was the cause."""
    failed: dict[str, int]
    """Connections that were not served to the end since then, by `no_agent`, `denied`,
    `unreached` and `broken`."""
    access_rule: str
    """`disabled`, `whitelist` or `blacklist`."""
    access_ips: list[str]
    """Networks that the rule is about."""
    max_connections: int
    """Connections at one time; 0 = unlimited."""
    max_connections_per_ip: int
    """Connections of one address at one time; 0 = unlimited."""
    bandwidth_limit: int
    """Bytes a second each way, of all connections together; 0 = unlimited."""
    connection_bandwidth_limit: int
    """Bytes a second each way, of one connection; 0 = unlimited."""
    idle_timeout: float
    """Seconds without a byte after which a connection ends; 0 = never."""
    proxy_protocol: str
    """Header that the target gets: `off`, `v1` or `v2`."""
    trusted_proxies: list[str]
    """Networks of balancers in front, which send such a header."""
    expires_at: str | None
    """`YYYY-MM-DD HH:MM:SS`, UTC; null = never."""
    expires_at_unix: int | None
    """Unix seconds; null = never."""
    enabled: bool
    """Whether its port is to be open."""
    expected: bool
    """Whether the gateway counts as degraded while it cannot serve."""
    source: str
    """`stored`, or `agent` if an agent asked for it."""


class ChangedRow(MappingRow):
    """A mapping just made or changed."""

    tunnel_connected: bool
    """Whether the agent that it would go through is connected."""


class RemovedRow(Row):
    """A mapping just removed."""

    port: int
    """Public port that it had."""


class MappingList(Row):
    """All mappings, ordered by port."""

    mappings: list[MappingRow]
    count: int
    """How many there are."""
    use_tunnel: bool
    """Whether the tunnel service is on."""


class AgentRow(Row):
    """An agent that is connected."""

    name: str
    instance: str
    """Random name of the agent's process."""
    negotiated: bool
    """False if it speaks the plain version 0x01 protocol."""
    links: int
    """Connections between it and the gateway."""
    streams: int
    """Visitors it serves now."""
    rtt_seconds: float | None
    """Measured round trip; null before the first measurement."""
    connected_at: str
    """`YYYY-MM-DD HH:MM:SS`, UTC."""
    connected_at_unix: float
    """Unix seconds."""
    address: str
    """Where it connects from."""
    software: str
    """Name and version of its program."""
    links_total: int
    """Links that it ever had since the gateway started; more than `links` says that it
    came again."""
    connections_total: int
    """Visitors whom it ever served."""
    bytes_sent: int
    """Bytes to its targets."""
    bytes_received: int
    """Bytes from its targets."""


class AgentList(Row):
    """All agents that are connected, ordered by name."""

    agents: list[AgentRow]
    count: int
    """How many there are."""
    open_to_all: bool
    """Whether agents need no credential of any kind: whoever reaches the port can act
    as one."""


class AgentKeyRow(Row):
    """What an agent is known by, and what it may do."""

    name: str
    """Name of the agent."""
    key_ids: list[str]
    """Ids of the keys that are good, the newest last."""
    used_key_ids: list[str]
    """Those of them that the agent has proved; of a key of the configuration it is
    not recorded."""
    source: str
    """`stored`, or `config` if it stands in the configuration."""
    expired: bool
    """Whether its time is over."""
    ports: str
    """Public ports that it may ask for, and whose visitors it gets; empty = all."""
    targets: list[str] | None
    """What it may be asked to dial; null = whatever the agent itself allows."""
    max_links: int
    """Links at one time; 0 = as many as any agent."""
    max_streams: int
    """Visitors at one time; 0 = unlimited."""
    bandwidth_limit: int
    """Bytes a second each way; 0 = unlimited."""
    expires_at: str | None
    """`YYYY-MM-DD HH:MM:SS`, UTC; null = never."""
    created_at: str
    """`YYYY-MM-DD HH:MM:SS`, UTC."""
    updated_at: str
    """`YYYY-MM-DD HH:MM:SS`, UTC."""


class NewAgentKey(AgentKeyRow):
    """A key just made."""

    secret: str
    """What the agent is configured with; it is shown this once."""


class AgentKeyList(Row):
    """All agents' keys, ordered by name."""

    keys: list[AgentKeyRow]
    count: int
    """How many there are."""


class BanRow(Row):
    """Who is kept out."""

    network: str
    """Network or address."""
    until: str | None
    """`YYYY-MM-DD HH:MM:SS`, UTC; null = for good."""
    reason: str
    """Why; `wrong credentials` if the gateway decided it."""
    stored: bool
    """Whether it survives a restart."""


class BanList(Row):
    """All bans that are on."""

    bans: list[BanRow]
    count: int
    """How many there are."""


class AuditRow(Row):
    """One change that somebody made."""

    id: int
    """Number; later changes have higher ones."""
    at: str
    """`YYYY-MM-DD HH:MM:SS`, UTC."""
    at_unix: int
    """Unix seconds."""
    who: str
    """The credential of who made it."""
    address: str
    """Where it was made from."""
    action: str
    """What was done."""
    subject: str
    """To what."""
    before: Any
    """How it was; null = there was nothing."""
    after: Any
    """How it is; null = there is nothing any more."""


class AuditList(Row):
    """Changes, the newest first."""

    entries: list[AuditRow]
    count: int
    """How many there are in this answer."""


class ReloadedRow(Row):
    """What was read anew."""

    read_anew: list[str]
    """Ports whose certificates had changed."""
    applied: list[str]
    """Keys of the configuration that had changed and hold now."""
    needs_restart: list[str]
    """Keys that have changed and hold after a restart."""


class LimitRow(Row):
    """One limit."""

    name: str
    """Key of the configuration."""
    limit: int
    """0 = unlimited."""
    active: int
    """How much of it is used now."""
    total: int
    """How often it was asked for since the gateway started."""
    rejected: int
    """How often there was no room."""


class LimitList(Row):
    """All limits."""

    limits: list[LimitRow]
    banned: int
    """How often a banned address was turned away."""


class CheckRow(Row):
    """What one health check found."""

    name: str
    status: HealthStatus
    message: str
    duration: float
    """Seconds."""


class Health(Row):
    """The answer of `/health`; it has no envelope."""

    status: Literal["ok", "degraded", "unhealthy"]
    tunnel_enabled: bool
    tunnel_connected: bool
    checks: list[CheckRow]
    timestamp: str
    """`YYYY-MM-DDTHH:MM:SSZ`, UTC."""


class Alive(Row):
    """The answer of `/livez`; it has no envelope."""

    status: Literal["alive"]


class Readiness(Row):
    """The answer of `/readyz`; it has no envelope."""

    status: Literal["ready", "draining", "unhealthy"]
    checks: list[CheckRow]
    timestamp: str
    """`YYYY-MM-DDTHH:MM:SSZ`, UTC."""


class Fault(Row):
    """The answer to a request that failed; there is no `data`."""

    success: Literal[False]
    message: str
    """For people, in the language that was asked for."""


def date_text(unix_seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a moment as the API writes it, in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime(form)


def _mapping_fields(view: MappingView) -> dict[str, Any]:
    mapping = view.mapping
    return {
        "id": mapping.id,
        "source_port": mapping.port,
        "target_ip": mapping.target_host,
        "target_port": mapping.target_port,
        "created_at": date_text(mapping.created_at),
        "port": mapping.port,
        "target_host": mapping.target_host,
        "use_tunnel": mapping.use_tunnel,
        "protocol": mapping.protocol,
        "listen": mapping.listen,
        "agent": mapping.agent,
        "name": mapping.name,
        "labels": dict(mapping.labels),
        "created_at_unix": mapping.created_at,
        "updated_at_unix": mapping.updated_at,
        "state": view.state,
        "error": view.error,
        "unreachable_cause": view.cause,
        "unreachable_since_unix": None if view.since is None else int(view.since),
        "connections": view.connections,
        "connections_total": view.total,
        "rejected": dict(view.rejected),
        "failed": dict(view.failed),
        **{
            name: list(value) if isinstance(value, tuple) else value
            for name in RULE_NAMES
            for value in [getattr(mapping.rules, name)]
        },
        "expires_at": None
        if mapping.expires_at is None
        else date_text(mapping.expires_at),
        "expires_at_unix": mapping.expires_at,
        "enabled": mapping.enabled,
        "expected": mapping.expected,
        "source": view.source,
    }


def mapping_row(view: MappingView) -> MappingRow:
    """Return the row of one mapping."""
    return MappingRow(**_mapping_fields(view))


def changed_row(view: MappingView, *, tunnel_connected: bool) -> ChangedRow:
    """Return the row of a mapping just made or changed."""
    return ChangedRow(**_mapping_fields(view), tunnel_connected=tunnel_connected)


def key_row(
    credential: AgentCredential, source: str = "stored", *, expired: bool = False
) -> AgentKeyRow:
    """Return the row of an agent's key."""
    return AgentKeyRow(**_key_fields(credential, source, expired=expired))


def new_key(secret: str, credential: AgentCredential) -> NewAgentKey:
    """Return the row of a key just made."""
    fields = _key_fields(credential, "stored", expired=False)
    return NewAgentKey(**fields, secret=secret)


def _key_fields(
    credential: AgentCredential, source: str, *, expired: bool
) -> dict[str, Any]:
    scope, expires_at = credential.scope, credential.expires_at
    return {
        "name": credential.name,
        "key_ids": [one.key_id for one in credential.verifiers],
        "used_key_ids": [
            one.key_id for one in credential.verifiers if one.key_id in credential.used
        ],
        "source": source,
        "expired": expired,
        "ports": scope.ports,
        "targets": None if scope.targets is None else list(scope.targets),
        "max_links": scope.max_links,
        "max_streams": scope.max_streams,
        "bandwidth_limit": scope.bandwidth_limit,
        "expires_at": None if expires_at is None else date_text(expires_at),
        "created_at": date_text(credential.created_at),
        "updated_at": date_text(credential.updated_at),
    }


def ban_row(ban: Ban) -> BanRow:
    """Return the row of a ban."""
    return BanRow(
        network=ban.network,
        until=None if ban.until is None else date_text(ban.until),
        reason=ban.reason,
        stored=ban.stored,
    )


def audit_row(entry: AuditEntry) -> AuditRow:
    """Return the row of a change."""
    return AuditRow(
        **entry._asdict() | {"at": date_text(entry.at), "at_unix": entry.at}
    )


def agent_row(view: AgentView, served: Served) -> AgentRow:
    """Return the row of an agent."""
    return AgentRow(
        name=view.name,
        instance=view.instance,
        negotiated=view.negotiated,
        links=view.links,
        streams=view.streams,
        rtt_seconds=view.rtt_seconds,
        connected_at=date_text(view.connected_at),
        connected_at_unix=view.connected_at,
        address=view.address,
        software=view.software,
        links_total=view.links_total,
        connections_total=served.visits,
        bytes_sent=served.sent,
        bytes_received=served.received,
    )


def _checks(report: HealthReport) -> list[CheckRow]:
    return [
        CheckRow(
            name=check.name,
            status=check.status,
            message=check.message,
            duration=check.duration,
        )
        for check in report.checks
    ]


def _timestamp(report: HealthReport) -> str:
    return date_text(report.timestamp, "%Y-%m-%dT%H:%M:%SZ")


def health_row(
    report: HealthReport, *, tunnel_enabled: bool, tunnel_connected: bool
) -> Health:
    """Return the answer of `/health`."""
    healthy = report.status is HealthStatus.HEALTHY
    return Health.model_validate(
        {
            "status": "ok" if healthy else report.status.value,
            "tunnel_enabled": tunnel_enabled,
            "tunnel_connected": tunnel_connected,
            "checks": _checks(report),
            "timestamp": _timestamp(report),
        }
    )


def readiness_row(report: HealthReport, *, draining: bool) -> Readiness:
    """Return the answer of `/readyz`; anything but "ready" means 503."""
    unhealthy = report.status is HealthStatus.UNHEALTHY
    return Readiness(
        status="draining" if draining else "unhealthy" if unhealthy else "ready",
        checks=_checks(report),
        timestamp=_timestamp(report),
    )
