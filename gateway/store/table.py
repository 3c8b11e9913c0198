"""Mappings as rows: the statements, and the way from values to rows and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping as Map
from typing import Any, Final

from gateway.errors import BadRequestError, PortMappedError
from gateway.interfaces import StoredFault, StoredMappings
from gateway.policy.addresses import PORTS
from gateway.policy.mapping import Mapping, Match, Target
from gateway.policy.visitors import rules_document, rules_of_document

COLUMNS: Final = (
    "id",
    "match",
    "protocol",
    "port",
    "listen",
    "targets",
    "name",
    "labels",
    "rules",
    "expires_at",
    "enabled",
    "expected",
    "created_at",
    "updated_at",
)
_TARGET_KEYS: Final = frozenset({"host", "port", "use_tunnel", "agent"})
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, which dates end with

# the parameters of these three are the columns by name
INSERT: Final = (
    f"INSERT INTO mappings ({', '.join(COLUMNS)}) "  # noqa: S608 (constants)
    f"VALUES (NULLIF(:id, 0), {', '.join(f':{name}' for name in COLUMNS[1:])})"
)
_UPDATE: Final = (
    f"UPDATE mappings SET {', '.join(f'{name} = :{name}' for name in COLUMNS[1:])} "  # noqa: S608 (constants)
    "WHERE id = :id"
)
_DELETE: Final = "DELETE FROM mappings WHERE match = ?"
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM mappings ORDER BY protocol, port"  # noqa: S608 (constants)
INSERT_UNREADABLE: Final = (
    "INSERT INTO mappings_unreadable (old_id, reason, content) VALUES (?, ?, ?)"
)
_SELECT_UNREADABLE: Final = (
    "SELECT old_id, reason, content FROM mappings_unreadable ORDER BY number"
)


def row_of(mapping: Mapping) -> dict[str, Any]:
    """Return the columns of a mapping by name; an `id` of 0 is not given yet.

    Raises:
        BadRequestError: the mapping could not be read back.
    """
    row = {name: getattr(mapping, name) for name in COLUMNS}
    row["match"] = str(mapping.match)
    row["targets"] = json.dumps([*map(_document, mapping.targets)], ensure_ascii=False)
    row["enabled"] = int(mapping.enabled)
    row["expected"] = int(mapping.expected)
    row["labels"] = json.dumps(dict(mapping.labels), ensure_ascii=False)
    row["rules"] = json.dumps(rules_document(mapping.rules), ensure_ascii=False)
    try:
        mapping_of(row)
    except ValueError as fault:
        raise BadRequestError(detail=str(fault)) from None
    return row


def mapping_of(row: Map[str, Any]) -> Mapping:
    """Return the mapping that a row holds.

    Raises:
        ValueError: a value is not what it must be; the text says which.
    """
    protocol = _text(row, "protocol")
    if not protocol:
        raise ValueError("protocol is empty")
    mapping = Mapping(
        id=_integer(row, "id", range(1 << 63)),
        protocol=protocol,
        port=_integer(row, "port", PORTS),
        listen=_text(row, "listen"),
        targets=_targets(row),
        name=_text(row, "name"),
        labels=_labels(row),
        rules=rules_of_document(_object(row, "rules")),
        expires_at=None
        if row["expires_at"] is None
        else _integer(row, "expires_at", range(_LAST_SECOND + 1)),
        enabled=bool(_integer(row, "enabled", range(2))),
        expected=bool(_integer(row, "expected", range(2))),
        created_at=_integer(row, "created_at", range(_LAST_SECOND + 1)),
        updated_at=_integer(row, "updated_at", range(_LAST_SECOND + 1)),
    )
    if _text(row, "match") != str(mapping.match):
        raise ValueError(f"match {row['match']!r} is not {str(mapping.match)!r}")
    return mapping


def _document(target: Target) -> dict[str, Any]:
    return {
        "host": target.host,
        "port": target.port,
        "use_tunnel": target.use_tunnel,
        "agent": target.agent,
    }


def _targets(row: Map[str, Any]) -> tuple[Target, ...]:
    found = _json(row, "targets")
    if not isinstance(found, list) or not found:
        raise ValueError(f"targets {row['targets']!r} are not a list of objects")
    return tuple(map(_target_of, found))


def _target_of(found: object) -> Target:
    if not isinstance(found, dict) or found.keys() != _TARGET_KEYS:
        raise ValueError(
            f"target {found!r} is not an object of {', '.join(sorted(_TARGET_KEYS))}"
        )
    target = {f"target_{key}": value for key, value in found.items()}
    host, agent = _text(target, "target_host"), found["agent"]
    use_tunnel = found["use_tunnel"]
    if type(use_tunnel) is not bool:
        raise ValueError(f"use_tunnel {use_tunnel!r} is not true or false")
    if not use_tunnel and not host:
        raise ValueError("target_host is empty, and the mapping uses no tunnel")
    return Target(
        host=host,
        port=_integer(target, "target_port", PORTS),
        use_tunnel=use_tunnel,
        agent=None if agent is None else _text(target, "target_agent"),
    )


def insert(connection: sqlite3.Connection, mapping: Mapping) -> Mapping:
    """Store a new mapping, whatever `id` it has, and return it with its own.

    Raises:
        PortMappedError: its protocol and port are taken.
    """
    row = {**row_of(mapping), "id": 0}
    row["id"] = _write(connection, INSERT, row).lastrowid
    return mapping_of(row)


def update(connection: sqlite3.Connection, mapping: Mapping) -> bool:
    """Replace the row with the id of `mapping`; False if there is none.

    Raises:
        PortMappedError: its protocol and port are another row's.
    """
    return _write(connection, _UPDATE, row_of(mapping)).rowcount > 0


def delete(connection: sqlite3.Connection, match: Match) -> bool:
    """Remove a mapping; False if there was none."""
    return connection.execute(_DELETE, (str(match),)).rowcount > 0


def load(connection: sqlite3.Connection) -> StoredMappings:
    """Return every readable row, and a sentence for each of the others."""
    mappings, faults = [], []
    for values in connection.execute(_SELECT):
        row = dict(zip(COLUMNS, values, strict=True))
        try:
            mappings.append(mapping_of(row))
        except ValueError as fault:
            text = (
                f"the mapping with id {row['id']} (port {row['port']!r}) cannot be "
                f"read: {fault}; correct or delete its row in table mappings"
            )
            faults.append(StoredFault(str(row["match"]), text))
    for old_id, reason, content in connection.execute(_SELECT_UNREADABLE):
        text = (
            f"the mapping with id {old_id} of an older release could not be taken "
            f"over: {reason}; create it again, then delete what is kept of it in table "
            f"mappings_unreadable: {content}"
        )
        faults.append(StoredFault("", text))
    return StoredMappings(mappings, faults)


def probe(connection: sqlite3.Connection) -> None:
    """Read one row, whatever it holds."""
    connection.execute("SELECT id FROM mappings LIMIT 1").fetchone()


def tolerant_text(raw: bytes) -> str:
    """Decode a text column so that bad bytes spoil one row, not the whole query."""
    return raw.decode("utf-8", "surrogateescape")


def _write(
    connection: sqlite3.Connection, statement: str, row: dict[str, Any]
) -> sqlite3.Cursor:
    try:
        return connection.execute(statement, row)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise PortMappedError(port=row["port"]) from None
        raise


def _integer(row: Map[str, Any], name: str, allowed: range) -> int:
    value = row[name]
    if type(value) is not int or value not in allowed:
        raise ValueError(f"{name} {value!r} is not {allowed[0]}..{allowed[-1]}")
    return value


def _text(row: Map[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} {value!r} is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} {value!r} is not valid Unicode") from None
    return value


def _labels(row: Map[str, Any]) -> dict[str, str]:
    labels = _object(row, "labels")
    if not all(isinstance(value, str) for value in labels.values()):
        raise ValueError(f"labels {row['labels']!r} are not an object of texts")
    return labels


def _object(row: Map[str, Any], name: str) -> dict[str, Any]:
    found = _json(row, name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} {row[name]!r} are not an object")
    return found


def _json(row: Map[str, Any], name: str) -> object:
    raw = _text(row, name)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} {raw!r} are not JSON") from None
