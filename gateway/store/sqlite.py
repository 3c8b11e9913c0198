"""Mappings in one SQLite file, the store that needs no server."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from gateway.errors import StoreError
from gateway.interfaces import (
    AuditEntry,
    IAuditStore,
    IBanStore,
    ICredentialStore,
    IHistoryStore,
    IMappingStore,
    IReservationStore,
    StoredCredentials,
    StoredMappings,
)
from gateway.policy.bans import Ban
from gateway.policy.credentials import AgentCredential
from gateway.policy.history import History, Lifetime, TrafficRecord
from gateway.policy.mapping import Mapping, Match
from gateway.policy.reservations import Owner, Reservation
from gateway.store import history, keys, records, reservations, schema, table
from gateway.store.copies import checked_copy, put_in_place
from gateway.store.faults import explain, explain_os, explained
from gateway.store.files import StoreLock, create_file, prepare_place

T = TypeVar("T")
BUSY_TIMEOUT_SECONDS: Final = 5.0


@implementer(
    IMappingStore,
    ICredentialStore,
    IBanStore,
    IAuditStore,
    IHistoryStore,
    IReservationStore,
)
class SQLiteMappingStore:
    """`IMappingStore` on `adbapi` over the standard library's sqlite3.

    The pool has one connection and one thread.  SQLite has one writer at a time,
    so the 25 open and 5 idle connections that a client of a database server would
    keep could only wait for each other here, and calls would lose their order.

    A change is on disk when its call returns (write-ahead log, `synchronous` FULL).
    A call that is cancelled may still be carried out.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        *,
        reactor: IReactorThreads,
        wall_now: Callable[[], float] = time.time,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    ) -> None:
        """Touch nothing yet.

        Args:
            path: the file; relative to the working directory at `open`.
            reactor: runs the thread and gets its results.
            wall_now: Unix seconds.
            busy_timeout_seconds: how long a call waits for a lock of another program.
        """
        self._path = path
        self._reactor = reactor
        self._wall_now = wall_now
        self._busy_timeout_seconds = busy_timeout_seconds
        self._lock: StoreLock | None = None
        self._pool: ConnectionPool | None = None
        self._ready = False
        self._file: tuple[int, int] | None = None  # device and inode

    async def open(self) -> None:
        """Create or migrate the file and make it ready.

        Before an older file is migrated, a copy `<name>.before-v<N>` is put beside
        it, N being the new schema number.

        Raises:
            SchemaVersionError: a newer release wrote it.
            StoreError: it is corrupt, locked, in use by another gateway, read-only
                or cannot be created.
        """
        if self._lock is not None:
            raise StoreError(f"database {self._path} is open already")
        self._path = path = os.path.realpath(self._path)
        lock = StoreLock(path)
        with explained(path):
            prepare_place(path)
            lock.take()
            self._lock = lock
        try:
            await self._connect(path)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, then release the file and the thread.

        May be called twice, and without `open`.
        """
        self._ready = False
        pool, self._pool = self._pool, None
        lock, self._lock = self._lock, None
        try:
            if pool is not None:
                # behind everything that waits for the one thread
                await deferToThreadPool(
                    self._reactor, pool.threadpool, _disconnect, pool
                )
        finally:
            if pool is not None:
                pool.close()
            if lock is not None:
                lock.release()

    async def load(self) -> StoredMappings:
        """Return all mappings; unreadable rows become faults."""
        mappings, faults = await self._run(table.load)
        return StoredMappings(
            mappings,
            [
                fault._replace(text=f"database {self._path}: {fault.text}")
                for fault in faults
            ],
        )

    async def insert(self, mapping: Mapping) -> Mapping:
        """Store a new mapping and return it with its `id`.

        Raises:
            PortMappedError: its protocol and port are taken.
            BadRequestError: a value is none that can be stored.
        """
        return await self._run(partial(table.insert, mapping=mapping))

    async def update(self, mapping: Mapping) -> bool:
        """Replace the row with the id of `mapping`; False if there is none.

        Raises:
            PortMappedError: its protocol and port are another row's.
            BadRequestError: a value is none that can be stored.
        """
        return await self._run(partial(table.update, mapping=mapping))

    async def delete(self, match: Match) -> bool:
        """Remove a mapping; False if there was none."""
        return await self._run(partial(table.delete, match=match))

    async def load_credentials(self) -> StoredCredentials:
        """Return all agents' keys; unreadable rows become faults."""
        credentials, faults = await self._run(keys.load)
        return StoredCredentials(
            credentials, [f"database {self._path}: {fault}" for fault in faults]
        )

    async def put_credential(self, credential: AgentCredential) -> None:
        """Store a credential in the place of what has its name."""
        await self._run(partial(keys.put, credential=credential))

    async def delete_credential(self, name: str) -> bool:
        """Remove a credential; False if there was none."""
        return await self._run(partial(keys.delete, name=name))

    async def load_bans(self) -> list[Ban]:
        """Return the operator's bans."""
        return await self._run(records.load_bans)

    async def put_ban(self, ban: Ban) -> None:
        """Store a ban in the place of that of the same network."""
        await self._run(partial(records.put_ban, ban=ban))

    async def delete_ban(self, network: str) -> bool:
        """Remove a ban; False if there was none."""
        return await self._run(partial(records.delete_ban, network=network))

    async def load_reservations(self) -> list[Reservation]:
        """Return the ports that are kept for agents, the oldest first."""
        return await self._run(reservations.load)

    async def write_reservations(
        self, put: Sequence[Reservation], gone: Sequence[Owner]
    ) -> None:
        """Store some, each in the place of its owner's, and remove others."""
        await self._run(partial(reservations.write, put=put, gone=gone))

    async def note(self, entry: AuditEntry, oldest: int, most: int) -> None:
        """Add an entry to the audit log; older and further ones go."""
        await self._run(partial(records.note, entry=entry, oldest=oldest, most=most))

    async def load_audit(self, before: int | None, count: int) -> list[AuditEntry]:
        """Return the newest entries with an id below `before`, newest first."""
        return await self._run(partial(records.load_audit, before=before, count=count))

    async def record(
        self, records: Sequence[TrafficRecord], more: Lifetime
    ) -> Lifetime:
        """Write what passed of late; return what passed ever."""
        return await self._run(partial(history.record, records=records, more=more))

    async def load_lifetime(self) -> Lifetime:
        """Return what passed ever."""
        return await self._run(history.load_lifetime)

    async def load_history(
        self, port: int, is_tunnel: bool, since: int, until: int, limit: int
    ) -> History:
        """Return what passed in a span of time, in at most `limit` points."""
        return await self._run(
            partial(
                history.load,
                port=port,
                is_tunnel=is_tunnel,
                since=since,
                until=until,
                limit=limit,
            )
        )

    async def tidy_history(self, now: int, oldest: int, most: int) -> None:
        """Sum up what is old, and remove what is too old or too much."""
        await self._run(partial(history.tidy, now=now, oldest=oldest, most=most))

    async def ping(self) -> None:
        """Return if the store answers."""
        await self._run(table.probe)

    async def _connect(self, path: str) -> None:
        with explained(path):
            create_file(path)
            found = os.stat(path)
        self._file = found.st_dev, found.st_ino
        self._pool = pool = ConnectionPool(
            "sqlite3",
            path,
            timeout=self._busy_timeout_seconds,
            isolation_level=None,  # transactions are begun by name
            # a reactor that stops closes the pool outside of its thread
            check_same_thread=False,
            cp_reactor=self._reactor,
            cp_min=1,
            cp_max=1,
        )
        prepare = partial(_prepare, path=path, wall_now=self._wall_now)
        kept = await self._in_pool(pool, prepare)
        if kept is not None:
            self.log.info("store migrated; the old file is kept as {kept}", kept=kept)
        if self._pool is not pool:
            raise StoreError(f"database {path} was closed while it was opened")
        self._ready = True

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._pool is None or not self._ready:
            raise StoreError(f"database {self._path} is not open")
        return await self._in_pool(self._pool, partial(self._guarded, work=work))

    def _guarded(
        self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]
    ) -> T:
        try:
            found = os.stat(self._path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            raise StoreError(
                f"database {self._path} was removed or replaced under the running "
                "gateway; put it back or restart the gateway"
            )
        return work(connection)

    async def _in_pool(
        self, pool: ConnectionPool, work: Callable[[sqlite3.Connection], T]
    ) -> T:
        try:
            result: T = await pool.runWithConnection(work)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        except OSError as error:
            raise explain_os(error, self._path) from error
        return result


def _prepare(
    connection: sqlite3.Connection, path: str, wall_now: Callable[[], float]
) -> str | None:
    """Check, migrate and set up the file; return the name of the old file's copy."""
    # adbapi hands out a wrapper that would keep attributes for itself
    connection = getattr(connection, "_connection", connection)
    connection.text_factory = table.tolerant_text
    schema.check_whole(connection, path)
    version = schema.version_of(connection, path)
    kept = None
    if version is not None and version < schema.SCHEMA_VERSION:
        kept = _keep_copy(connection, path)
    schema.migrate(connection, version or 0, int(wall_now()))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")  # says now if it cannot be written
    connection.execute("ROLLBACK")
    return kept


def _keep_copy(connection: sqlite3.Connection, path: str) -> str:
    """Copy the file before its migration; an earlier copy gives way.

    A migration that failed left the file as it was, so what gives way is the same.
    """
    kept = f"{path}.before-v{schema.SCHEMA_VERSION}"
    with checked_copy(connection, path, kept) as copy:
        put_in_place(copy, kept)
    return kept


def _disconnect(pool: ConnectionPool) -> None:
    """Close the connections of the pool; called in its thread."""
    connections: list[Any] = list(pool.connections.values())
    for connection in connections:
        pool.disconnect(connection)
