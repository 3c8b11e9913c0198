"""Traffic of the past as rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from gateway.policy.history import (
    DAY,
    FINE_SECONDS,
    HOUR,
    HOURLY_SECONDS,
    History,
    Lifetime,
    Point,
    TrafficRecord,
    step_for,
)

_INSERT: Final = (
    "INSERT INTO traffic_records (port, is_tunnel, recorded_at, step, bytes_sent, "
    "bytes_received, connections, active) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD: Final = (
    "UPDATE traffic_lifetime SET connections = connections + ?, errors = errors + ?, "
    "bytes_sent = bytes_sent + ?, bytes_received = bytes_received + ?"
)
_LIFETIME: Final = (
    "SELECT connections, errors, bytes_sent, bytes_received FROM traffic_lifetime"
)
_SPAN: Final = (
    "port = :port AND is_tunnel = :is_tunnel AND recorded_at > :since "
    "AND recorded_at <= :until"
)
_COARSEST: Final = f"SELECT max(step) FROM traffic_records WHERE {_SPAN}"  # noqa: S608 (constants)
_POINTS: Final = (
    "SELECT ((recorded_at - 1) / :step + 1) * :step AS at, sum(bytes_sent), "  # noqa: S608 (constants)
    "sum(bytes_received), sum(connections), max(active) FROM traffic_records "
    f"WHERE {_SPAN} GROUP BY at ORDER BY at"
)
_OLD: Final = "recorded_at <= :before AND step < :step"
_ROLL_UP: Final = (
    "INSERT INTO traffic_records (port, is_tunnel, recorded_at, step, bytes_sent, "  # noqa: S608 (constants)
    "bytes_received, connections, active) SELECT port, is_tunnel, "
    "((recorded_at - 1) / :step + 1) * :step AS at, :step, sum(bytes_sent), "
    "sum(bytes_received), sum(connections), max(active) FROM traffic_records "
    f"WHERE {_OLD} GROUP BY port, is_tunnel, at"
)
_DELETE_OLD: Final = f"DELETE FROM traffic_records WHERE {_OLD}"  # noqa: S608 (constants)
_PRUNE_OLD: Final = "DELETE FROM traffic_records WHERE recorded_at <= ?"
_PRUNE_MANY: Final = (
    "DELETE FROM traffic_records WHERE recorded_at <= (SELECT recorded_at FROM "
    "traffic_records ORDER BY recorded_at DESC LIMIT 1 OFFSET ?)"
)


def record(
    connection: sqlite3.Connection, records: Sequence[TrafficRecord], more: Lifetime
) -> Lifetime:
    """Write records, and add to what passed ever; return that."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(_INSERT, records)
        connection.execute(_ADD, more)
        found = load_lifetime(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return found


def load_lifetime(connection: sqlite3.Connection) -> Lifetime:
    """Return what passed ever."""
    row = connection.execute(_LIFETIME).fetchone()
    return Lifetime() if row is None else Lifetime(*row)


def load(
    connection: sqlite3.Connection,
    port: int,
    is_tunnel: bool,
    since: int,
    until: int,
    limit: int,
) -> History:
    """Return what passed in a span of time, in at most `limit` points."""
    span = {"port": port, "is_tunnel": is_tunnel, "since": since, "until": until}
    coarsest = connection.execute(_COARSEST, span).fetchone()[0] or 1
    step = step_for(since, until, limit, coarsest)
    rows = connection.execute(_POINTS, {**span, "step": step})
    return History(step, [Point(*row) for row in rows])


def tidy(connection: sqlite3.Connection, now: int, oldest: int, most: int) -> None:
    """Sum up what is old, and remove what is too old or too much."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_PRUNE_OLD, (oldest,))
        for age, step in ((FINE_SECONDS, HOUR), (HOURLY_SECONDS, DAY)):
            # whole steps alone, so that each is summed up once
            old = {"before": (now - age) // step * step, "step": step}
            connection.execute(_ROLL_UP, old)
            connection.execute(_DELETE_OLD, old)
        connection.execute(_PRUNE_MANY, (most,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
