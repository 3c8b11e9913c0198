"""The kinds of value that options have, each with its check.

The functions are types for click; what they refuse ends in a usage error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, NamedTuple, TypeVar

import click

from gateway.config.places import HostPort, target
from gateway.policy.addresses import split_host_port, split_listen

Value = TypeVar("Value")

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


def _with_reason(read: Callable[[str], Value]) -> Callable[[str], Value]:
    """Let a usage error say why; older releases of click show the value alone."""

    @wraps(read)
    def read_or_say(text: str) -> Value:
        try:
            return read(text)
        except ValueError as fault:
            raise click.BadParameter(str(fault)) from None

    return read_or_say


@_with_reason
def place(text: str) -> Place:
    """Read `HOST:PORT`, `HOST`, `:PORT` or `PORT`."""
    host, port = split_host_port(text, default_port=0)
    return Place(host, port or None)


@_with_reason
def listening_place(text: str) -> HostPort:
    """Read `:PORT` or `ADDRESS:PORT`; port 0 lets the system choose."""
    return HostPort(*split_listen(text, lowest_port=0))


@_with_reason
def dialled_place(text: str) -> HostPort:
    """Read `HOST:PORT`."""
    return target(text)


@_with_reason
def label(text: str) -> tuple[str, str]:
    """Read `KEY=TEXT`."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"{text!r} must be KEY=TEXT")
    return key, value
