"""What a process says about itself when it starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from twisted.logger import Logger

from gateway import __version__

_LOG: Final = Logger()


def say_at_start(warnings: Iterable[str]) -> None:
    """Log the version, and loudly what is allowed and yet dangerous."""
    _LOG.info("gotunnel {version} starts", version=__version__)
    for warning in warnings:
        _LOG.warn("WARNING: {warning}", warning=warning)
