"""Ports that are kept for agents, as rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from gateway.policy.reservations import Owner, Reservation

_PUT: Final = (
    "INSERT OR REPLACE INTO reservations (agent, entry, port, until) "
    "VALUES (?, ?, ?, ?)"
)
_DELETE: Final = "DELETE FROM reservations WHERE agent = ? AND entry = ?"
_SELECT: Final = "SELECT agent, entry, port, until FROM reservations ORDER BY rowid"


def load(connection: sqlite3.Connection) -> list[Reservation]:
    """Return all, the oldest first."""
    return [Reservation(*row) for row in connection.execute(_SELECT)]


def write(
    connection: sqlite3.Connection, put: Sequence[Reservation], gone: Sequence[Owner]
) -> None:
    """Store some, each in the place of its owner's, and remove others: all or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(_DELETE, gone)
        connection.executemany(_PUT, put)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures roll back by themselves
            connection.execute("ROLLBACK")
        raise
