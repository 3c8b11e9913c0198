"""How a command ends: one exit code for each kind of outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import click

from gateway.cli.output import printable_lines
from gateway.errors import OperatorError


class Exit(IntEnum):
    """The exit codes; scripts rely on them."""

    OK = 0
    FAILED = 1  # refused by the gateway, by the system or by the user
    USAGE = 2  # click's own
    UNREACHABLE = 3
    DIFFERENT = 4


class FailedError(click.ClickException):
    """The command could not do what it was asked for."""

    exit_code = Exit.FAILED


@contextmanager
def failing_plainly() -> Iterator[None]:
    """End the command in the words of an `OperatorError` that is raised inside."""
    try:
        yield
    except OperatorError as fault:
        raise FailedError(printable_lines(str(fault))) from None


class UnreachableError(click.ClickException):
    """No gateway answered, so nothing is known of its state."""

    exit_code = Exit.UNREACHABLE
