"""The tables of the database, and how each older form becomes the newest one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.errors import SchemaVersionError, StoreError
from gateway.store import older

APPLICATION_ID: Final = 0x676F7475  # "gotu"; tells our files from other programs'


class Migration(NamedTuple):
    """One step from a schema to the next, made in one transaction.

    Attributes:
        number: schema number (`PRAGMA user_version`) after the step; 1, 2, 3, ...
        lift: called first with the connection and the Unix time; takes old rows
            out of the way and returns the statements that put them back.
        statements: what is run then.
    """

    number: int
    lift: Callable[[sqlite3.Connection, int], list[older.Statement]] | None
    statements: tuple[str, ...]


# No CHECK constraints: a row that somebody edited must cost that row alone, and
# `quick_check` would condemn the file for it.
MIGRATIONS: Final = (
    Migration(
        number=1,
        lift=older.lift,
        statements=(
            """
            CREATE TABLE mappings (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                protocol TEXT NOT NULL,
                port INTEGER NOT NULL,
                listen TEXT NOT NULL,
                target_host TEXT NOT NULL,
                target_port INTEGER NOT NULL,
                use_tunnel INTEGER NOT NULL,
                agent TEXT,
                name TEXT NOT NULL,
                labels TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                updated_at INTEGER NOT NULL,
                UNIQUE (protocol, port)
            ) STRICT
            """,
            """
            CREATE TABLE mappings_unreadable (
                number INTEGER PRIMARY KEY,
                old_id INTEGER,
                reason TEXT NOT NULL,
                content TEXT NOT NULL
            ) STRICT
            """,
            f"PRAGMA application_id = {APPLICATION_ID}",
        ),
    ),
    Migration(
        number=2,
        lift=None,
        statements=(
            "ALTER TABLE mappings ADD COLUMN rules TEXT NOT NULL DEFAULT '{}'",
            "ALTER TABLE mappings ADD COLUMN expires_at INTEGER",
        ),
    ),
    Migration(
        number=3,
        lift=None,
        statements=(
            """
            CREATE TABLE agent_keys (
                name TEXT PRIMARY KEY,
                content TEXT NOT NULL
            ) STRICT
            """,
        ),
    ),
    Migration(
        number=4,
        lift=None,
        statements=(
            """
            CREATE TABLE bans (
                network TEXT PRIMARY KEY,
                until INTEGER,
                reason TEXT NOT NULL
            ) STRICT
            """,
            """
            CREATE TABLE audit (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                at INTEGER NOT NULL,
                who TEXT NOT NULL,
                address TEXT NOT NULL,
                action TEXT NOT NULL,
                subject TEXT NOT NULL,
                before TEXT,
                after TEXT
            ) STRICT
            """,
        ),
    ),
    Migration(
        number=5,
        lift=None,
        statements=(
            "ALTER TABLE mappings ADD COLUMN enabled INTEGER NOT NULL DEFAULT 1",
        ),
    ),
    Migration(
        number=6,
        lift=None,
        statements=(
            """
            CREATE TABLE traffic_records (
                id INTEGER PRIMARY KEY,
                port INTEGER NOT NULL,
                is_tunnel INTEGER NOT NULL,
                recorded_at INTEGER NOT NULL,
                step INTEGER NOT NULL,
                bytes_sent INTEGER NOT NULL,
                bytes_received INTEGER NOT NULL,
                connections INTEGER NOT NULL,
                active INTEGER NOT NULL
            ) STRICT
            """,
            "CREATE INDEX traffic_records_by_port ON traffic_records "
            "(port, is_tunnel, recorded_at)",
            "CREATE INDEX traffic_records_by_time ON traffic_records (recorded_at)",
            """
            CREATE TABLE traffic_lifetime (
                id INTEGER PRIMARY KEY,
                connections INTEGER NOT NULL,
                errors INTEGER NOT NULL,
                bytes_sent INTEGER NOT NULL,
                bytes_received INTEGER NOT NULL
            ) STRICT
            """,
            "INSERT INTO traffic_lifetime VALUES (1, 0, 0, 0, 0)",
        ),
    ),
    # unique by what a connection must match, and several targets
    Migration(
        number=7,
        lift=None,
        statements=(
            "ALTER TABLE mappings RENAME TO mappings_before",
            """
            CREATE TABLE mappings (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                match TEXT NOT NULL UNIQUE,
                protocol TEXT NOT NULL,
                port INTEGER NOT NULL,
                listen TEXT NOT NULL,
                targets TEXT NOT NULL,
                name TEXT NOT NULL,
                labels TEXT NOT NULL,
                rules TEXT NOT NULL,
                expires_at INTEGER,
                enabled INTEGER NOT NULL,
                created_at INTEGER NOT NULL,
                updated_at INTEGER NOT NULL
            ) STRICT
            """,
            """
            INSERT INTO mappings
            SELECT id, protocol || ':' || port, protocol, port, listen,
                json_array(json_object(
                    'host', target_host, 'port', target_port,
                    'use_tunnel', CASE use_tunnel
                        WHEN 0 THEN json('false') WHEN 1 THEN json('true')
                        ELSE use_tunnel END,
                    'agent', agent
                )),
                name, labels, rules, expires_at, enabled, created_at, updated_at
            FROM mappings_before
            """,
            # ids that were given once are not given again
            """
            UPDATE sqlite_sequence SET seq = (
                SELECT seq FROM sqlite_sequence WHERE name = 'mappings_before'
            ) WHERE name = 'mappings' AND EXISTS (
                SELECT 1 FROM sqlite_sequence WHERE name = 'mappings_before'
            )
            """,
            """
            INSERT INTO sqlite_sequence (name, seq)
            SELECT 'mappings', seq FROM sqlite_sequence
            WHERE name = 'mappings_before' AND NOT EXISTS (
                SELECT 1 FROM sqlite_sequence WHERE name = 'mappings'
            )
            """,
            "DROP TABLE mappings_before",
        ),
    ),
    Migration(
        number=8,
        lift=None,
        statements=(
            """
            CREATE TABLE reservations (
                agent TEXT NOT NULL,
                entry TEXT NOT NULL,
                port INTEGER NOT NULL,
                until INTEGER,
                PRIMARY KEY (agent, entry)
            ) STRICT
            """,
        ),
    ),
    Migration(
        number=9,
        lift=None,
        statements=(
            "ALTER TABLE mappings ADD COLUMN expected INTEGER NOT NULL DEFAULT 0",
        ),
    ),
)
SCHEMA_VERSION: Final = MIGRATIONS[-1].number


def check_whole(connection: sqlite3.Connection, path: str) -> None:
    """Look at every page of the file.

    Raises:
        StoreError: a page is damaged.
        sqlite3.Error: the file cannot be read at all.
    """
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(
            f"database {path} is damaged; restore a backup with `gotunnel restore`, or "
            f"move the file away to start with an empty one ({found})"
        )


def version_of(connection: sqlite3.Connection, path: str) -> int | None:
    """Return the schema number, 0 for the table of old, None for an empty file.

    Raises:
        SchemaVersionError: a newer release wrote it.
        StoreError: it is the database of another program.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    owner: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    foreign = owner not in (0, APPLICATION_ID)
    if version > SCHEMA_VERSION and not foreign:
        raise SchemaVersionError(
            f"database {path} has schema {version} of a newer release, this one knows "
            f"schemas up to {SCHEMA_VERSION}; upgrade gotunnel, or restore a backup of "
            "this release with `gotunnel restore`"
        )
    if version == tables == owner == 0:
        return None
    if foreign or (version == 0 and not older.is_older_form(connection)):
        raise StoreError(
            f"database {path} belongs to another program; set another database.path"
        )
    return version


def migrate(connection: sqlite3.Connection, version: int, wall_now: int) -> None:
    """Make every step that is missing, each whole or not at all.

    Args:
        connection: outside of a transaction.
        version: schema number of the file, 0 for the table of old and for none.
        wall_now: Unix seconds.

    Raises:
        sqlite3.Error: a step failed; the file is as the step before left it.
    """
    for step in MIGRATIONS:
        if step.number > version:
            _make(connection, step, wall_now)


def _make(connection: sqlite3.Connection, step: Migration, wall_now: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        lifted = step.lift(connection, wall_now) if step.lift is not None else []
        for statement in step.statements:
            connection.execute(statement)
        for statement, parameters in lifted:
            connection.execute(statement, parameters)
        connection.execute(f"PRAGMA user_version = {step.number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures roll back by themselves
            connection.execute("ROLLBACK")
        raise
