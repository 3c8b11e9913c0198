"""What callers may send: the bodies of requests -> values of the gateway."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from gateway.errors import NegativeBandwidthError, NotAvailableError
from gateway.policy.access import TargetRules, parse_ports
from gateway.policy.addresses import check_host, check_listen
from gateway.policy.credentials import AgentScope
from gateway.policy.mapping import UNSET, MappingChanges, MappingWish, Unset
from gateway.policy.redaction import Redaction
from gateway.policy.visitors import RULE_NAMES, VisitorRules, canonical_networks
from gateway.wire.hello import NAME_PATTERN
from gateway.wire.plain import UNSAFE

LONGEST_DRAIN_SECONDS: Final = 3600.0
USUAL_DRAIN_SECONDS: Final = 30.0  # what `"drain": true` means
MOST_LABELS: Final = 32

_UNBUILT_PROTOCOLS: Final = frozenset({"http", "http3", "https", "quic", "udp", "unix"})

REDACT: Final = Redaction()  # an agent's key, in whatever place it was sent


class _Short(reprlib.Repr):
    """Shortens values; keys of agents are hidden before they are cut."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(REDACT(x), level)


_SHORT: Final = _Short()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_JSON_WORDS: Final = {None: "null", True: "true", False: "false"}


def shown(value: object) -> str:
    """Return a value of a request as a message may repeat it: short, one line."""
    if value is None or isinstance(value, bool):
        return _JSON_WORDS[value]
    return _SHORT.repr(value)


def _whole_number(first: int, last: int) -> Callable[[object], int]:
    """Return a check that says the value and the limit, whatever is wrong."""

    def check(value: object) -> int:
        if type(value) is not int or not first <= value <= last:
            raise ValueError(
                f"{shown(value)} is not a whole number from {first} to {last}"
            )
        return value

    return check


def _host(value: str) -> str:
    return check_host(value) if value else ""


def _built_protocol(value: object) -> object:
    if isinstance(value, str) and value.lower() in _UNBUILT_PROTOCOLS:
        raise NotAvailableError(feature=f"protocol {value.lower()}")
    return value


def _drain_seconds(value: object) -> object:
    if isinstance(value, bool):
        return USUAL_DRAIN_SECONDS if value else 0.0
    return value


_PLAIN: Final = rf"^[^{UNSAFE}]*$"  # what goes into logs and tables
PublicPort = Annotated[
    int, Field(ge=1, le=65535), BeforeValidator(_whole_number(1, 65535))
]
WishedPort = Annotated[
    int, Field(ge=0, le=65535), BeforeValidator(_whole_number(0, 65535))
]
Protocol = Annotated[Literal["tcp"], BeforeValidator(_built_protocol)]
Host = Annotated[
    str, StringConstraints(max_length=255, pattern=_PLAIN), AfterValidator(_host)
]
AgentName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)
]
Name = Annotated[str, StringConstraints(max_length=100, pattern=_PLAIN)]
LabelKey = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=_PLAIN)
]
LabelText = Annotated[str, StringConstraints(max_length=255, pattern=_PLAIN)]
Labels = Annotated[dict[LabelKey, LabelText], Field(max_length=MOST_LABELS)]
Listen = Annotated[str, Field(max_length=64), AfterValidator(check_listen)]
DrainSeconds = Annotated[
    float,
    BeforeValidator(_drain_seconds),
    Field(ge=0, le=LONGEST_DRAIN_SECONDS, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": LONGEST_DRAIN_SECONDS},
                {"type": "boolean"},
            ]
        }
    ),
]


MOST_NETWORKS: Final = 1000
LONGEST_LIFE_SECONDS: Final = 3650 * 86400
LARGEST_COUNT: Final = 1_000_000
LARGEST_BANDWIDTH: Final = 1 << 40


def _networks(value: object) -> object:
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is not a list of networks")
    if len(value) > MOST_NETWORKS:
        raise ValueError(f"{len(value)} networks are more than {MOST_NETWORKS}")
    for one in value:
        if not isinstance(one, str):
            raise ValueError(f"{shown(one)} is not a network or an address")
    return canonical_networks(value)


def _port_list(value: str) -> str:
    if value:
        parse_ports(value)
    return value


def _bandwidth(value: object) -> int:
    if value is None:
        return 0
    if type(value) is int and value < 0:
        raise NegativeBandwidthError()
    return _whole_number(0, LARGEST_BANDWIDTH)(value)


