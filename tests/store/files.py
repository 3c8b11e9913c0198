"""Stores in temporary folders, for the tests beside this module."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from typing import Any, cast

from twisted.internet import reactor  # noqa: TID251 (adbapi needs real threads)
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from gateway.store.sqlite import SQLiteMappingStore

NOW = 1_750_000_000


def new_store(path: str, busy_timeout_seconds: float = 0.05) -> SQLiteMappingStore:
    """Return a store that is not open and that does not wait long for locks."""
    return SQLiteMappingStore(
        path,
        reactor=cast("Any", reactor),
        wall_now=lambda: NOW + 0.9,
        busy_timeout_seconds=busy_timeout_seconds,
    )


def ask(path: str, query: str, *parameters: object) -> list[Any]:
    """Run one statement on a file, past the store, and return its rows."""
    connection = sqlite3.connect(path, timeout=0.05)
    with contextlib.closing(connection), connection:
        return connection.execute(query, parameters).fetchall()


def write_database(path: str, statements: Iterable[str]) -> None:
    """Make a database of one's own, not in the way of a store."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def contents(path: str) -> bytes:
    """Return the bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


class StoreTestCase(TestCase):
    """A folder, and stores that are closed when the test ends."""

    timeout = 30

    def setUp(self):
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "mappings.db")

    def store(self, path: str | None = None) -> SQLiteMappingStore:
        """Return a store on the path of this test."""
        store = new_store(path or self.path)
        self.addCleanup(lambda: ensureDeferred(store.close()))
        return store

    async def opened(self, path: str | None = None) -> SQLiteMappingStore:
        """Return an open store on the path of this test."""
        store = self.store(path)
        await store.open()
        return store

    async def refusal(self, expected: type[Exception], awaitable: Any) -> str:
        """Return the message of a call that fails."""
        with self.assertRaises(expected) as caught:
            await awaitable
        return str(caught.exception)
