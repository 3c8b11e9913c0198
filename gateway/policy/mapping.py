"""What a mapping is, and how the parts that a request leaves out are filled in."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, NamedTuple

from gateway.policy.addresses import PORTS
from gateway.policy.visitors import NO_RULES, VisitorRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the connections of a mapping are taken to.

    Attributes:
        host: name or address; empty = the agent's default host (only where
            `use_tunnel`).
        port: 1..65535.
        use_tunnel: True = through an agent, False = dialled by the gateway.
        agent: name of the agent; None = the default agent, else the only one.
    """

    host: str
    port: int
    use_tunnel: bool
    agent: str | None = None


class Match(NamedTuple):
    """What a connection must come to for a mapping to serve it; unique.

    Attributes:
        protocol: "tcp".
        port: public port, 1..65535.
    """

    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.protocol}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """The rule "what comes to this public port is taken to that target".

    Attributes:
        id: unique number, the same as long as the mapping lives; 0 before it has one.
        protocol: see `Match`.
        port: see `Match`.
        listen: literal IPv4 or IPv6 address to listen on; empty = all interfaces.
        targets: where it leads, one or more.
        name: free text for people; may be empty.
        labels: free key/value pairs for people and scripts.
        rules: what is asked of visitors.
        expires_at: Unix seconds at which it removes itself; None = never.
        enabled: whether its port is open.
        expected: whether the gateway is degraded while it cannot serve.
        created_at: Unix seconds, UTC.
        updated_at: Unix seconds, UTC.
    """

    id: int = 0
    protocol: str = "tcp"
    port: int
    listen: str = ""
    targets: tuple[Target, ...]
    name: str = ""
    labels: Map[str, str] = field(default_factory=dict)
    rules: VisitorRules = NO_RULES
    expires_at: int | None = None
    enabled: bool = True
    expected: bool = False
    created_at: int
    updated_at: int

    @property
    def match(self) -> Match:
        """Return what the mapping is unique by."""
        return Match(self.protocol, self.port)

    @property
    def target(self) -> Target:
        """Return the first target."""
        return self.targets[0]

    @property
    def target_host(self) -> str:
        """Return the host of the first target."""
        return self.targets[0].host

    @property
    def target_port(self) -> int:
        """Return the port of the first target."""
        return self.targets[0].port

    @property
    def use_tunnel(self) -> bool:
        """Return whether the first target is reached through an agent."""
        return self.targets[0].use_tunnel

    @property
    def agent(self) -> str | None:
        """Return the agent of the first target."""
        return self.targets[0].agent


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingWish:
    """What a caller asks for; None = let the rules decide.

    Attributes:
        port: public port; 0 = pick a free one.
        expires_in: seconds after which it removes itself; None = never.
        enabled: whether its port is to be open.
        expected: whether the gateway is degraded while it cannot serve.
    """

    port: int
    protocol: str = "tcp"
    listen: str = ""
    target_host: str | None = None
    target_port: int | None = None
    use_tunnel: bool | None = None
    agent: str | None = None
    name: str = ""
    labels: Map[str, str] = field(default_factory=dict)
    rules: VisitorRules = NO_RULES
    expires_in: int | None = None
    enabled: bool = True
    expected: bool = False


def wants_tunnel(wish: MappingWish, *, tunnel_enabled: bool) -> bool:
    """Tell whether the mapping goes through an agent.

    Absent a word from the caller: yes if the tunnel service is on and no target
    host was given.  Naming an agent is such a word.
    """
    if wish.use_tunnel is not None:
        return wish.use_tunnel
    if wish.agent is not None:
        return True
    return tunnel_enabled and not wish.target_host


def resolve_target_port(wish: MappingWish, *, use_tunnel: bool, offset: int) -> int:
    """Return the target port of a wish whose public port is known.

    An explicit port wins; a tunnel mapping takes the public port less `offset`
    where that is a port; everything else keeps the public port.
    """
    if wish.target_port is not None:
        return wish.target_port
    if use_tunnel and wish.port - offset in PORTS:
        return wish.port - offset
    return wish.port


def derived_id(*parts: str) -> int:
    """Return the id of a mapping that is not stored, 2**48 to 2**52.

    It is the same for the same parts, on every gateway and after each restart, and none
    that a store gives.

    Args:
        parts: what the mapping is: where it comes from, and its name there.
    """
    digest = sha256("\0".join(parts).encode("utf-8", "surrogateescape")).digest()
    return (1 << 48) + int.from_bytes(digest[:8], "big") % ((1 << 52) - (1 << 48))


class Unset:
    """The type of `UNSET`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingChanges:
    """What to change in a mapping; `UNSET` = keep.

    New visitors get the changed mapping.  Connections under way stay as they are,
    but for those that the changed rules do not admit, which end.

    Attributes:
        rules: the fields of `VisitorRules` that change.
        expires_in: seconds from now; None = never.
    """

    target_host: str | Unset = UNSET
    target_port: int | Unset = UNSET
    use_tunnel: bool | Unset = UNSET
    agent: str | Unset | None = UNSET
    name: str | Unset = UNSET
    labels: Map[str, str] | Unset = UNSET
    rules: Map[str, Any] = field(default_factory=dict)
    expires_in: int | Unset | None = UNSET
    enabled: bool | Unset = UNSET
    expected: bool | Unset = UNSET


_PLAIN_CHANGES: Final = ("name", "labels", "enabled", "expected")
_TARGET_CHANGES: Final = {
    "target_host": "host",
    "target_port": "port",
    "use_tunnel": "use_tunnel",
    "agent": "agent",
}


def changed(mapping: Mapping, changes: MappingChanges, now: int) -> Mapping:
    """Return a mapping after changes.

    Args:
        mapping: as it is.
        changes: what becomes different.
        now: Unix seconds.
    """
    chosen: dict[str, Any] = {
        name: value
        for name in _PLAIN_CHANGES
        if (value := getattr(changes, name)) is not UNSET
    }
    moved: dict[str, Any] = {
        name: value
        for change, name in _TARGET_CHANGES.items()
        if (value := getattr(changes, change)) is not UNSET
    }
    if moved:
        first, *others = mapping.targets
        chosen["targets"] = (replace(first, **moved), *others)
    if not isinstance(changes.expires_in, Unset):
        seconds = changes.expires_in
        chosen["expires_at"] = None if seconds is None else now + seconds
    rules = replace(mapping.rules, **changes.rules)
    return replace(mapping, **chosen, rules=rules, updated_at=now)