SHORTEST_NETWORK: Final = len("::")
_NETWORKS_SCHEMA: Final = {
    "type": "array",
    "items": {"type": "string", "minLength": SHORTEST_NETWORK},
    "maxItems": MOST_NETWORKS,
}
Networks = Annotated[
    tuple[str, ...], BeforeValidator(_networks), WithJsonSchema(_NETWORKS_SCHEMA)
]
Count = Annotated[
    int,
    Field(ge=0, le=LARGEST_COUNT),
    BeforeValidator(_whole_number(0, LARGEST_COUNT)),
]
Bandwidth = Annotated[
    int,
    BeforeValidator(_bandwidth),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": LARGEST_BANDWIDTH},
                {"type": "null"},
            ]
        }
    ),
]
IdleSeconds = Annotated[float, Field(ge=0, le=30 * 86400, allow_inf_nan=False)]
Lifetime = Annotated[
    int,
    Field(ge=1, le=LONGEST_LIFE_SECONDS),
    BeforeValidator(_whole_number(1, LONGEST_LIFE_SECONDS)),
]


class Body(BaseModel):
    """A JSON object of a request; unknown keys and converted types are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class _RuleBody(Body):
    """What a mapping asks of its visitors."""

    access_rule: Literal["disabled", "whitelist", "blacklist"] = "disabled"
    """`whitelist` admits visitors from `access_ips` alone, `blacklist` all but those,
    `disabled` everybody."""
    access_ips: Networks = ()
    """Networks and addresses."""
    max_connections: Count = 0
    """Visitors at one time; 0 = unlimited."""
    max_connections_per_ip: Count = 0
    """Visitors of one address at one time; 0 = unlimited."""
    bandwidth_limit: Bandwidth = 0
    """Bytes a second each way, of all visitors together; 0 or null = unlimited."""
    connection_bandwidth_limit: Bandwidth = 0
    """Bytes a second each way, of one visitor; 0 or null = unlimited."""
    idle_timeout: IdleSeconds = 0.0
    """Seconds without a byte after which a visitor is sent away; 0 = never."""
    proxy_protocol: Literal["off", "v1", "v2"] = "off"
    """Header of the PROXY protocol that tells the target where the visitor is from."""
    trusted_proxies: Networks = ()
    """Networks of balancers in front of the port; what comes from there must begin
    with a header of the PROXY protocol, and is judged by the address in it."""

    def rule_fields(self) -> dict[str, Any]:
        """Return what was sent of them, as fields of `VisitorRules`."""
        return {
            name: getattr(self, name)
            for name in RULE_NAMES
            if name in self.model_fields_set
        }


class _NewBody(Body):
    port: WishedPort
    """Public port; 0 picks a free one of the configured range."""
    target_host: Host | None = None
    """Name or address of the target; absent = the agent's own machine."""
    target_port: PublicPort | None = None
    """Port of the target; absent = the public port, less the tunnel's offset."""
    use_tunnel: bool | None = None
    """Through an agent, or dialled by the gateway; absent = through an agent if the
    tunnel service is on and no target is given."""
    protocol: Protocol = "tcp"
    """Protocol of the public port."""
    listen: Listen = ""
    """Literal IPv4 or IPv6 address to listen on, or `localhost`; empty = all
    interfaces."""
    agent: AgentName | None = None
    """Name of the agent; absent = `default`, else the only one connected."""
    name: Name = ""
    """Free text for people."""
    labels: Labels = {}
    """Free key/value pairs for people and scripts."""
    expires_in: Lifetime | None = None
    """Seconds after which the mapping removes itself; null = never."""
    enabled: bool = True
    """Whether its port is opened."""
    expected: bool = False
    """Whether the gateway counts as degraded while the mapping cannot serve."""


class CreateBody(_RuleBody, _NewBody):
    """A new mapping: which public port leads to which target."""

    def wish(self) -> MappingWish:
        """Return the same in the gateway's own words."""
        return MappingWish(
            port=self.port,
            protocol=self.protocol,
            listen=self.listen,
            target_host=self.target_host or None,
            target_port=self.target_port,
            use_tunnel=self.use_tunnel,
            agent=self.agent,
            name=self.name,
            labels=self.labels,
            rules=VisitorRules(**self.rule_fields()),
            expires_in=self.expires_in,
            enabled=self.enabled,
            expected=self.expected,
        )


class EnableBody(Body):
    """Which mapping to open the port of."""

    port: PublicPort
    """Public port of the mapping."""
    protocol: Protocol = "tcp"
    """Protocol of the public port."""


class ReloadBody(EnableBody):
    """Which mapping to read from the store anew."""


class DisableBody(EnableBody):
    """Which mapping to close the port of; it is kept."""

    close: bool = False
    """Whether connections under way end at once; they go on otherwise."""


class RemoveBody(Body):
    """Which mapping to remove, and how patiently."""

    port: PublicPort
    """Public port of the mapping."""
    protocol: Protocol = "tcp"
    """Protocol of the public port."""
    drain: DrainSeconds = 0.0
    """Seconds that connections under way may go on; true means 30, false or absent
    closes them at once."""


