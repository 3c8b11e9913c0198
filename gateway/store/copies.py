"""One way to copy a database: whole, checked, and in place at once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator

from gateway.store.files import remove_sidecars, share_owner, sync_folder
from gateway.store.schema import check_whole, version_of
from gateway.store.table import tolerant_text


@contextlib.contextmanager
def connected(path: str, busy_timeout_seconds: float) -> Iterator[sqlite3.Connection]:
    """Open an existing database for the length of a `with` block."""
    # the encoding of a URI; a path may hold ? and #
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode=rw",
        uri=True,
        timeout=busy_timeout_seconds,
        isolation_level=None,
    )
    connection.text_factory = tolerant_text
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def checked_copy(source: sqlite3.Connection, beside: str) -> Iterator[str]:
    """Copy a database into a new file and check the copy.

    The copy is one file of mode 0600, without a write-ahead log, and on disk when
    the block begins; what the block leaves of it is removed at its end.

    Args:
        source: may be in use by others meanwhile; the copy is of one moment.
        beside: the new file is in the folder of this path, under a name of its own.

    Raises:
        StoreError: the source is damaged, of a newer release or another program's.
        sqlite3.Error: it cannot be read, or the copy not be written.
        OSError: the copy cannot be created.
    """
    folder, name = os.path.split(beside)
    descriptor, path = tempfile.mkstemp(".partial", f".{name}.", folder)
    os.close(descriptor)
    try:
        with connected(path, busy_timeout_seconds=0) as copy:
            # `backup` would wait for ever on a lock; this waits for the time set
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            try:
                source.backup(copy)
            finally:
                source.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode = DELETE")
            check_whole(copy, path)
            version_of(copy, path)
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield path
    finally:
        remove_sidecars(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def put_in_place(copy: str, path: str) -> None:
    """Give a finished copy its name; what had that name is gone at once.

    Run by root, the copy belongs to the owner of what it replaces.
    """
    descriptor = os.open(copy, os.O_RDONLY)
    try:
        share_owner(descriptor, path)
    finally:
        os.close(descriptor)
    remove_sidecars(path)
    os.replace(copy, path)
    sync_folder(path)
