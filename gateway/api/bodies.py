"""What callers may send: the bodies of requests -> values of the gateway."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from gateway.errors import NotAvailableError
from gateway.policy.addresses import check_host, check_listen
from gateway.policy.mapping import UNSET, MappingChanges, MappingWish

LONGEST_DRAIN_SECONDS: Final = 3600.0
USUAL_DRAIN_SECONDS: Final = 30.0  # what `"drain": true` means
MOST_LABELS: Final = 32

_UNBUILT_PROTOCOLS: Final = frozenset({"http", "http3", "https", "quic", "udp", "unix"})

_SHORT: Final = reprlib.Repr()
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


_PLAIN: Final = r"^[^\x00-\x1f\x7f]*$"  # what goes into logs and tables
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


class Body(BaseModel):
    """A JSON object of a request; unknown keys and converted types are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class CreateBody(Body):
    """A new mapping: which public port leads to which target."""

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
        )


class RemoveBody(Body):
    """Which mapping to remove, and how patiently."""

    port: PublicPort
    """Public port of the mapping."""
    protocol: Protocol = "tcp"
    """Protocol of the public port."""
    drain: DrainSeconds = 0.0
    """Seconds that connections under way may go on; true means 30, false or absent
    closes them at once."""


class UpdateBody(Body):
    """What to change in a mapping; absent keys stay as they are."""

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
        )
