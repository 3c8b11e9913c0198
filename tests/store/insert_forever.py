"""Insert until killed; each line of output is an id that is stored for good."""

from __future__ import annotations

import sys

from twisted.internet import task
from twisted.internet.defer import ensureDeferred

from gateway.store.sqlite import SQLiteMappingStore
from tests.contracts.mapping_store import a_mapping


async def insert_forever(reactor):
    """Go on from the highest port that is stored."""
    store = SQLiteMappingStore(sys.argv[1], reactor=reactor)
    await store.open()
    mappings, _ = await store.load()
    port = max((m.port for m in mappings), default=0)
    while True:
        port += 1
        # long enough to be written in several pieces
        stored = await store.insert(a_mapping(port, name="x" * 20_000))
        print(stored.id, flush=True)  # noqa: T201 (the reader waits for it)


if __name__ == "__main__":
    task.react(lambda reactor: ensureDeferred(insert_forever(reactor)))
