"""How traffic of the past is summed up: the longer ago, the coarser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

MINUTE, HOUR, DAY = 60, 3600, 86400
FINE_SECONDS: Final = 2 * DAY  # so long records stay as they were written
HOURLY_SECONDS: Final = 32 * DAY  # so long, those of an hour are kept apart
# steps between points that people like, seconds
STEPS: Final = (
    *(1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE),
    *(30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY),
    *(7 * DAY, 14 * DAY, 28 * DAY),
)


class TrafficRecord(NamedTuple):
    """What passed in a while.

    Attributes:
        port: public port; 0 = all together.
        is_tunnel: bytes of links, frames and all, instead of payload.
        recorded_at: Unix seconds of the end.
        step: seconds that it covers.
        sent: bytes to targets, or to agents.
        received: bytes from targets, or from agents.
        connections: visitors who came.
        active: visitors who were there at the end; of several records, the most.
    """

    port: int
    is_tunnel: bool
    recorded_at: int
    step: int
    sent: int
    received: int
    connections: int
    active: int


class Lifetime(NamedTuple):
    """What passed since the gateway was first started.

    Attributes:
        connections: visitors ever admitted.
        errors: those whose target was not reached, or that broke off.
        sent: bytes to targets.
        received: bytes from targets.
    """

    connections: int = 0
    errors: int = 0
    sent: int = 0
    received: int = 0

    def plus(self, more: Lifetime) -> Lifetime:
        """Return both together."""
        return Lifetime(*(one + other for one, other in zip(self, more, strict=True)))


class Point(NamedTuple):
    """One step of the past.

    Attributes:
        at: Unix seconds of its end.
        sent: bytes to targets.
        received: bytes from targets.
        connections: visitors who came.
        active: the most who were there at the end of a record.
    """

    at: int
    sent: int
    received: int
    connections: int
    active: int


class History(NamedTuple):
    """Traffic of a span of time.

    Attributes:
        step: seconds that each point covers.
        points: ordered; steps in which nothing was recorded are missing.
    """

    step: int
    points: list[Point]


def step_for(since: int, until: int, limit: int, least: int) -> int:
    """Return the step of which at most `limit` cover a span of time.

    Args:
        since: Unix seconds, excluded.
        until: Unix seconds, included; later than `since`.
        limit: 1 or more.
        least: seconds; what is there is no finer.
    """
    for step in STEPS:
        if step >= least and _steps(since, until, step) <= limit:
            return step
    step = max(STEPS[-1], least)
    while _steps(since, until, step) > limit:
        step *= 2
    return step


def _steps(since: int, until: int, step: int) -> int:
    return (until - 1) // step - since // step + 1


def end_of(recorded_at: int, step: int) -> int:
    """Return the end of the step that a record belongs to."""
    return ((recorded_at - 1) // step + 1) * step


def sum_up(records: Iterable[TrafficRecord], step: int) -> list[Point]:
    """Return the points that records add up to, ordered."""
    found: dict[int, Point] = {}
    for one in records:
        at = end_of(one.recorded_at, step)
        old = found.get(at, Point(at, 0, 0, 0, 0))
        found[at] = Point(
            at,
            old.sent + one.sent,
            old.received + one.received,
            old.connections + one.connections,
            max(old.active, one.active),
        )
    return [found[at] for at in sorted(found)]


def coarser(
    records: Iterable[TrafficRecord], before: int, step: int
) -> list[TrafficRecord]:
    """Return records of which those up to `before` are summed up to whole steps."""
    kept: list[TrafficRecord] = []
    old: dict[tuple[int, bool], list[TrafficRecord]] = {}
    for one in records:
        if one.recorded_at <= before and one.step < step:
            old.setdefault((one.port, one.is_tunnel), []).append(one)
        else:
            kept.append(one)
    for (port, is_tunnel), fine in old.items():
        kept += [
            TrafficRecord(
                port=port,
                is_tunnel=is_tunnel,
                recorded_at=point.at,
                step=step,
                sent=point.sent,
                received=point.received,
                connections=point.connections,
                active=point.active,
            )
            for point in sum_up(fine, step)
        ]
    return kept
