"""What went wrong with a database file, in words for the operator."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.errors import StoreError

# primary result codes of SQLite -> what is wrong and what to do
_ADVICE: Final[dict[int, str]] = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another program; close that program (`fuser` names it) "
        "and try again"
    ),
    sqlite3.SQLITE_LOCKED: "is locked; try again",
    sqlite3.SQLITE_READONLY: (
        "is read-only; let the user of the gateway write to the file and its folder"
    ),
    sqlite3.SQLITE_PERM: "must not be opened by this user; correct its permissions",
    sqlite3.SQLITE_CORRUPT: (
        "is damaged; restore a backup with `gotunnel restore`, or move the file "
        "away to start with an empty one"
    ),
    sqlite3.SQLITE_NOTADB: (
        "is not an SQLite database, or its start is damaged; correct the path, "
        "restore a backup with `gotunnel restore`, or move the file away"
    ),
    sqlite3.SQLITE_FULL: "does not fit: the disk is full; free space and try again",
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened; see that the file and its folder exist and may be "
        "read and written"
    ),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written; see the system log and the limits of file "
        "sizes and quotas"
    ),
}
_OS_ADVICE: Final[dict[int, str]] = {
    errno.EACCES: "permission denied; correct the permissions of the file and folder",
    errno.EPERM: "permission denied; correct the permissions of the file and folder",
    errno.EROFS: "read-only file system; choose another place or mount it writable",
    errno.ENOSPC: "the disk is full; free space and try again",
    errno.EDQUOT: "the quota is used up; free space and try again",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOTDIR: "a part of the path is not a folder; correct the path",
    errno.ENOENT: "no such file or folder; correct the path",
    errno.EEXIST: "a part of the path is not a folder; correct the path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def explain(error: sqlite3.Error, path: str) -> StoreError:
    """Return what SQLite said as a sentence about the file and what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    advice = _ADVICE.get(code & 0xFF) if code is not None else None
    return StoreError(f"database {path} {advice or 'failed'} ({error})")


def explain_os(error: OSError, path: str) -> StoreError:
    """Return what the system said as a sentence about the file and what to do.

    Args:
        error: what the system said.
        path: named if the error does not name a file itself.
    """
    advice = _OS_ADVICE.get(error.errno or 0, error.strerror or str(error))
    return StoreError(f"database file {error.filename or path}: {advice}")


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn failures of SQLite and of the system into `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise explain_os(error, path) from error
