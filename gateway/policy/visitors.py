"""What a mapping asks of its visitors, and gives them."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, Final

from gateway.policy.access import AddressRules, Network, parse_network
from gateway.policy.addresses import holder_of

ACCESS_RULES: Final = ("disabled", "whitelist", "blacklist")
PROXY_FORMS: Final = ("off", "v1", "v2")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitorRules:
    """Who may come, how many, how fast, and what the target is told of them.

    Attributes:
        access_rule: "disabled" = anybody, "whitelist" = those of `access_ips` alone,
            "blacklist" = all but those.
        access_ips: networks, in the form of `canonical_networks`.
        max_connections: visitors at one time; 0 = unlimited.
        max_connections_per_ip: of one address; 0 = unlimited.
        bandwidth_limit: bytes a second each way, of all visitors together; 0 = any.
        connection_bandwidth_limit: the same of one visitor.
        idle_timeout: seconds without a byte after which a visitor is sent away; 0 =
            never.
        proxy_protocol: header that tells the target who comes: "off", "v1", "v2".
        trusted_proxies: networks of balancers in front, which send such a header.
    """

    access_rule: str = "disabled"
    access_ips: tuple[str, ...] = ()
    max_connections: int = 0
    max_connections_per_ip: int = 0
    bandwidth_limit: int = 0
    connection_bandwidth_limit: int = 0
    idle_timeout: float = 0.0
    proxy_protocol: str = "off"
    trusted_proxies: tuple[str, ...] = ()

    def admits(self, address: str) -> bool:
        """Tell whether a visitor at a literal address may come."""
        if self.access_rule == "disabled":
            return True
        if not self.access_ips:
            return self.access_rule == "blacklist"
        listed = _rules_of(self.access_ips).allows(address)
        return listed == (self.access_rule == "whitelist")

    def trusts(self, address: str) -> bool:
        """Tell whether a connection from there begins with a header of its own."""
        trusted = self.trusted_proxies
        return bool(trusted) and _rules_of(trusted).allows(address)


@lru_cache(maxsize=1024)  # each visitor asks for one of few lists
def _rules_of(networks: tuple[str, ...]) -> AddressRules:
    return AddressRules(networks)


NO_RULES: Final = VisitorRules()
RULE_NAMES: Final = tuple(field.name for field in fields(VisitorRules))
_DEFAULTS: Final = {
    field.name: field.default
    for field in fields(VisitorRules)
    if field.default is not MISSING
}


def canonical_networks(texts: list[str]) -> tuple[str, ...]:
    """Return networks in one form each, in order and without repetition.

    Raises:
        ValueError: a text is neither a network nor an address.
    """
    found: dict[Network, None] = {parse_network(text): None for text in texts}
    return tuple(map(str, found))


def rules_document(rules: VisitorRules) -> dict[str, Any]:
    """Return what is not as usual, as JSON can hold it."""
    found = {name: getattr(rules, name) for name in RULE_NAMES}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in found.items()
        if value != _DEFAULTS[name]
    }


def rules_of_document(document: Map[str, Any]) -> VisitorRules:
    """Return the rules that `rules_document` wrote.

    Raises:
        ValueError: a value is not what it must be; the text says which.
    """
    unknown = sorted(document.keys() - set(RULE_NAMES))
    if unknown:
        raise ValueError(f"rules have the unknown key {unknown[0]!r}")
    values: dict[str, Any] = {}
    for name, value in document.items():
        try:
            values[name] = _READERS[name](value)
        except ValueError as fault:
            raise ValueError(f"rules: {name}: {fault}") from None
    return VisitorRules(**values)


def _one_of(words: tuple[str, ...], value: Any) -> str:  # noqa: ANN401
    if value not in words:
        raise ValueError(f"{value!r} is none of {', '.join(words)}")
    return str(value)


def _number(value: Any) -> int:  # noqa: ANN401
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a whole number from 0")
    return value


def _seconds(value: Any) -> float:  # noqa: ANN401
    if type(value) not in (int, float) or not 0 <= value < 1e9:
        raise ValueError(f"{value!r} is not a number of seconds")
    return float(value)


def _networks(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{value!r} is not a list of networks")
    return canonical_networks(value)


_READERS: Final[dict[str, Any]] = {
    "access_rule": lambda value: _one_of(ACCESS_RULES, value),
    "access_ips": _networks,
    "max_connections": _number,
    "max_connections_per_ip": _number,
    "bandwidth_limit": _number,
    "connection_bandwidth_limit": _number,
    "idle_timeout": _seconds,
    "proxy_protocol": lambda value: _one_of(PROXY_FORMS, value),
    "trusted_proxies": _networks,
}


class Addresses:
    """How many there are of each address, or network of 64 bits in IPv6.

    Attributes:
        limit: of one address at most; 0 = unlimited.
    """

    __slots__ = ("_counts", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def most(self) -> int:
        """How many there are of the address that has the most."""
        return max(self._counts.values(), default=0)

    def count(self, address: str) -> int:
        """Return how many there are of that address."""
        return self._counts.get(holder_of(address), 0)

    def full(self, address: str) -> bool:
        """Tell whether there is no room for one more of that address."""
        return 0 < self.limit <= self.count(address)

    def enter(self, address: str) -> None:
        """Count one."""
        holder = holder_of(address)
        self._counts[holder] = self._counts.get(holder, 0) + 1

    def leave(self, address: str) -> None:
        """Count one less."""
        holder = holder_of(address)
        left = self._counts[holder] - 1
        if left:
            self._counts[holder] = left
        else:
            del self._counts[holder]
