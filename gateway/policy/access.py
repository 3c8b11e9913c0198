"""Who may call, and what may be dialled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple, TypeAlias

from gateway.policy.addresses import (
    PORTS,
    Address,
    check_host,
    cut_port,
    parse_address,
    parse_port,
    shown,
    without_scope,
)

Network: TypeAlias = IPv4Network | IPv6Network
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_ALL_PORTS: Final = (PORTS,)


def parse_network(text: str) -> Network:
    """Return a network, or the network that holds one address only.

    Raises:
        ValueError: it is neither.
    """
    if "%" in text:
        raise ValueError(f"{shown(text)} names an interface; give the address alone")
    try:
        network = ip_network(text)
    except ValueError as fault:
        if "host bits" in str(fault):
            raise ValueError(
                f"{shown(text)} has bits set behind the network's prefix"
            ) from None
        raise ValueError(f"{shown(text)} is not a network or an address") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        first = network.network_address.ipv4_mapped
        return IPv4Network(f"{first}/{network.prefixlen - _MAPPED.prefixlen}")
    return network


def parse_ports(text: str) -> tuple[range, ...]:
    """Return the ports of `22`, `80,443` or `8000-8100,9000`.

    Raises:
        ValueError: the list is malformed.
    """
    ports = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = parse_port(first)
        high = parse_port(last) if dash else low
        if high < low:
            raise ValueError(f"port range {shown(part)} ends before it begins")
        ports.append(range(low, high + 1))
    return tuple(ports)


class TargetRule(NamedTuple):
    """One entry of a list of allowed targets.

    Attributes:
        place: a network, or a name in the form of `check_host`.
        ports: those of the place that are allowed.
    """

    place: Network | str
    ports: tuple[range, ...]

    @classmethod
    def parse(cls, entry: str) -> TargetRule:
        """Return the rule that an entry stands for; see `TargetRules.parse`.

        Raises:
            ValueError: the entry is malformed.
        """
        place, port_text = cut_port(entry)
        ports = _ALL_PORTS if port_text is None else parse_ports(port_text)
        if "/" in place or parse_address(place) is not None:
            return cls(parse_network(place), ports)
        return cls(check_host(place), ports)

    def has_port(self, port: int) -> bool:
        """Tell whether a port is among those that are allowed."""
        return any(port in ports for ports in self.ports)


class TargetRules:
    """The targets that may be dialled.

    Asked after the look-up with the address that is dialled next, so a name that
    leads to another place each time gets nowhere that it should not.
    """

    __slots__ = ("_names", "_networks", "_open", "_remembered")

    def __init__(self, rules: Sequence[TargetRule] | None) -> None:
        # each visitor asks for one of few places
        self._remembered = lru_cache(maxsize=1024)(self._judge)
        self._open = rules is None
        self._networks: list[tuple[Network, TargetRule]] = []
        self._names: dict[str, list[TargetRule]] = {}
        for rule in rules or ():
            if isinstance(rule.place, str):
                self._names.setdefault(rule.place, []).append(rule)
            else:
                self._networks.append((rule.place, rule))

    @classmethod
    def parse(cls, entries: Sequence[str] | None) -> TargetRules:
        """Return the rules of a list of entries.

        Args:
            entries: networks, addresses and host names, each optionally with
                ports: `10.0.0.0/8`, `[::1]:22`, `db.internal:5432`,
                `10.0.0.0/8:80,8000-8100`.  None = everything is allowed; an empty
                list allows nothing.

        Raises:
            ValueError: an entry is malformed; says which, and why.
        """
        if entries is None:
            return cls(None)
        rules = []
        for entry in entries:
            try:
                rules.append(TargetRule.parse(entry))
            except ValueError as fault:
                raise ValueError(f"allowed target {shown(entry)}: {fault}") from None
        return cls(rules)

    def check(self, host: str, address: str, port: int) -> str | None:
        """Return None if the target is allowed, else why not, in one sentence.

        Args:
            host: what was asked for; a name is allowed wherever it leads to.
            address: literal address that will be dialled.
            port: 1..65535.
        """
        return None if self._open else self._remembered(host, address, port)

    def _judge(self, host: str, address: str, port: int) -> str | None:
        rules = self._about(host, address)
        if any(rule.has_port(port) for rule in rules):
            return None
        place = address if host == address else f"{host} ({address})"
        if rules:
            return f"port {port} of {place} is not among the allowed targets"
        return f"{place} is not among the allowed targets"

    def _about(self, host: str, address: str) -> list[TargetRule]:
        """Return the rules that name this place, whatever the port."""
        found = []
        parsed = parse_address(address)
        if parsed is not None:
            found = [rule for network, rule in self._networks if parsed in network]
        if self._names:
            with suppress(ValueError):  # what is no name is in no rule
                found += self._names.get(check_host(host), ())
        return found


class OwnPorts:
    """The gateway's own listeners, which are never targets."""

    __slots__ = ("_binds",)

    def __init__(self, ports: Iterable[tuple[str, int]]) -> None:
        """Remember the listeners.

        Args:
            ports: the address (empty = all interfaces) and port of each.
        """
        self._binds: dict[int, list[Address | None]] = {}
        for bind, port in ports:
            self._binds.setdefault(port, []).append(without_scope(bind))

    def has_port(self, port: int) -> bool:
        """Return whether any of the listeners has this port."""
        return port in self._binds

    def is_open(self, port: int) -> bool:
        """Return whether one with this port can be reached from other machines."""
        binds = self._binds.get(port, ())
        return any(bind is None or not bind.is_loopback for bind in binds)

    def check(
        self, address: str, port: int, local_addresses: Callable[[], Iterable[str]]
    ) -> str | None:
        """Return None if the target is none of ours, else why not.

        Args:
            address: literal address that will be dialled.
            port: 1..65535.
            local_addresses: returns the addresses of this machine's interfaces;
                asked only if it matters.
        """
        binds = self._binds.get(port)
        if binds is None:
            return None
        target = without_scope(address)
        if target is not None and not any(
            _reaches(target, bind, local_addresses) for bind in binds
        ):
            return None
        return f"{address} port {port} is a port of this program itself"


def _reaches(
    target: Address,
    bind: Address | None,
    local_addresses: Callable[[], Iterable[str]],
) -> bool:
    """Tell whether dialling `target` meets a listener on `bind` of this machine.

    The unspecified address is dialled as loopback, and all of loopback is held for
    one address: to be strict there costs nobody anything.
    """
    if target.is_unspecified or target == bind:
        return True
    if bind is not None and not bind.is_unspecified:
        return target.is_loopback and bind.is_loopback
    return target.is_loopback or target in map(without_scope, local_addresses())


class AddressRules:
    """The networks that callers may come from."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[Network | str]) -> None:
        """Remember the networks; none = callers may come from anywhere.

        Raises:
            ValueError: a text is no network.
        """
        self._networks = tuple(parse_network(str(network)) for network in networks)

    def allows(self, address: str) -> bool:
        """Tell whether a caller at a literal address is admitted."""
        if not self._networks:
            return True
        caller = without_scope(address)
        return caller is not None and any(
            caller in network for network in self._networks
        )
