"""Socket addresses as literals, as the kernel has them and as Twisted has them."""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any, Final, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address

TCPAddress: TypeAlias = IPv4Address | IPv6Address
_MAPPED: Final = "::ffff:"


@lru_cache(maxsize=1024)  # each visitor's target is one of few
def family_of(literal: str) -> socket.AddressFamily | None:
    """Return the family of a literal address, or None if it is none.

    An IPv6 address may carry a scope (`fe80::1%eth0`).
    """
    for family, text in (
        (socket.AF_INET, literal),
        (socket.AF_INET6, literal.split("%", 1)[0]),
    ):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):  # ValueError: a NUL or a non-ASCII letter
            continue
        return family
    return None


def address_of(name: tuple[Any, ...]) -> TCPAddress:
    """Return what the socket module calls `name` as Twisted's address.

    An IPv4 peer of a dual-stack socket is shown as what it is.
    """
    host = name[0]
    if len(name) == 2:
        return IPv4Address("TCP", host, name[1])
    if host.startswith(_MAPPED) and "." in host:
        return IPv4Address("TCP", host[len(_MAPPED) :], name[1])
    return IPv6Address("TCP", *name)


target_address = lru_cache(maxsize=1024)(address_of)  # of those that are dialled
