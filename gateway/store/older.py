"""Mappings as releases without a schema number kept them.

    mappings(id, source_port, target_ip, target_port, created_at)
    mappings(id, source_port, target_host, target_port, use_tunnel, created_at)

and what lies between the two: any column but `source_port` may be missing, and
since the table was not strict, a column may hold a value of any type.  `id` was
the rowid.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any, Final

from gateway.store.table import INSERT_UNREADABLE, mapping_of

Statement = tuple[str, Any]  # SQL and its parameters

_KEY: Final = "source_port"

# as the schema is right after the first step
_INSERT: Final = (
    "INSERT INTO mappings (id, protocol, port, listen, target_host, target_port, "
    "use_tunnel, agent, name, labels, created_at, updated_at) VALUES (:id, :protocol, "
    ":port, :listen, :target_host, :target_port, :use_tunnel, :agent, :name, :labels, "
    ":created_at, :updated_at)"
)


def is_older_form(connection: sqlite3.Connection) -> bool:
    """Tell whether a file without a schema number has the table of old."""
    return _KEY in _columns(connection)


def lift(connection: sqlite3.Connection, wall_now: int) -> list[Statement]:
    """Take the old table away and return the statements that put its rows back.

    Rows that cannot be read go to `mappings_unreadable`, whole.  Ids are kept, and
    none that was ever given is given again.

    Args:
        connection: inside of a transaction.
        wall_now: Unix seconds; the date of rows that have none.
    """
    columns = _columns(connection)
    if _KEY not in columns:
        return []
    statements: list[Statement] = []
    ports: set[int] = set()
    cursor = connection.execute("SELECT rowid, * FROM mappings ORDER BY rowid")
    for rowid, *values in cursor.fetchall():
        old = dict(zip(columns, values, strict=True))
        try:
            row = _translate(old, rowid, wall_now)
            port = mapping_of(_as_now(row)).port
            if port in ports:
                raise ValueError(f"an earlier row has port {port}")
        except ValueError as fault:
            kept = (rowid, str(fault), json.dumps(old, default=_plain))
            statements.append((INSERT_UNREADABLE, kept))
        else:
            ports.add(port)
            statements.append((_INSERT, row))
    last = _last_id(connection)
    connection.execute("DROP TABLE mappings")
    statements += [
        ("DELETE FROM sqlite_sequence WHERE name = 'mappings'", ()),
        ("INSERT INTO sqlite_sequence (name, seq) VALUES ('mappings', ?)", (last,)),
    ]
    return statements


def _last_id(connection: sqlite3.Connection) -> int:
    queries = ["SELECT max(rowid) FROM mappings"]
    find = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"
    if connection.execute(find).fetchone():
        queries.append("SELECT max(seq) FROM sqlite_sequence WHERE name = 'mappings'")
    return max(connection.execute(query).fetchone()[0] or 0 for query in queries)


def _as_now(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the first schema as the newest one has it, to be judged."""
    use_tunnel = row["use_tunnel"]
    if type(use_tunnel) is not int or use_tunnel not in range(2):
        raise ValueError(f"use_tunnel {use_tunnel!r} is not 0..1")
    target = {
        "host": row["target_host"],
        "port": row["target_port"],
        "use_tunnel": bool(use_tunnel),
        "agent": None,
    }
    try:
        targets = json.dumps([target])
    except TypeError:
        raise ValueError(f"target {target!r} holds bytes") from None
    return {
        **row,
        "match": f"tcp:{row['port']}",
        "targets": targets,
        "rules": "{}",
        "expires_at": None,
        "enabled": 1,
        "expected": 0,
    }


def _translate(old: dict[str, Any], rowid: int, wall_now: int) -> dict[str, Any]:
    host = old.get("target_host")
    if host is None or host == "":
        host = old.get("target_ip")
    host = "" if host is None else host
    # a direct mapping without a target never existed: the column came by
    # ALTER TABLE with its default of 0
    use_tunnel = 1 if host == "" else old.get("use_tunnel")
    if rowid < 1:
        raise ValueError(f"id {rowid} is below 1")
    created_at = _unix_seconds(old.get("created_at"), wall_now)
    return {
        "id": rowid,
        "protocol": "tcp",
        "port": old[_KEY],
        "listen": "",
        "target_host": host,
        "target_port": old.get("target_port"),
        "use_tunnel": 0 if use_tunnel is None else use_tunnel,
        "agent": None,
        "name": "",
        "labels": "{}",
        "created_at": created_at,
        "updated_at": created_at,
    }


def _unix_seconds(value: object, wall_now: int) -> int:
    if value is None:
        return wall_now
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            if moment.tzinfo is None:  # CURRENT_TIMESTAMP is UTC
                moment = moment.replace(tzinfo=UTC)
            return int(moment.timestamp())
    raise ValueError(f"created_at {value!r} is not a date")


def _columns(connection: sqlite3.Connection) -> list[str]:
    return [row[1] for row in connection.execute("PRAGMA table_info(mappings)")]


def _plain(value: object) -> object:
    """Return a blob, the one type of SQLite's that JSON lacks, as text."""
    return {"hex": value.hex()} if isinstance(value, bytes) else repr(value)
