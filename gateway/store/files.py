"""The files around a database: its folder, its lock, its sidecars."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import Final

from gateway.errors import StoreError

# SQLite's own files beside a database; wrong beside any other database
SIDECARS: Final = ("-wal", "-shm", "-journal")


class StoreLock:
    """An advisory lock that one gateway holds while it uses a database.

    The lock is on `<name>.lock`, never on the database: closing a descriptor of
    the database would drop the locks that SQLite holds in this process.  The file
    stays behind, since removing it would let two processes lock two files.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock without waiting; creates the file (mode 0600).

        Raises:
            StoreError: another gateway has it.
            OSError: the lock file cannot be created.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self._path}.lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreError(
                f"database {self._path} is in use by another gateway "
                f"(process {owner or 'unknown'}); stop that one first, or set "
                "another database.path"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        share_owner(descriptor, self._path)
        # the number is for people; a full disk must not keep the gateway down
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock up; may be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def prepare_place(path: str) -> None:
    """Create the folder of `path`, with mode 0700, unless it exists.

    Raises:
        StoreError: `path` is something else than a file.
        OSError: the folder cannot be created.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreError(f"database path {path} is not a file; name a file")


def create_file(path: str) -> None:
    """Create an empty file (0600) unless it exists; see that it can be written.

    Call it only while this process has no connection to that file.

    Raises:
        OSError: as the system says it.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def share_owner(descriptor: int, path: str) -> None:
    """Give a file of root's to the owner of `path`, or of its folder.

    Else a command that root ran would lock the gateway's own user out.
    """
    if os.geteuid() != 0:
        return
    like = os.stat(path if os.path.exists(path) else os.path.dirname(path))
    os.fchown(descriptor, like.st_uid, like.st_gid)


def remove_sidecars(path: str) -> None:
    """Remove what SQLite left beside a database that is about to be replaced."""
    for suffix in SIDECARS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def sync_folder(path: str) -> None:
    """Make the names in the folder of `path` survive a power failure."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