class _ChangedBody(Body):
    port: PublicPort
    """Public port of the mapping."""
    protocol: Protocol = "tcp"
    """Protocol of the public port."""
    target_host: Host | None = None
    """Name or address of the target; null = the agent's own machine."""
    target_port: PublicPort = 1
    """Port of the target."""
    use_tunnel: bool = False
    """Through an agent, or dialled by the gateway."""
    agent: AgentName | None = None
    """Name of the agent; null = `default`, else the only one connected."""
    name: Name = ""
    """Free text for people."""
    labels: Labels = {}
    """Free key/value pairs; they replace the old ones."""
    expires_in: Lifetime | None = None
    """Seconds from now after which the mapping removes itself; null = never."""
    enabled: bool = True
    """Whether its port is open."""
    expected: bool = False
    """Whether the gateway counts as degraded while the mapping cannot serve."""


class UpdateBody(_RuleBody, _ChangedBody):
    """What to change in a mapping; absent keys stay as they are."""

    def changes(self) -> MappingChanges:
        """Return what was sent, in the gateway's own words."""
        sent = self.model_fields_set
        return MappingChanges(
            target_host=(self.target_host or "") if "target_host" in sent else UNSET,
            target_port=self.target_port if "target_port" in sent else UNSET,
            use_tunnel=self.use_tunnel if "use_tunnel" in sent else UNSET,
            agent=self.agent if "agent" in sent else UNSET,
            name=self.name if "name" in sent else UNSET,
            labels=self.labels if "labels" in sent else UNSET,
            rules=self.rule_fields(),
            expires_in=self.expires_in if "expires_in" in sent else UNSET,
            enabled=self.enabled if "enabled" in sent else UNSET,
            expected=self.expected if "expected" in sent else UNSET,
        )


Ports = Annotated[str, Field(max_length=1000), AfterValidator(_port_list)]
Targets = Annotated[
    list[Annotated[str, Field(min_length=1)]], Field(max_length=MOST_NETWORKS)
]
Network = Annotated[str, Field(min_length=SHORTEST_NETWORK, max_length=64)]
KeyHolder = Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]


class _ScopeBody(Body):
    name: KeyHolder
    """Name of the agent."""
    ports: Ports = ""
    """Public ports that it may ask for, and whose visitors it gets, such as
    `10000-10100,10443`; empty = all."""
    targets: Targets | None = None
    """What it may be asked to dial: networks, addresses and names, with or without
    ports; null = whatever the agent itself allows."""
    max_links: Annotated[int, Field(ge=0, le=16)] = 0
    """Links at one time; 0 = as many as any agent."""
    max_streams: Count = 0
    """Visitors at one time; 0 = unlimited."""
    bandwidth_limit: Bandwidth = 0
    """Bytes a second each way, of all its visitors; 0 or null = unlimited."""
    expires_in: Lifetime | None = None
    """Seconds from now after which the key is not good any more; null = never."""

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, value: list[str] | None) -> list[str] | None:
        TargetRules.parse(value)
        return value

    def scope(self) -> AgentScope:
        """Return what the agent may do."""
        return AgentScope(
            ports=self.ports,
            targets=None if self.targets is None else tuple(self.targets),
            max_links=self.max_links,
            max_streams=self.max_streams,
            bandwidth_limit=self.bandwidth_limit,
        )


class AgentKeyBody(_ScopeBody):
    """A new key for an agent, and what the agent may do."""


class AgentKeyUpdateBody(_ScopeBody):
    """What to change of what an agent may do; absent keys stay as they are."""

    def limits(self) -> dict[str, Any]:
        """Return what was sent of it, as fields of `AgentScope`."""
        scope = self.scope()
        return {
            one.name: getattr(scope, one.name)
            for one in fields(scope)
            if one.name in self.model_fields_set
        }

    def lifetime(self) -> int | Unset | None:
        """Return what was sent of its life."""
        return self.expires_in if "expires_in" in self.model_fields_set else UNSET


class EmptyBody(Body):
    """Nothing needs to be said."""


class BanBody(Body):
    """Whom to keep out."""

    network: Network
    """Network or address."""
    duration: Lifetime | None = None
    """Seconds; null = for good."""
    reason: Name = ""
    """Free text for people."""


class NetworkBody(Body):
    """Whom to let come again."""

    network: Network
    """Network or address."""


class AgentNameBody(Body):
    """Which agent's key is meant."""

    name: KeyHolder
    """Name of the agent."""


class RetireBody(AgentNameBody):
    """Which agent's older key is retired."""

    force: bool = False
    """Retire it although the agent has never used the newer one."""
