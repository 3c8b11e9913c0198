"""The kinds of value that options have, each with its check.

The functions are types for click; what they refuse ends in a usage error.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import click

from gateway.config.places import (
    HostPort,
    bind_address,
    host,
    split_host_port,
    target,
)

PORT: Final = click.IntRange(1, 65535)
WISHED_PORT: Final = click.IntRange(0, 65535)


class Place(NamedTuple):
    """A target as typed; either part may be left out.

    Attributes:
        host: empty = left out.
        port: None = left out.
    """

    host: str
    port: int | None


def place(text: str) -> Place:
    """Read `HOST:PORT`, `HOST` or `:PORT`."""
    name, port_text = split_host_port(text)
    port = None if port_text is None else _port(port_text, first=1)
    if (port_text is not None and port is None) or not (name or port):
        raise _wrong(text, "must be HOST:PORT, HOST or :PORT, port 1 to 65535")
    try:
        return Place(host(name) if name else "", port)
    except ValueError as fault:
        raise _wrong(name, str(fault)) from None


def listening_place(text: str) -> HostPort:
    """Read `:PORT` or `ADDRESS:PORT`; port 0 lets the system choose."""
    address, port_text = split_host_port(text)
    port = _port(port_text or "", first=0)
    if port is None:
        raise _wrong(text, "must be :PORT or ADDRESS:PORT, port 0 to 65535")
    try:
        return HostPort(bind_address(address), port)
    except ValueError as fault:
        raise _wrong(address, str(fault)) from None


def dialled_place(text: str) -> HostPort:
    """Read `HOST:PORT`."""
    try:
        return target(text)
    except ValueError as fault:
        raise _wrong(text, str(fault)) from None


def label(text: str) -> tuple[str, str]:
    """Read `KEY=TEXT`."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise _wrong(text, "must be KEY=TEXT")
    return key, value


def _wrong(text: str, detail: str) -> click.BadParameter:
    return click.BadParameter(f"{text!r} {detail}")


def _port(text: str, *, first: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    number = int(text)
    return number if first <= number <= 65535 else None
