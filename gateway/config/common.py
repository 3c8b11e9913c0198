"""Settings that the gateway and the agent share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from gateway.config.fields import BindAddress, Block, FileName, Port

LogLevel: TypeAlias = Literal["debug", "info", "warn", "error", "fatal"]
ShutdownSeconds: TypeAlias = Annotated[float, Field(ge=0, le=3600)]
WindowBytes: TypeAlias = Annotated[int, Field(ge=16384, le=2**31 - 1)]
FrameBytes: TypeAlias = Annotated[int, Field(ge=4100, le=1048576)]
WaterBytes: TypeAlias = Annotated[int, Field(ge=4096, le=104857600)]
MemoryBytes: TypeAlias = Annotated[int, Field(ge=0, le=2**40)]
HeartbeatSeconds: TypeAlias = Annotated[float, Field(ge=1, le=300)]


class LogConfig(Block):
    """Log file."""

    file: FileName | None = None
    """File to write the log to; null = standard output, or what twistd's
    `--logfile` says."""
    max_bytes: Annotated[int, Field(ge=4096, le=2**40)] = 10485760
    """Size at which a log file is put aside and a new one is begun."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
    """Number of old log files that are kept."""


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
