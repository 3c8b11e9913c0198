"""What a process says about its configuration, and about itself when it starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from twisted.logger import Logger

from gateway import __version__
from gateway.errors import ConfigError

_LOG: Final = Logger()


def starting_folder(twistd: Mapping[str, Any]) -> str | None:
    """Return the folder that names of files are relative to, or None.

    twistd leaves it for `--rundir` before the gateway runs.  With `--chroot` the names
    are those of the other root, so they stay as they are.
    """
    if twistd.get("chroot"):
        return None
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def say_version_and_exit() -> NoReturn:
    """Print the version and end with status 0."""
    sys.stdout.write(f"gotunnel {__version__}\n")
    sys.exit(0)


def say_problems_and_exit(fault: ConfigError) -> NoReturn:
    """Print everything that is wrong with a configuration; end with status 1."""
    count = len(fault.problems)
    noun = "problem" if count == 1 else "problems"
    sys.stderr.write(f"gotunnel: {count} {noun} in the configuration\n")
    sys.stderr.writelines(f"  {problem}\n" for problem in fault.problems)
    sys.exit(1)


def say_settings_and_exit(settings: Sequence[str], warnings: Iterable[str]) -> NoReturn:
    """Print a configuration that is fit to run, and end with status 0."""
    sys.stdout.writelines(f"{line}\n" for line in [*settings, "configuration ok"])
    sys.stderr.writelines(f"WARNING: {warning}\n" for warning in warnings)
    sys.exit(0)


def say_at_start(warnings: Iterable[str]) -> None:
    """Log the version, and loudly what is allowed and yet dangerous."""
    _LOG.info("gotunnel {version} starts", version=__version__)
    for warning in warnings:
        _LOG.warn("WARNING: {text}", text=warning)
