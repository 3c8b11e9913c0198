"""Backups of a store, and the way back.

Plain calls that wait, for commands; no reactor takes part.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway.errors import StoreError
from gateway.store.copies import checked_copy, connected, put_in_place
from gateway.store.faults import explained
from gateway.store.files import SIDECARS, StoreLock, prepare_place

BUSY_TIMEOUT_SECONDS: Final = 5.0
_UNUSABLE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def backup(path: str, destination: str, *, overwrite: bool = False) -> None:
    """Write a checked copy of a store, also while a gateway uses it.

    Args:
        path: the database.
        destination: the copy: one file, mode 0600, there whole or not at all.
        overwrite: replace a file that is there.

    Raises:
        SchemaVersionError: a newer release wrote the database.
        StoreError: there is none, it is damaged, or the copy cannot be written.
    """
    path, destination = os.path.realpath(path), os.path.realpath(destination)
    _check_pair(path, destination)
    if os.path.isdir(destination):
        raise StoreError(f"{destination} is a folder; name a file for the backup")
    if os.path.exists(destination) and not overwrite:
        raise StoreError(
            f"{destination} exists and is not overwritten unless asked for; choose "
            "another name"
        )
    with (
        explained(path),
        connected(path, BUSY_TIMEOUT_SECONDS) as source,
        checked_copy(source, path, destination) as copy,
        explained(destination),
    ):
        put_in_place(copy, destination)


def restore(
    source: str, path: str, *, wall_now: Callable[[], float] = time.time
) -> str | None:
    """Put a backup in the place of a store that no gateway uses.

    A backup of an older release is migrated when the gateway opens it.

    Args:
        source: a database that `backup` wrote, or any other file of a store.
        path: the database to replace, or to create.
        wall_now: Unix seconds; named in the name of the replaced file.

    Returns:
        Where the replaced file is kept, `<name>.replaced-<UTC stamp>`; None if there
        was none.

    Raises:
        SchemaVersionError: a newer release wrote the backup.
        StoreError: a gateway or another program uses the store, the backup is
            damaged, or a file cannot be written.  The store is as it was.
    """
    source, path = os.path.realpath(source), os.path.realpath(path)
    _check_pair(source, path)
    lock = StoreLock(path)
    with explained(path):
        prepare_place(path)
        lock.take()
    try:
        with (
            explained(source),
            connected(source, BUSY_TIMEOUT_SECONDS) as connection,
            checked_copy(connection, source, path) as copy,
            explained(path),
        ):
            kept = _keep(path, wall_now()) if os.path.exists(path) else None
            put_in_place(copy, path)
    finally:
        lock.release()
    return kept


def _check_pair(source: str, destination: str) -> None:
    if not os.path.isfile(source):
        raise StoreError(f"database {source} does not exist; name the file to copy")
    if os.path.exists(destination) and os.path.samefile(source, destination):
        raise StoreError(f"{source} and {destination} are the same file; name two")


def _keep(path: str, wall_now: float) -> str:
    """Give the file that will be replaced a second name, and return that name."""
    try:
        # moves what the write-ahead log holds into the file; refused while in use
        with connected(path, BUSY_TIMEOUT_SECONDS) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNUSABLE:
            raise
    kept = _free_name(path, wall_now)
    try:
        os.link(path, kept)
    except OSError:  # the file system has no links
        shutil.copy2(path, kept)
    # left only beside a damaged file, which may need them for a rescue
    for suffix in SIDECARS:
        if os.path.exists(path + suffix):
            os.replace(path + suffix, kept + suffix)
    return kept


def _free_name(path: str, wall_now: float) -> str:
    stamp = datetime.fromtimestamp(wall_now, UTC).strftime("%Y%m%dT%H%M%SZ")
    first = f"{path}.replaced-{stamp}"
    names = itertools.chain([first], (f"{first}-{n}" for n in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))
