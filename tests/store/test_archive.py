"""Backups are whole, and restoring loses nothing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from unittest.mock import patch

from twisted.internet.threads import deferToThread

from gateway.errors import SchemaVersionError, StoreError
from gateway.store import archive
from gateway.store.archive import backup, restore
from gateway.store.files import StoreLock
from tests.contracts.mapping_store import a_mapping
from tests.store.files import NOW, StoreTestCase, ask, contents, write_database
from tests.store.test_schema import FIRST

STAMP = "20250615T150640Z"  # of NOW


class ArchiveTestCase(StoreTestCase):
    """A store and the name of a backup of it."""

    def setUp(self):
        super().setUp()
        self.copy = os.path.join(self.folder, "backup.db")
        self.patch(archive, "BUSY_TIMEOUT_SECONDS", 0.05)

    async def stored(self, *ports):
        """Close a store that holds mappings on these ports."""
        store = await self.opened()
        for port in ports:
            await store.insert(a_mapping(port))
        await store.close()

    async def ports(self, path):
        """Return the ports that a store on `path` loads."""
        store = await self.opened(path)
        mappings, faults = await store.load()
        self.assertEqual(faults, [])
        await store.close()
        return [m.port for m in mappings]

    def refused(self, call, *words, error=StoreError):
        """Expect a call to fail with a message that has these words."""
        with self.assertRaises(error) as caught:
            call()
        for word in words:
            self.assertIn(word, str(caught.exception))

    def names(self):
        """Return what is in the folder, without lock files."""
        names = os.listdir(self.folder)
        return sorted(name for name in names if not name.endswith(".lock"))


class BackupTests(ArchiveTestCase):
    """Copying, while a gateway runs or not."""

    async def test_backup_of_a_running_gateway(self):
        """The copy holds what was stored, and the gateway goes on."""
        store = await self.opened()
        await store.insert(a_mapping(1))
        backup(self.path, self.copy)
        await store.insert(a_mapping(2))
        self.assertEqual(await self.ports(self.copy), [1])
        self.assertEqual(len((await store.load()).mappings), 2)

    async def test_backup_under_load_is_of_one_moment(self):
        """Every mapping acknowledged before is in the copy, and it is whole."""
        store = await self.opened()
        for port in range(1, 30):
            await store.insert(a_mapping(port))
        copying = deferToThread(backup, self.path, self.copy)
        for port in range(30, 60):
            await store.insert(a_mapping(port))
        await copying
        ports = await self.ports(self.copy)
        self.assertEqual(ports, list(range(1, len(ports) + 1)))
        self.assertGreaterEqual(len(ports), 29)

    async def test_backup_is_one_private_file(self):
        """No log lies beside it, and nobody else may read it."""
        await self.stored(1)
        backup(self.path, self.copy)
        self.assertEqual(os.stat(self.copy).st_mode & 0o777, 0o600)
        self.assertEqual(ask(self.copy, "PRAGMA journal_mode"), [("delete",)])
        self.assertEqual(self.names(), ["backup.db", "mappings.db"])

    async def test_backup_overwrites_only_when_asked(self):
        """A file that is there stays, and the message says so."""
        await self.stored(1)
        with open(self.copy, "w") as file:
            file.write("precious")
        self.refused(lambda: backup(self.path, self.copy), "backup.db", "exists")
        self.assertEqual(contents(self.copy), b"precious")
        backup(self.path, self.copy, overwrite=True)
        self.assertEqual(await self.ports(self.copy), [1])

    async def test_log_beside_the_overwritten_file_is_not_mixed_in(self):
        """SQLite would take a log that lies there for the log of the backup."""
        await self.stored(1)
        other = await self.opened(os.path.join(self.folder, "other.db"))
        await other.insert(a_mapping(2))
        for suffix in ["", "-wal"]:
            with open(self.copy + suffix, "wb") as file:
                file.write(contents(os.path.join(self.folder, "other.db" + suffix)))
        backup(self.path, self.copy, overwrite=True)
        self.assertEqual(await self.ports(self.copy), [1])

    async def test_backup_onto_itself_is_refused(self):
        """Also by another name, also with overwriting."""
        await self.stored(1)
        os.link(self.path, self.copy)
        for name in [self.path, self.copy]:
            self.refused(lambda n=name: backup(self.path, n, overwrite=True), "same")

    async def test_backup_of_nothing(self):
        """A store that does not exist is not created by its backup."""
        self.refused(lambda: backup(self.path, self.copy), "does not exist")
        self.assertEqual(self.names(), [])

    async def test_backup_into_a_missing_folder_or_onto_a_folder(self):
        """The destination is named."""
        await self.stored(1)
        far = os.path.join(self.folder, "far", "backup.db")
        self.refused(lambda: backup(self.path, far), "far", "no such")
        self.refused(lambda: backup(self.path, self.folder), "is a folder")

    async def test_backup_of_a_damaged_store(self):
        """A copy of damage is no backup; what was the backup stays."""
        await self.stored(1)
        backup(self.path, self.copy)
        before = contents(self.copy)
        os.truncate(self.path, 4096 * 2)
        self.refused(lambda: backup(self.path, self.copy, overwrite=True), "damaged")
        self.assertEqual(contents(self.copy), before)
        self.assertEqual(self.names(), ["backup.db", "mappings.db"])

    async def test_backup_of_a_locked_store_ends(self):
        """A lock of another program is waited for, but not for ever."""
        write_database(self.path, [FIRST])
        other = sqlite3.connect(self.path, isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN EXCLUSIVE")
            self.refused(lambda: backup(self.path, self.copy), "locked")
        backup(self.path, self.copy)

    async def test_backup_of_a_newer_schema(self):
        """This release cannot tell whether such a copy would be good."""
        await self.stored(1)
        ask(self.path, "PRAGMA user_version = 99")
        self.refused(
            lambda: backup(self.path, self.copy), "99", error=SchemaVersionError
        )

    async def test_path_with_characters_of_an_address(self):
        """Names are names, not parts of an address."""
        self.path = os.path.join(self.folder, "a?b#c%20&mode=ro .db")
        await self.stored(1)
        backup(self.path, self.copy)
        self.assertEqual(await self.ports(self.copy), [1])


class RestoreTests(ArchiveTestCase):
    """Bringing a backup back."""

    def restore(self):
        return restore(self.copy, self.path, wall_now=lambda: NOW)

    async def test_restore_brings_back_and_keeps(self):
        """The backup is in place, what it replaced has a dated name."""
        await self.stored(1, 2)
        backup(self.path, self.copy)
        await self.stored(3)
        kept = self.restore()
        self.assertEqual(kept, f"{self.path}.replaced-{STAMP}")
        self.assertEqual(await self.ports(self.path), [1, 2])
        self.assertEqual(await self.ports(kept), [1, 2, 3])
        self.assertEqual(await self.ports(self.copy), [1, 2])

    async def test_restore_twice_in_a_second_keeps_both(self):
        """No kept file is overwritten."""
        await self.stored(1)
        backup(self.path, self.copy)
        self.assertNotEqual(self.restore(), self.restore())
        self.assertEqual(len(self.names()), 4)

    async def test_restore_into_an_empty_place(self):
        """A new machine needs neither the file nor its folder."""
        await self.stored(1)
        backup(self.path, self.copy)
        self.path = os.path.join(self.folder, "new", "mappings.db")
        self.assertIsNone(self.restore())
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertEqual(await self.ports(self.path), [1])

    async def test_restore_is_refused_while_a_gateway_runs(self):
        """The gateway and its file are not disturbed."""
        store = await self.opened()
        await store.insert(a_mapping(1))
        backup(self.path, self.copy)
        self.refused(self.restore, "in use by another gateway")
        await store.insert(a_mapping(2))
        self.assertEqual(len((await store.load()).mappings), 2)

    async def test_restore_is_refused_while_another_program_reads(self):
        """Its log would be lost under it."""
        await self.stored(1)
        backup(self.path, self.copy)
        other = sqlite3.connect(self.path, isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN")
            other.execute("SELECT * FROM mappings").fetchall()
            self.refused(self.restore, "locked")
        self.restore()

    async def test_restore_releases_the_lock(self):
        """After a refusal and after success a gateway may start."""
        await self.stored(1)
        self.refused(self.restore, "does not exist")
        await self.stored(2)
        backup(self.path, self.copy)
        self.restore()
        lock = StoreLock(self.path)
        lock.take()
        lock.release()

    async def test_restored_file_belongs_to_the_gateways_user(self):
        """A restore that root ran does not lock the gateway out."""
        await self.stored(1)
        backup(self.path, self.copy)
        os.unlink(self.path + ".lock")
        if os.geteuid() == 0:
            os.chown(self.path, 65534, 65534)
        owner = os.stat(self.path).st_uid
        self.restore()
        for name in [self.path, self.path + ".lock"]:
            self.assertEqual(os.stat(name).st_uid, owner)

    async def test_bad_backups_are_refused_before_anything_moves(self):
        """Garbage, damage, emptiness, strangers and newer releases."""
        await self.stored(1)
        before = contents(self.path)
        backup(self.path, self.copy)
        whole = contents(self.copy)
        for spoilt, word in [
            (b"", "empty"),
            (b"garbage" * 1000, "not an SQLite database"),
            (whole[:8192], "damaged"),
            (whole[:60] + b"\0\0\0\x63" + whole[64:], "schema 99"),
            (whole[:68] + b"\0\0\0\x63" + whole[72:], "another program"),
        ]:
            with open(self.copy, "wb") as file:
                file.write(spoilt)
            self.refused(self.restore, self.copy, word)
            self.assertEqual(contents(self.path), before)
        self.assertEqual(self.names(), ["backup.db", "mappings.db"])

    async def test_log_of_a_killed_gateway_is_kept_with_its_file(self):
        """What only the write-ahead log holds is in the kept file."""
        await self.stored(1)
        backup(self.path, self.copy)
        store = await self.opened()
        await store.insert(a_mapping(2))
        # the files as a kill would leave them
        killed = os.path.join(self.folder, "killed.db")
        for suffix in ["", "-wal"]:
            with open(killed + suffix, "wb") as file:
                file.write(contents(self.path + suffix))
        await store.close()
        kept = restore(self.copy, killed, wall_now=lambda: NOW)
        self.assertEqual(await self.ports(killed), [1])
        self.assertEqual(await self.ports(kept), [1, 2])

    async def test_damaged_store_is_replaced(self):
        """That is what backups are for; its remains are kept, log included."""
        await self.stored(1)
        backup(self.path, self.copy)
        for suffix in ["", "-wal"]:
            with open(self.path + suffix, "wb") as file:
                file.write(b"damage" * 1000)
        kept = self.restore()
        self.assertEqual(contents(kept), b"damage" * 1000)
        self.assertEqual(await self.ports(self.path), [1])
        self.assertNotIn("mappings.db-wal", self.names())

    async def test_backup_of_an_older_release_is_migrated_at_opening(self):
        """Restoring does not need the release that wrote the backup."""
        write_database(
            self.copy, [FIRST, "INSERT INTO mappings VALUES (1, 7, '', 1, NULL)"]
        )
        self.restore()
        self.assertEqual(await self.ports(self.path), [7])

    async def test_file_system_without_links(self):
        """The replaced file is copied there."""
        await self.stored(1)
        backup(self.path, self.copy)
        with patch("os.link", side_effect=PermissionError):
            kept = self.restore()
        self.assertEqual(await self.ports(kept), [1])
