"""The stores keep the contract of `IMappingStore`."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import reactor  # noqa: TID251 (real threads)
from twisted.trial.unittest import TestCase

from gateway.store.memory import MemoryMappingStore
from gateway.store.sqlite import SQLiteMappingStore
from tests.contracts.mapping_store import MappingStoreContract


class MemoryMappingStoreTests(MappingStoreContract, TestCase):
    """The store in memory."""

    timeout = 20

    def make_store(self):
        return MemoryMappingStore()


class SQLiteMappingStoreTests(MappingStoreContract, TestCase):
    """The store in one file."""

    timeout = 20

    def make_store(self):
        return SQLiteMappingStore(
            f"{self.mktemp()}/mappings.db", reactor=cast("Any", reactor)
        )
