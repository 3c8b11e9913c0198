"""The kinds of value that options have, each with its check.

The functions are types for click; what they refuse ends in a usage error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, NamedTuple, TypeVar

import click
from typing_extensions import override

from gateway.config.places import HostPort, target
from gateway.policy.addresses import split_host_port, split_listen

Value = TypeVar("Value")


class Port(click.IntRange):
    """A port; what it refuses is said in one way, whatever is wrong."""

    def __init__(self, lowest: int) -> None:
        super().__init__(lowest, 65535)

    @override
    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the number that `value` is."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            detail = f"{value!r} must be a number {self.min}..{self.max}"
            raise click.BadParameter(detail, ctx, param) from None


PORT: Final = Port(1)
WISHED_PORT: Final = Port(0)


class Seconds(click.FloatRange):
    """A time; a comparison alone lets through what is no number."""

    def __init__(self, lowest: float) -> None:
        super().__init__(lowest, 3600)

    @override
    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number that `value` is."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number", param, ctx)
        return seconds


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


_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS: Final = 3650 * 86400


@_with_reason
def duration(text: str) -> int:
    """Read a time such as `90`, `90s`, `15m`, `12h` or `30d`, in seconds."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "")
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise ValueError(f"{text!r} is no time such as 90s, 15m, 12h or 30d")
    seconds = int(number) * _UNITS[unit]
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"{text!r} is not between 1s and 3650d")
    return seconds
