"""Hosts with ports as settings name them, read by the rules of `policy`.

Each function raises `ValueError` with a sentence that names the value and says
what is wrong with it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.policy.addresses import (
    join_host_port,
    parse_port,
    shown,
    split_host_port,
    split_listen,
)

LINK_PORT: Final = 9000
_THIS_MACHINE: Final = "localhost"
EXPOSED_PROTOCOLS: Final = ("tcp", "udp", "http", "tls", "unix")


class HostPort(NamedTuple):
    """Where to connect to or to listen on.

    Attributes:
        host: name or literal address without brackets; empty = all interfaces.
        port: 1..65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


def listening_place(text: str) -> HostPort:
    """Read `:port` or `address:port`."""
    return HostPort(*split_listen(text))


def target(text: str) -> HostPort:
    """Read `host:port`."""
    return _with_host(text, None)


def gateway_address(text: str) -> HostPort:
    """Read `host` or `host:port`; the port of agents is added where missing."""
    return _with_host(text, LINK_PORT)


def local_place(text: str) -> HostPort:
    """Read a port of this machine, or `host:port`."""
    host, port = split_host_port(text)
    return HostPort(host or _THIS_MACHINE, port)


class ExposedPlace(NamedTuple):
    """What the short form of an entry of `expose` says.

    Attributes:
        protocol: of the public port.
        public: its number; 0 = any.
        local: what visitors are taken to.
    """

    protocol: str
    public: int
    local: HostPort


def exposed_place(text: str) -> ExposedPlace:
    """Read `[PROTOCOL:][PUBLIC:][HOST:]PORT`.

    Digits before a port are the public one; a name or bracketed address is a host.
    Only the protocol is read of those that are not available yet.
    """
    protocol, public = "tcp", 0
    head, colon, rest = text.partition(":")
    if colon and head in EXPOSED_PROTOCOLS:
        protocol, text = head, rest
        if protocol != "tcp":
            return ExposedPlace(protocol, 0, HostPort(_THIS_MACHINE, 1))
        head, colon, rest = text.partition(":")
    if colon and head.isascii() and head.isdigit():
        public, text = parse_port(head), rest
    return ExposedPlace(protocol, public, local_place(text))


def _with_host(text: str, default_port: int | None) -> HostPort:
    host, port = split_host_port(text, default_port)
    if not host:
        raise ValueError(f"{shown(text)} names no host; write host:port")
    return HostPort(host, port)
