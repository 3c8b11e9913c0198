"""Bans and the audit log as rows."""

from __future__ import annotations

import json
import sqlite3
from typing import Final

from gateway.interfaces import AuditEntry
from gateway.policy.bans import Ban

_PUT_BAN: Final = (
    "INSERT OR REPLACE INTO bans (network, until, reason) VALUES (?, ?, ?)"
)
_DELETE_BAN: Final = "DELETE FROM bans WHERE network = ?"
_SELECT_BANS: Final = "SELECT network, until, reason FROM bans ORDER BY network"
_NOTE: Final = (
    "INSERT INTO audit (at, who, address, action, subject, before, after) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_SELECT_AUDIT: Final = (
    "SELECT id, at, who, address, action, subject, before, after FROM audit "
    "WHERE id < ? ORDER BY id DESC LIMIT ?"
)
_PRUNE_OLD: Final = "DELETE FROM audit WHERE at < ?"
_PRUNE_MANY: Final = "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?"
_LAST: Final = (1 << 63) - 1


def load_bans(connection: sqlite3.Connection) -> list[Ban]:
    """Return all bans."""
    rows = connection.execute(_SELECT_BANS)
    return [Ban(network, until, reason, True) for network, until, reason in rows]


def put_ban(connection: sqlite3.Connection, ban: Ban) -> None:
    """Store a ban in the place of that of the same network."""
    connection.execute(_PUT_BAN, (ban.network, ban.until, ban.reason))


def delete_ban(connection: sqlite3.Connection, network: str) -> bool:
    """Remove a ban; False if there was none."""
    return connection.execute(_DELETE_BAN, (network,)).rowcount > 0


def note(
    connection: sqlite3.Connection, entry: AuditEntry, oldest: int, most: int
) -> None:
    """Add an entry; those from before `oldest`, and beyond the last `most`, go."""
    connection.execute(_NOTE, (*entry[1:6], _text(entry.before), _text(entry.after)))
    connection.execute(_PRUNE_OLD, (oldest,))
    connection.execute(_PRUNE_MANY, (most,))


def _text(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def load_audit(
    connection: sqlite3.Connection, before: int | None, count: int
) -> list[AuditEntry]:
    """Return the newest entries with an id below `before`, newest first."""
    rows = connection.execute(
        _SELECT_AUDIT, (_LAST if before is None else before, count)
    )
    return [
        AuditEntry(
            id=number,
            at=at,
            who=who,
            address=address,
            action=action,
            subject=subject,
            before=_value(was),
            after=_value(becomes),
        )
        for number, at, who, address, action, subject, was, becomes in rows
    ]


def _value(text: str | None) -> object:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text  # somebody edited the row
