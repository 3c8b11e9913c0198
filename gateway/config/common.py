"""Settings that the gateway and the agent share."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.config.fields import AsTuple, BindAddress, Block, FileName, Means, Port

LogLevel: TypeAlias = Literal["debug", "info", "warn", "error", "fatal"]
ShutdownSeconds: TypeAlias = Annotated[float, Field(ge=0, le=3600)]
WindowBytes: TypeAlias = Annotated[int, Field(ge=16384, le=2**31 - 1)]
FrameBytes: TypeAlias = Annotated[int, Field(ge=4100, le=1048576)]
WaterBytes: TypeAlias = Annotated[int, Field(ge=4096, le=104857600)]
MemoryBytes: TypeAlias = Annotated[int, Field(ge=0, le=2**40)]
HeartbeatSeconds: TypeAlias = Annotated[float, Field(ge=1, le=300)]
_LEVEL: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*=(debug|info|warn|error|fatal)"
)


def _pairs(value: object) -> object:
    """Take `{component: level}` for a list of `component=level`."""
    if isinstance(value, dict):
        return [f"{component}={level}" for component, level in value.items()]
    return value


def _level(text: str) -> str:
    if _LEVEL.fullmatch(text) is None:
        raise ValueError("is not COMPONENT=LEVEL, such as gateway.net=debug")
    return text


ComponentLevel: TypeAlias = Annotated[
    str,
    AfterValidator(_level),
    Means("COMPONENT=LEVEL, such as gateway.net=debug"),
]


def _access(value: object) -> object:
    return "off" if value is False else value


class LogConfig(Block):
    """The log: its form, and its file."""

    format: Literal["text", "json"] = "text"
    """Form of the lines: text for people, or an object of JSON each."""
    levels: Annotated[
        tuple[ComponentLevel, ...],
        AsTuple,
        BeforeValidator(_pairs),
        Field(max_length=200),
    ] = ()
    """Level of single components, with all below them, in place of `log_level`; may
    also be written as `{gateway.net: debug}`.  Read anew on SIGHUP."""

    file: FileName | None = None
    """File to write the log to; null = standard output, or what twistd's
    `--logfile` says."""
    max_bytes: Annotated[int, Field(ge=4096, le=2**40)] = 10485760
    """Size at which a log file is put aside and a new one is begun."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number of old log files that are kept."""

    @property
    def component_levels(self) -> dict[str, str]:
        """The level of each component that has one of its own."""
        pairs = (text.partition("=") for text in self.levels)
        return {component: level for component, _, level in pairs}


class GatewayLogConfig(LogConfig):
    """The log of a gateway."""

    access: Annotated[Literal["off", "combined", "json"], BeforeValidator(_access)] = (
        "off"
    )
    """A line for each connection that is over: `combined` = fields parted by blanks,
    `json` = an object."""
    access_file: FileName | None = None
    """File for these lines, of the size and number of the log's; null = they stand
    in the log itself."""


class BufferConfig(Block):
    """Sizes of buffers."""

    read_size: Annotated[int, Field(ge=4096, le=262144)] = 65536
    """Bytes read from a socket at a time."""


class FlowConfig(Block):
    """How far a stream may run ahead of its reader."""

    max_stream_window: WindowBytes = 16777216
    """Bytes up to which the window of a stream grows while its reader keeps up and
    the window is what limits it; not more than `window` = it never grows."""


class DebugConfig(Block):
    """A site that shows the inside of the running process, for this machine alone."""

    enabled: bool = False
    """Whether the site is served.  Every user of this machine can read it."""
    listen_port: Port = 6060
    """Port of the site."""
    bind: BindAddress = "127.0.0.1"
    """Address of the site, loopback only."""
