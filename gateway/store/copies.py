"""One way to copy a database: whole, checked, and in place at once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator

from gateway.errors import StoreError
from gateway.store.faults import explained
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
def checked_copy(
    source: sqlite3.Connection, source_path: str, beside: str
) -> Iterator[str]:
    """Copy a database into a new file, and check both.

    The copy is one file of mode 0600, without a write-ahead log; `put_in_place`
    brings it to disk.  What the block leaves of it is removed at its end.

    Args:
        source: may be in use by others meanwhile; the copy is of one moment.
        source_path: names the source in errors.
        beside: the new file is in the folder of this path, under a name of its own.

    Raises:
        StoreError: the source is locked, damaged, empty, of a newer release or
            another program's, or the copy cannot be written.
    """
    with explained(beside):
        descriptor, path = tempfile.mkstemp(
            ".partial", f".{os.path.basename(beside)}.", os.path.dirname(beside)
        )
        os.close(descriptor)
    try:
        with connected(path, busy_timeout_seconds=0) as copy:
            _fill(copy, beside, source, source_path)
        yield path
    finally:
        remove_sidecars(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _fill(
    copy: sqlite3.Connection, path: str, source: sqlite3.Connection, source_path: str
) -> None:
    with explained(source_path):
        # a read transaction; `backup` alone would wait for ever on a lock
        source.execute("BEGIN")
        try:
            _check(source, source_path)
            with explained(path):
                source.backup(copy)
        finally:
            source.execute("ROLLBACK")
    with explained(path):
        copy.execute("PRAGMA synchronous = FULL")
        # it has the write-ahead log of the source set; this rewrites its first page
        copy.execute("PRAGMA journal_mode = DELETE")
        _check(copy, path)


def _check(connection: sqlite3.Connection, path: str) -> None:
    check_whole(connection, path)
    if version_of(connection, path) is None:
        raise StoreError(f"database {path} is empty; name a file that holds mappings")


def put_in_place(copy: str, path: str) -> None:
    """Bring a finished copy to disk and give it its name, at once.

    Run by root, the copy belongs to the owner of what it replaces.
    """
    descriptor = os.open(copy, os.O_RDWR)
    try:
        share_owner(descriptor, path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    remove_sidecars(path)
    os.replace(copy, path)
    sync_folder(path)
