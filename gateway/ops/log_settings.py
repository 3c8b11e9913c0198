"""How a process logs, as its configuration has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.config.secrets import secrets_of
from gateway.ops.access_log import AccessForm

if TYPE_CHECKING:
    from gateway.config.agent import AgentConfig
    from gateway.config.gateway import GatewayConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a process logs.

    Attributes:
        service: name of the process in lines of JSON.
        level: least severity that is written.
        levels: of components that have one of their own.
        form: of the lines.
        file: log file; None = twistd's, or standard output.
        max_bytes: size at which a file is put aside.
        keep: how many old ones are kept.
        access: form of the lines of connections that are over; None = there are none.
        access_file: file for these; None = they stand in the log itself.
        secrets: what must never be written.
    """

    service: str
    level: str
    levels: Mapping[str, str]
    form: Literal["text", "json"]
    file: str | None
    max_bytes: int
    keep: int
    access: AccessForm | None = None
    access_file: str | None = None
    secrets: Iterable[str] = ()


def gateway_log_settings(config: GatewayConfig) -> LogSettings:
    """Return how a gateway logs."""
    log = config.log
    return LogSettings(
        service="gotunnel",
        level=config.log_level,
        levels=log.component_levels,
        form=log.format,
        file=log.file,
        max_bytes=log.max_bytes,
        keep=log.keep,
        access=None if log.access == "off" else log.access,
        access_file=log.access_file,
        secrets=secrets_of(config),
    )


def agent_log_settings(config: AgentConfig) -> LogSettings:
    """Return how an agent logs."""
    log = config.log
    return LogSettings(
        service="gotunnel-agent",
        level=config.log_level,
        levels=log.component_levels,
        form=log.format,
        file=log.file,
        max_bytes=log.max_bytes,
        keep=log.keep,
        secrets=secrets_of(config),
    )


def log_levels(config: GatewayConfig | AgentConfig) -> tuple[str, dict[str, str]]:
    """Return the usual level, and that of each component that has one of its own."""
    return config.log_level, config.log.component_levels
