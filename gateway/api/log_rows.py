"""What the API says of the log, and what it is told."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from gateway.api.answers import Row
from gateway.api.bodies import Body

COMPONENT_PATTERN: Final = r"^([A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*)?$"
CURSOR_PATTERN: Final = r"^([0-9a-f]{1,32}-[0-9]{1,18})?$"
Level: TypeAlias = Literal["debug", "info", "warn", "error", "fatal"]
Component: TypeAlias = Annotated[str, Field(max_length=200, pattern=COMPONENT_PATTERN)]
LONGEST_SWITCH_SECONDS: Final = 604800


class LogLevelBody(Body):
    """Which level a component is to have."""

    component: Component = ""
    """A component, with all below it; empty = all that have no level of their own."""
    level: Level | None
    """Least severity that is written; null = as configured."""
    for_seconds: Annotated[int, Field(ge=1, le=LONGEST_SWITCH_SECONDS)] | None = None
    """Seconds after which the level is as configured again; null = it stays until the
    gateway is started anew."""


class ComponentLevel(Row):
    """The level of one component."""

    component: str
    level: str
    """Level in effect."""
    configured: str | None
    """Level that the configuration gives it; null = none of its own."""
    seconds_left: int | None
    """Until it is as configured again; null = it stays."""


class LogLevels(Row):
    """Which lines are written."""

    level: str
    """Of all components without a level of their own."""
    configured: str
    """`log_level` of the configuration."""
    seconds_left: int | None
    """Until `level` is as configured again; null = it stays."""
    components: list[ComponentLevel]
    """Those that have a level of their own, ordered by name."""


class LogLine(Row):
    """A line of the log."""

    number: int
    """Counts from 1 since the gateway started."""
    timestamp: str
    """ISO 8601, UTC."""
    level: str
    component: str
    message: str
    fields: dict[str, Any]
    """What the line is about: `trace`, `port`, `visitor` and others."""


class LogLines(Row):
    """Some of the last lines of the log."""

    lines: list[LogLine]
    """Oldest first."""
    cursor: str
    """Stands behind the last line that was looked at; `after` takes it."""
    lost: int
    """Lines between `after` and the first one that are not kept any more."""
