"""Read host names, addresses and ports that somebody wrote down.

Every function raises `ValueError` with a sentence that names the text and what is
wrong with it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
PORTS: Final = range(1, 65536)
LOCALHOST: Final = "localhost"
LOOPBACK: Final = ("127.0.0.1", "::1")  # what that name stands for, in this order

# RFC 1123, and the underscore that container networks use
_LABEL: Final = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_SCOPE: Final = re.compile("[A-Za-z0-9_.-]{1,15}")  # name or number of an interface
_LONGEST_NAME: Final = 253
_LONGEST_ADDRESS: Final = 64  # with a scope
_LONGEST_FORWARDED: Final = 96  # with brackets, port, quotes and blanks
_LONGEST_SHOWN: Final = 80
_PORT_DIGITS: Final = 5
_HOLDERS_BITS: Final = 64


def shown(text: str) -> str:
    """Return `text` quoted for a message, cut if it is long."""
    if len(text) > _LONGEST_SHOWN:
        return repr(text[:_LONGEST_SHOWN]) + "..."
    return repr(text)


def parse_address(text: str) -> Address | None:
    """Return a literal address, or None if `text` is none.

    An IPv4 address written as an IPv6 one (`::ffff:1.2.3.4`) is an IPv4 address.
    """
    return _parsed(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)  # each visitor asks for the same few
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None and not _SCOPE.fullmatch(address.scope_id):
        return None
    return address.ipv4_mapped or address


def without_scope(text: str) -> Address | None:
    """Return a literal address less the interface it names, or None if it is none."""
    return parse_address(text.partition("%")[0])


def parse_forwarded(text: str) -> Address | None:
    """Return the address that a proxy names in `X-Forwarded-For`, or None.

    Proxies also write a port (`192.0.2.7:5555`, `[2001:db8::7]:5555`), brackets without
    one, and quotes around any of these.
    """
    if len(text) > _LONGEST_FORWARDED:
        return None
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    try:
        host, port = cut_port(text)
        if port is not None:
            parse_port(port, 0)
    except ValueError:
        return None
    return parse_address(host)


def holder_of(text: str) -> str:
    """Return what stands for whoever has an address, where callers are counted.

    An IPv4 address is itself.  Who has an IPv6 address has at least the network of
    64 bits around it, and could come from each of its addresses in turn.
    """
    return text if ":" not in text else _network_around(text)


@lru_cache(maxsize=4096)
def _network_around(text: str) -> str:
    address = without_scope(text)
    if address is None:
        return text
    if isinstance(address, IPv4Address) or address.is_loopback or address.is_link_local:
        return str(address)
    return str(ip_network((address, _HOLDERS_BITS), strict=False))


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine whatever its addresses are."""
    address = parse_address(host)
    if address is None:
        return host.lower().removesuffix(".") == "localhost"
    return address.is_loopback


def is_public(text: str) -> bool:
    """Return whether a literal address means the same machine everywhere."""
    address = without_scope(text)
    return address is not None and address.is_global


def check_host(text: str) -> str:
    """Return a host name in lower-case ASCII, or a literal address.

    Raises:
        ValueError: it can be neither.
    """
    address = parse_address(text)
    if address is not None:
        return str(address)
    if not text:
        raise ValueError("the host must not be empty")
    name = _ascii(text).lower().removesuffix(".")
    if len(name) > _LONGEST_NAME:
        raise ValueError(
            f"host name {shown(text)} is longer than {_LONGEST_NAME} characters"
        )
    labels = name.split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{shown(text)} is neither a host name nor an address")
    if labels[-1].isdigit():
        raise ValueError(f"{shown(text)} is not an IPv4 address")
    return name


def _ascii(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"{shown(text)} cannot be a host name") from None


def check_listen(text: str) -> str:
    """Return an address to listen on; empty = all interfaces.

    `*` and `localhost` are written out.

    Raises:
        ValueError: it is no literal address.
    """
    text = {"localhost": "127.0.0.1", "*": ""}.get(text, text)
    if not text:
        return ""
    address = parse_address(text)
    if address is None:
        raise ValueError(
            f"{shown(text)} is not an address to listen on; it must be an IP address "
            "of this machine, or empty for all interfaces"
        )
    return str(address)


def parse_port(text: str, lowest: int = PORTS[0]) -> int:
    """Return a port, `lowest`..65535.

    Raises:
        ValueError: it is none.
    """
    if text.isascii() and text.isdigit() and len(text) <= _PORT_DIGITS:
        port = int(text)
        if lowest <= port <= PORTS[-1]:
            return port
    raise ValueError(f"{shown(text)} is not a port from {lowest} to {PORTS[-1]}")


def cut_port(text: str) -> tuple[str, str | None]:
    """Cut `host:port` in two; the parts are not checked.

    Returns:
        The host without brackets, and what stands behind its colon; None if there
        is no colon.  A bare IPv6 address has no port.

    Raises:
        ValueError: brackets that do not match, or hold no IPv6 address.
    """
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError(f"{shown(text)} is not of the form [address]:port")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def split_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Return the host and port of `host:port`, `[v6]:port`, `:port` or `port`.

    Args:
        text: what was written.
        default_port: port of a host without one; None = it must have one.

    Returns:
        The host as `check_host` returns it, empty if there is none, and the port.

    Raises:
        ValueError: it has none of these forms.
    """
    if text.isascii() and text.isdigit():
        return "", parse_port(text)
    host, port = cut_port(text)
    if port is None:
        if default_port is None:
            raise ValueError(
                f"{shown(text)} has no port; write host:port or [address]:port"
            )
        return check_host(host), default_port
    return check_host(host) if host else "", parse_port(port)


def split_listen(text: str, lowest_port: int = PORTS[0]) -> tuple[str, int]:
    """Return the address and port of `:port` or `address:port` to listen on.

    Args:
        text: what was written.
        lowest_port: 0 where the system may choose.

    Raises:
        ValueError: it has neither form.
    """
    address, port = cut_port(text)
    if port is None:
        raise ValueError(f"{shown(text)} has no port; write :port or address:port")
    return check_listen(address), parse_port(port, lowest_port)


def join_host_port(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
