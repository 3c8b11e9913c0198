"""The settings of the gateway."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from gateway.config.common import (
    BufferConfig,
    DebugConfig,
    FlowConfig,
    FrameBytes,
    GatewayLogConfig,
    HeartbeatSeconds,
    LogLevel,
    MemoryBytes,
    ShutdownSeconds,
    WaterBytes,
    WindowBytes,
)
from gateway.config.fields import (
    AllowedNetwork,
    AllowedTargets,
    AsTuple,
    BindAddress,
    Block,
    FileName,
    KeyVerifier,
    ListeningPlace,
    LongSecret,
    Name,
    PlainText,
    Port,
    PortList,
    Seconds,
    Secret,
    Target,
    choice,
)
from gateway.config.places import LINK_PORT
from gateway.policy.credentials import MOST_KEYS
from gateway.texts import Language

WIDEST_RANGE: Final = 30000


class PortRange(Block):
    """Public ports that mappings may take."""

    first: Port = Field(default=10000, validation_alias="from")
    """Lowest public port."""
    last: Port = Field(default=20000, validation_alias="end")
    """Highest public port; the range holds at most 30000 ports."""


class KnownAgent(Block):
    """An agent that is known by a key, and what it may do."""

    name: Name
    """Name of the agent."""
    verifiers: Annotated[
        tuple[KeyVerifier, ...], AsTuple, Field(min_length=1, max_length=MOST_KEYS)
    ]
    """What its key is checked by, as `gotunnel agent-key create --offline` prints it;
    two while a key is replaced."""
    ports: PortList = ""
    """Public ports that it may ask for, and whose visitors it gets, such as
    `10000-10100,10443`; empty = all."""
    targets: AllowedTargets | None = None
    """What it may be asked to dial; null = whatever the agent itself allows."""
    max_links: Annotated[int, Field(ge=0, le=16)] = 0
    """Links at one time; 0 = as many as any agent."""
    max_streams: Annotated[int, Field(ge=0, le=1000000)] = 0
    """Visitors at one time; 0 = unlimited."""
    bandwidth_limit: Annotated[int, Field(ge=0, le=2**40)] = 0
    """Bytes a second each way, of all its visitors; 0 = unlimited."""


class TunnelConfig(Block):
    """The port that agents connect to, and how links to them behave."""

    enabled: bool = True
    """Whether agents are served at all."""
    listen_port: Port = LINK_PORT
    """Port that agents connect to."""
    bind: BindAddress = ""
    """Address to listen on for agents."""
    port_offset: Annotated[int, Field(ge=0, le=65534)] = 10000
    """A tunnel mapping without a target port leads to its public port less this."""
    auth_token: Secret | None = None
    """Secret that agents must show; null admits anybody and is said loudly at
    start."""
    auth_token_file: FileName | None = None
    """File that holds `auth_token`."""
    agents: Annotated[tuple[KnownAgent, ...], AsTuple] = ()
    """Agents that are known by keys of their own; others are made at run time by
    `gotunnel agent-key`."""
    connect_request: Literal["auto", "short", "long"] = "auto"
    """Form of the connect request sent to legacy agents."""
    allow_legacy: Annotated[Literal["auto", True, False], BeforeValidator(choice)] = (
        "auto"
    )
    """Whether agents that know no credentials are served; `auto` = only while no
    credential is configured."""
    heartbeat_interval: HeartbeatSeconds = 15.0
    """Seconds between keep-alives; a link that is silent for three is dead."""
    hello_timeout: Seconds = 5.0
    """Seconds that a new link has to say who it is."""
    open_timeout: Annotated[float, Field(ge=2.5, le=3600)] = 10.0
    """Seconds until a visitor is turned away because the agent did not answer."""
    write_timeout: Seconds = 10.0
    """Seconds after which a link that takes no bytes is dropped."""
    window: WindowBytes = 262144
    """Bytes of one stream that an agent may send ahead."""
    max_frame: FrameBytes = 262144
    """Longest frame accepted from agents that negotiate, in bytes."""
    legacy_high_water: WaterBytes = 2097152
    """Bytes waiting for one visitor at which a legacy link is paused."""
    legacy_low_water: WaterBytes = 1048576
    """Bytes waiting for that visitor at which the legacy link goes on."""


class CertificateConfig(Block):
    """Files that a TLS port is made of; all PEM."""

    cert_file: FileName | None = None
    """Certificate of this gateway, followed by those of its issuers."""
    key_file: FileName | None = None
    """Private key of the certificate; null = it is in `cert_file`."""
    key_password_file: FileName | None = None
    """File that holds the password of an encrypted private key."""
    client_ca: FileName | None = None
    """Issuers of certificates that the other side must show; null = it need not show
    any."""


class ApiTLS(CertificateConfig):
    """TLS of the API; files are read again when they change, and on SIGHUP."""

    enabled: bool = False
    """Whether the API is served over TLS (https) alone."""


class TunnelTLS(CertificateConfig):
    """TLS of links; files are read again when they change, and on SIGHUP."""

    enable_tls: bool = False
    """Whether agents must come over TLS.  With `client_ca` an agent may only take a
    name that its certificate gives it."""


class ApiConfig(Block):
    """The HTTP API."""

    listen_port: Port = 8080
    """Port of the API."""
    bind: BindAddress = "127.0.0.1"
    """Address of the API; other than loopback it needs `security.api.api_key` or
    `security.api.allowed_ips`."""
    request_timeout: Seconds = 10.0
    """Seconds that a request and its answer may take."""
    tls: ApiTLS = ApiTLS()


class HealthConfig(Block):
    """How fit the gateway is, and a port for probes alone.

    That port answers /health, /livez and /readyz without a credential; the API does,
    too.
    """

    timeout: Seconds = 5.0
    """Seconds after which a check that has not answered counts as unhealthy."""
    listen_port: Port | None = None
    """Port for probes; null = there is none beside the API."""
    metrics: bool = False
    """Whether that port answers /metrics, too, without a credential: names of agents,
    addresses of targets and all numbers."""
    bind: BindAddress = "127.0.0.1"
    """Address of that port; probes of other machines need another one, such as
    0.0.0.0."""


def _splice(value: object) -> object:
    return "off" if value is False else value


class DirectConfig(Block):
    """Targets that the gateway dials itself."""

    allow_targets: AllowedTargets | None = None
    """Targets that direct mappings may lead to; null = all."""
    dial_timeout: Seconds = 5.0
    """Seconds for looking up and reaching a target."""
    splice: Annotated[Literal["auto", "off"], BeforeValidator(_splice)] = "auto"
    """Whether the kernel moves bulk bytes between visitor and target; `auto` = once
    a connection has proved to carry many, where the system can."""


class DatabaseConfig(Block):
    """Where mappings are kept."""

    path: FileName = "./data/mappings.db"
    """File of the SQLite database; it is created if missing."""


class RateConfig(Block):
    """How often the API may be called."""

    requests: Annotated[int, Field(ge=0, le=1000000)] = 100
    """Requests from one address, and of one caller, in the time of `per`; 0 = any
    number."""
    per: Seconds = 1.0
    """Seconds."""


class ApiSecurity(Block):
    """Who may use the API.

    With a secret, a key or a certificate for callers, one of them must be shown.
    """

    enable_auth: bool | None = None
    """Whether callers must show a credential; null = as soon as there is one."""
    jwt_secret: LongSecret | None = None
    """Secret that tokens are signed with by HS256."""
    jwt_secret_file: FileName | None = None
    """File that holds `jwt_secret`."""
    jwt_public_key_file: FileName | None = None
    """Public key, PEM, that tokens are checked by: RSA for RS256, P-256 for ES256."""
    jwt_audience: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = (
        None
    )
    """What `aud` of a token must name; null = it is not looked at."""
    rate_limit: RateConfig = RateConfig()
    trusted_proxies: Annotated[tuple[AllowedNetwork, ...], AsTuple] = ()
    """Proxies whose `X-Forwarded-For` is believed."""
    api_key: Secret | None = None
    """Secret that callers must show; null = none is asked for."""
    api_key_file: FileName | None = None
    """File that holds `api_key`."""
    api_key_in_query: bool = False
    """Whether the key is also taken from the query parameter `api_key`."""
    allowed_ips: Annotated[tuple[AllowedNetwork, ...], AsTuple] = ()
    """Networks that callers may come from; empty = any."""


Unsafe: TypeAlias = Literal["open_api", "readable_keys"]


class PortSecurity(Block):
    """Public ports that are never opened."""

    blacklist: Annotated[tuple[Port, ...], AsTuple] = (22, 3389, 5432)
    """Ports that no mapping may take; targets are not concerned."""


class BanConfig(Block):
    """When an address that shows wrong credentials is kept out."""

    failures: Annotated[int, Field(ge=0, le=10000)] = 10
    """Wrong credentials after which an address is kept out; 0 = never."""
    window: Seconds = 60.0
    """Seconds in which they must come."""
    duration: Annotated[float, Field(ge=1, le=31536000)] = 600.0
    """Seconds for which the address is kept out."""
    exempt: Annotated[tuple[AllowedNetwork, ...], AsTuple] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    """Networks that are never kept out for this."""


class AuditConfig(Block):
    """The log of changes that callers of the API make."""

    retention_days: Annotated[float, Field(ge=0.01, le=36500)] = 90.0
    """Days after which an entry is removed."""
    max_entries: Annotated[int, Field(ge=1, le=10000000)] = 100000
    """Entries that are kept."""


class MetricsConfig(Block):
    """Numbers for Prometheus at `/metrics` of the API."""

    enabled: bool = True
    """Whether they are served."""
    require_auth: bool | None = None
    """Whether `/metrics` asks for a credential as the rest of the API does; null = not
    of callers on this machine while `api.bind` is loopback, but of all others; false =
    never.  The port for probes never asks (`health.metrics`)."""
    namespace: Annotated[str, Field(pattern="^([a-zA-Z][a-zA-Z0-9_]{0,63})?$")] = (
        "gotunnel"
    )
    """What the names of metrics begin with; empty = nothing."""
    connection_duration: bool = True
    """Whether to show how long connections take."""
    forward_latency: bool = True
    """Whether to show how long visitors wait for their targets."""
    pool: bool = True
    """Whether to show how links are used again."""
    backpressure: bool = True
    """Whether to show what bytes had to wait for."""
    most_labels: Annotated[int, Field(ge=1, le=100000)] = 1000
    """Mappings, and agents, that have numbers of their own; those of the others are
    summed up."""


class StatsConfig(Block):
    """What is remembered of traffic, in the database."""

    enabled: bool = True
    """Whether it is recorded."""
    record_interval: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """Seconds between records; what passed since the last one is lost when the process
    is killed."""
    retention_days: Annotated[float, Field(ge=0.01, le=36500)] = 7.0
    """Days after which a record is removed; those of two days ago are summed up by the
    hour, those of a month ago by the day."""
    max_records: Annotated[int, Field(ge=1000, le=100000000)] = 500000
    """Records that are kept, about 100 bytes each."""


class SecurityConfig(Block):
    """Who may do what."""

    api: ApiSecurity = ApiSecurity()
    tunnel: TunnelTLS = TunnelTLS()
    port_range: PortSecurity = PortSecurity()
    bans: BanConfig = BanConfig()
    handshake_timeout: Seconds = 10.0
    """Seconds that a TLS handshake may take."""
    allow_unsafe: Annotated[tuple[Unsafe, ...], AsTuple] = ()
    """Dangers that you accept: `open_api` = an API that anybody may use on another
    address than loopback, `readable_keys` = private keys, and files with secrets, that
    every user of the machine can read.  Each is said loudly at start."""


class LimitsConfig(Block):
    """Upper limits; 0 = unlimited where 0 is allowed."""

    connections: Annotated[int, Field(ge=0, le=1000000)] = 10000
    """Visitors at one time; the last eighth is not for addresses that have as many as
    are free; 0 = unlimited."""
    connections_per_ip: Annotated[int, Field(ge=0, le=1000000)] = 0
    """Visitors of one address (in IPv6: of one network of 64 bits) at one time, on all
    ports together; 0 = unlimited."""
    tunnels: Annotated[int, Field(ge=0, le=1000000)] = 1000
    """Links of agents at one time; 0 = unlimited."""
    streams_per_tunnel: Annotated[int, Field(ge=0, le=1000000)] = 10000
    """Visitors on one link at one time; 0 = unlimited."""
    api_connections: Annotated[int, Field(ge=0, le=100000)] = 200
    """Connections to the API at one time; one without a whole request makes room, of
    the address that has the most of them; 0 = unlimited."""
    api_memory: MemoryBytes = 33554432
    """Bytes that answers and bodies of the API may hold, beside `limits.memory`; near
    it the connections of the slowest readers are closed, of callers without a
    credential first; 0 = unlimited."""
    handshakes: Annotated[int, Field(ge=0, le=100000)] = 200
    """TLS handshakes under way at one time on one port; the oldest of the address that
    has the most makes room; 0 = unlimited."""
    memory: MemoryBytes = 268435456
    """Bytes that may wait in this process, that the kernel holds for who reads slowly,
    and that grown windows may bring; near it windows stop growing, then shrink, then
    addresses that use their share get no new connection; 0 = unlimited."""
    mappings: Annotated[int, Field(ge=1, le=65535)] = 10000
    """Mappings that may exist."""
    reservation: Annotated[int, Field(ge=0, le=2592000)] = 86400
    """Seconds that a port is kept for an agent that is away and was given it without
    asking for that one, over restarts too; at most 100 for each agent; 0 = not kept."""


class Forward(Block):
    """A forward from a port of the gateway straight to a target."""

    name: Literal["tcp", "http2", "http3", "quic"] = "tcp"
    """What is forwarded; others than tcp are not available yet."""
    listen: ListeningPlace
    """Where visitors connect to."""
    target: Target
    """What they are taken to."""
    enabled: bool = True
    """Whether the forward is started."""


def _version(value: object) -> object:
    return "1.0" if value == 1.0 and isinstance(value, float) else value


class GatewayConfig(Block):
    """The whole configuration of a gateway."""

    version: Annotated[Literal["1.0"], BeforeValidator(_version)] = "1.0"
    """Version of the configuration's form."""
    preset: Literal["server", "client", "high_throughput"] | None = None
    """Named set of defaults."""
    language: Language | None = None
    """Language of messages; null = the language of the system's locale."""
    log_level: LogLevel = "info"
    """Least severity that is logged."""
    shutdown_timeout: ShutdownSeconds = 30.0
    """Seconds that running streams have to finish when the gateway is stopped."""
    port_range: PortRange = PortRange()
    tunnel: TunnelConfig = TunnelConfig()
    api: ApiConfig = ApiConfig()
    health: HealthConfig = HealthConfig()
    direct: DirectConfig = DirectConfig()
    database: DatabaseConfig = DatabaseConfig()
    security: SecurityConfig = SecurityConfig()
    limits: LimitsConfig = LimitsConfig()
    audit: AuditConfig = AuditConfig()
    metrics: MetricsConfig = MetricsConfig()
    stats: StatsConfig = StatsConfig()
    flow: FlowConfig = FlowConfig()
    buffers: BufferConfig = BufferConfig()
    log: GatewayLogConfig = GatewayLogConfig()
    debug: DebugConfig = DebugConfig()
    protocols: Annotated[tuple[Forward, ...], AsTuple] = ()
    """Forwards that need neither an agent nor the database."""

    @property
    def asks_certificate(self) -> bool:
        """Whether agents must show a certificate."""
        tls = self.security.tunnel
        return tls.enable_tls and tls.client_ca is not None

    @property
    def asks_credential(self) -> bool:
        """Whether agents must show anything at all."""
        tunnel = self.tunnel
        return bool(tunnel.auth_token or tunnel.agents or self.asks_certificate)

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """The forwards that are to be started."""
        return tuple(forward for forward in self.protocols if forward.enabled)
