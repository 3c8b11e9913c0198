"""The settings of an agent."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from gateway.config.common import (
    BufferConfig,
    DebugConfig,
    FlowConfig,
    FrameBytes,
    HeartbeatSeconds,
    LogConfig,
    LogLevel,
    MemoryBytes,
    ShutdownSeconds,
    WaterBytes,
    WindowBytes,
)
from gateway.config.fields import (
    AllowedTargets,
    AsTuple,
    Block,
    FileName,
    Fingerprint,
    GatewayAddress,
    Host,
    LinkNumber,
    LocalPlace,
    Name,
    OneOrMore,
    Port,
    Seconds,
    Secret,
    not_yet,
)
from gateway.config.places import LINK_PORT, HostPort, exposed_place, local_place
from gateway.texts import Language


def _protocol(value: object) -> object:
    return not_yet(value, ("udp", "http", "https", "tls", "unix"))


class ReconnectConfig(Block):
    """How long to wait before the next try."""

    preset: Literal["fixed", "article"] | None = None
    """Named set of defaults for this block."""
    initial: Seconds = 5.0
    """Seconds before the first retry."""
    multiplier: Annotated[float, Field(ge=1, le=10)] = 2.0
    """Factor from one wait to the next."""
    max: Seconds = 30.0
    """Longest wait, in seconds."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of each wait that is random."""
    max_attempts: Annotated[int, Field(ge=0, le=1000000)] = 0
    """Tries without success after which the agent ends; 0 = never. One try goes through
    every gateway of `server` once."""


class AgentTLS(Block):
    """TLS of links; files are read again at each connection."""

    enabled: bool = False
    """Whether links are sealed, and the gateway has to prove who it is."""
    ca_file: FileName | None = None
    """Issuers of certificates that are trusted, PEM; null = those of this system."""
    fingerprint: Fingerprint | None = None
    """SHA-256 of the gateway's certificate; it stands in for the name, and without
    `ca_file` for the issuer, too."""
    server_name: Host | None = None
    """Name that the gateway's certificate must be for; null = that of `server`."""
    cert_file: FileName | None = None
    """Certificate of this agent, PEM, followed by those of its issuers; null = it
    shows none."""
    key_file: FileName | None = None
    """Private key of the certificate; null = it is in `cert_file`."""
    key_password_file: FileName | None = None
    """File that holds the password of an encrypted private key."""
    allow_readable_key: bool = False
    """Accept a private key that every user of this machine can read."""


class AgentLimits(Block):
    """Upper limits."""

    streams: Annotated[int, Field(ge=0, le=1000000)] = 10000
    """Visitors served at one time; 0 = unlimited."""
    memory: MemoryBytes = 268435456
    """Bytes that may wait in this process, that the kernel holds for who reads slowly,
    and that grown windows may bring; near it windows stop growing, then shrink, then
    addresses that use their share get no new connection; 0 = unlimited."""


class AgentDebug(DebugConfig):
    """A site that shows the inside of the running agent, for this machine alone."""

    listen_port: Port = 6061
    """Port of the site."""


class Expose(Block):
    """A public port that the agent asks for.

    May also be written as `[PROTOCOL:][PUBLIC:][HOST:]PORT`, where digits before a port
    are the public one.
    """

    name: Name = ""
    """Name of the mapping; left out, it is `tcp-` and the local port."""
    protocol: Annotated[Literal["tcp"], BeforeValidator(_protocol)] = "tcp"
    """What is forwarded."""
    local: LocalPlace
    """What visitors are taken to; a port alone is one of this machine."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Public port; 0 = the gateway picks a free one."""

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, value: Any) -> Any:  # noqa: ANN401 - text of any form
        """Understand `10085:db:5432`, and make up the name."""
        if isinstance(value, str):
            with suppress(ValueError):  # reported where `local` itself is checked
                protocol, public, local = exposed_place(value)
                value = {"protocol": protocol, "port": public, "local": str(local)}
        if isinstance(value, int | str):
            value = {"local": value}
        if isinstance(value, dict) and "name" not in value and "local" in value:
            with suppress(ValueError):  # reported where `local` itself is checked
                return {**value, "name": f"tcp-{local_place(str(value['local'])).port}"}
        return value


class AgentConfig(Block):
    """The whole configuration of an agent."""

    server: Annotated[tuple[GatewayAddress, ...], OneOrMore, Field(min_length=1)] = (
        HostPort("localhost", LINK_PORT),
    )
    """Gateway to connect to, or several: the next is tried when the one before has
    failed, or has not accepted the agent within 3 seconds."""
    name: Name = "default"
    """Name of this agent; mappings may ask for it. With a key, `default` stands for the
    name of the key."""
    token: Secret | None = None
    """Secret that the gateway asks for: its `tunnel.auth_token`, or this agent's own
    key (`gtk_...`), which is proved and never sent."""
    token_file: FileName | None = None
    """File that holds `token`."""
    connections: LinkNumber = "auto"
    """Links held side by side; `auto` = one, and more while they are what limits."""
    default_host: Host = "localhost"
    """Host that is dialled where the gateway names a port alone; `localhost` is
    127.0.0.1, and ::1 where nothing listens there."""
    allow_targets: AllowedTargets = ("127.0.0.0/8", "::1")
    """Targets that the gateway may ask this agent to dial."""
    dial_timeout: Seconds = 5.0
    """Seconds for looking up and reaching a target."""
    heartbeat_interval: HeartbeatSeconds = 15.0
    """Seconds between keep-alives until the gateway has named its own interval."""
    write_timeout: Seconds = 10.0
    """Seconds after which a link that takes no bytes is dropped."""
    window: WindowBytes = 262144
    """Bytes of one stream that the gateway may send ahead."""
    max_frame: FrameBytes = 262144
    """Longest frame accepted from a gateway that negotiates, in bytes."""
    legacy_high_water: WaterBytes = 1048576
    """Bytes waiting for one target at which a link to a legacy gateway is paused."""
    legacy_low_water: WaterBytes = 524288
    """Bytes waiting for that target at which the legacy link goes on."""
    language: Language | None = None
    """Language of messages; null = the language of the system's locale."""
    log_level: LogLevel = "info"
    """Least severity that is logged."""
    shutdown_timeout: ShutdownSeconds = 30.0
    """Seconds that running streams have to finish when the agent is stopped."""
    tls: AgentTLS = AgentTLS()
    reconnect: ReconnectConfig = ReconnectConfig()
    limits: AgentLimits = AgentLimits()
    flow: FlowConfig = FlowConfig()
    buffers: BufferConfig = BufferConfig()
    log: LogConfig = LogConfig()
    debug: AgentDebug = AgentDebug()
    expose: Annotated[tuple[Expose, ...], AsTuple] = ()
    """Public ports that this agent asks for."""
