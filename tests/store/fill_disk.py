"""Fill a small file system through a store, then make room; prints what happens.

Runs in a mount namespace of its own, whose first act is to mount the small file
system on the folder named by the first argument.
"""

from __future__ import annotations

import os
import sys

from twisted.internet import task
from twisted.internet.defer import ensureDeferred

from gateway.errors import StoreError
from gateway.policy.mapping import Mapping
from gateway.store.archive import backup
from gateway.store.sqlite import SQLiteMappingStore
from tests.contracts.mapping_store import a_mapping


async def fill_disk(reactor):
    """Print one line for each thing that a test wants to know."""
    folder = sys.argv[1]
    ballast = os.path.join(folder, "ballast")
    with open(ballast, "wb") as file:
        file.write(bytes(200_000))
    store = SQLiteMappingStore(os.path.join(folder, "m.db"), reactor=reactor)
    await store.open()
    stored: list[Mapping] = []
    try:
        while len(stored) < 1000:
            wish = a_mapping(len(stored) + 1, name="x" * 2000)
            stored.append(await store.insert(wish))
    except StoreError as error:
        say("insert", error)
    say("kept", (await store.load()).mappings == stored)
    try:
        backup(os.path.join(folder, "m.db"), os.path.join(folder, "copy.db"))
    except StoreError as error:
        say("backup", error)
    say("names", sorted(os.listdir(folder)))
    os.unlink(ballast)
    stored.append(await store.insert(a_mapping(65535)))
    await store.close()
    await store.open()
    say("after", (await store.load()).mappings == stored)
    await store.close()


def say(key, value):
    print(f"{key}: {value}", flush=True)  # noqa: T201 (the test reads it)


if __name__ == "__main__":
    task.react(lambda reactor: ensureDeferred(fill_disk(reactor)))
