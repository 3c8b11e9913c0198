"""Names, addresses and networks as users write them, each with its check.

A check raises `ValueError` with a text that says what the value must be; it never
repeats the value.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple, TypeAlias

LINK_PORT: Final = 9000
Network: TypeAlias = IPv4Network | IPv6Network
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_LONGEST_NAME: Final = 253


class HostPort(NamedTuple):
    """Where to connect to or to listen on.

    Attributes:
        host: name or literal address without brackets; empty = all interfaces.
        port: 1..65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _text(value: object, wanted: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be {wanted}, as text (in quotes)")
    return value


def is_address(text: str) -> bool:
    """Tell whether `text` is a literal IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Tell whether only this machine reaches a literal address."""
    return is_address(address) and ip_address(address).is_loopback


def _is_host(text: str) -> bool:
    if is_address(text):
        return True
    last_label = text.rstrip(".").rpartition(".")[2]
    return (
        len(text) <= _LONGEST_NAME
        and _HOST_NAME.fullmatch(text) is not None
        and not last_label.isdigit()  # 300.1.1.1 is a slip, not a name
    )


def split_host_port(text: str) -> tuple[str, str | None]:
    """Cut `host:port`, `[v6]:port`, `host` or a bare IPv6 address in two.

    Returns:
        The host without brackets, and the text of the port or None.
    """
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        # a bracket that stays open, or stray text behind it, can be no host
        if not closed or ":" not in host or (rest and not rest.startswith(":")):
            return text, None
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 5:
        return None
    number = int(text)
    return number if 1 <= number <= 65535 else None


def bind_address(value: object) -> str:
    """Check an address to listen on; `localhost` and `*` are written out."""
    wanted = "an IP address of this machine, or empty for all interfaces"
    text = _text(value, wanted)
    text = {"localhost": "127.0.0.1", "*": ""}.get(text, text)
    if text and not is_address(text):
        raise ValueError(f"must be {wanted}")
    return text


def host(value: object) -> str:
    """Check a host name or literal address."""
    wanted = "a host name or an IP address"
    text = _text(value, wanted)
    if not _is_host(text):
        raise ValueError(f"must be {wanted}")
    return text


def listening_place(value: object) -> HostPort:
    """Check `:port` or `address:port`."""
    if isinstance(value, HostPort):
        return value
    wanted = "':port' or 'address:port', port 1 to 65535"
    address, port_text = split_host_port(_text(value, wanted))
    port = _port(port_text)
    if port is None:
        raise ValueError(f"must be {wanted}")
    return HostPort(bind_address(address), port)


def target(value: object) -> HostPort:
    """Check `host:port`."""
    if isinstance(value, HostPort):
        return value
    wanted = "'host:port', port 1 to 65535"
    name, port_text = split_host_port(_text(value, wanted))
    port = _port(port_text)
    if port is None or not _is_host(name):
        raise ValueError(f"must be {wanted}")
    return HostPort(name, port)


def gateway_address(value: object) -> HostPort:
    """Check `host` or `host:port`; the port of agents is added where missing."""
    if isinstance(value, HostPort):
        return value
    wanted = f"'host' or 'host:port', port 1 to 65535 ({LINK_PORT} if left out)"
    name, port_text = split_host_port(_text(value, wanted))
    port = LINK_PORT if port_text is None else _port(port_text)
    if port is None or not _is_host(name):
        raise ValueError(f"must be {wanted}")
    return HostPort(name, port)


def local_place(value: object) -> HostPort:
    """Check a port number of this machine, or `host:port`."""
    if type(value) is int:
        value = str(value)
    if isinstance(value, str) and (port := _port(value)) is not None:
        return HostPort("127.0.0.1", port)
    try:
        return target(value)
    except ValueError:
        raise ValueError("must be a port from 1 to 65535, or 'host:port'") from None


def network(value: object) -> Network:
    """Check a network such as 192.168.1.0/24, or one address."""
    if isinstance(value, Network):
        return value
    wanted = "a network such as 192.168.1.0/24, or an IP address"
    text = _text(value, wanted)
    try:
        return ip_network(text)
    except ValueError as fault:
        if "host bits" in str(fault):
            raise ValueError("has bits set behind the network's prefix") from None
        raise ValueError(f"must be {wanted}") from None


def target_rule(value: object) -> str:
    """Check one entry of a list of allowed targets."""
    wanted = "a network, a host or 'host:port'"
    text = _text(value, wanted)
    if "/" in text:
        network(text)
        return text
    name, port_text = split_host_port(text)
    if not _is_host(name) or (port_text is not None and _port(port_text) is None):
        raise ValueError(f"must be {wanted}")
    return text
