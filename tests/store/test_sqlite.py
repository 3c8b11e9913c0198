"""What a file on a real disk adds to the contract of a store."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading

from twisted.internet.defer import CancelledError, ensureDeferred, gatherResults

from gateway.errors import SchemaVersionError, StoreError
from gateway.store.schema import SCHEMA_VERSION
from tests.contracts.mapping_store import a_credential, a_mapping
from tests.store.files import StoreTestCase, ask, contents, new_store, write_database


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


class FileTests(StoreTestCase):
    """How the file is made and kept."""

    async def test_folder_and_file_are_private(self):
        """Nobody else may look into a new store."""
        path = os.path.join(self.folder, "deep", "mappings.db")
        store = await self.opened(path)
        await store.insert(a_mapping())
        self.assertEqual(mode_of(os.path.dirname(path)), 0o700)
        for name in ["", "-wal", "-shm", ".lock"]:
            self.assertEqual(mode_of(path + name), 0o600, name)

    async def test_write_ahead_log_and_strict_tables(self):
        """The file is set up for crashes and against wrong types."""
        await self.opened()
        self.assertEqual(ask(self.path, "PRAGMA journal_mode"), [("wal",)])
        self.assertEqual(ask(self.path, "PRAGMA user_version"), [(SCHEMA_VERSION,)])
        strict = ask(self.path, "SELECT name FROM pragma_table_list WHERE strict")
        names = ["agent_keys", "audit", "bans", "mappings", "mappings_unreadable"]
        names += ["reservations", "traffic_lifetime", "traffic_records"]
        self.assertEqual(sorted(strict), [(name,) for name in names])

    async def test_a_spoilt_key_costs_itself_alone(self):
        """Its row is told of; the others are loaded."""
        store = await self.opened()
        await store.put_credential(a_credential("web"))
        for name, content in (("a", "{}"), ("b", "[]"), ("c", "{"), ("d", "5")):
            ask(self.path, f"INSERT INTO agent_keys VALUES ('{name}', '{content}')")
        credentials, faults = await store.load_credentials()
        self.assertEqual([one.name for one in credentials], ["web"])
        self.assertEqual(len(faults), 4)
        self.assertIn("the key of agent 'a' cannot be read", faults[0])

    async def test_close_leaves_one_file_and_no_thread(self):
        """Nothing of a closed store remains but its data and its lock file."""
        before = set(threading.enumerate())
        store = await self.opened()
        await store.insert(a_mapping())
        self.assertEqual(len(set(threading.enumerate()) - before), 1)
        await store.close()
        self.assertEqual(set(threading.enumerate()), before)
        self.assertEqual(
            sorted(os.listdir(self.folder)), ["mappings.db", "mappings.db.lock"]
        )

    async def test_close_finishes_what_was_asked_for(self):
        """Calls that wait for their turn are carried out before the end."""
        store = await self.opened()
        calls = [ensureDeferred(store.insert(a_mapping(port))) for port in range(1, 21)]
        await store.close()
        stored = await gatherResults(calls)
        self.assertEqual([m.id for m in stored], list(range(1, 21)))
        await store.open()
        self.assertEqual((await store.load()).mappings, stored)

    async def test_cancelled_call_leaves_the_store_usable(self):
        """A caller that gives up disturbs nobody."""
        store = await self.opened()
        call = ensureDeferred(store.insert(a_mapping(1)))
        call.cancel()
        await self.refusal(CancelledError, call)
        await store.insert(a_mapping(2))

    async def test_cancelled_open_releases_everything(self):
        """An opening that is given up can be tried again."""
        store = self.store()
        opening = ensureDeferred(store.open())
        opening.cancel()
        await self.refusal(CancelledError, opening)
        await store.close()
        await (await self.opened()).ping()

    async def test_close_while_opening_ends_closed(self):
        """An opening that is overtaken by a close fails and holds nothing."""
        store = self.store()
        opening = ensureDeferred(store.open())
        await store.close()
        self.assertIn("closed", await self.refusal(StoreError, opening))
        await (await self.opened()).ping()

    async def test_relative_path_is_of_the_folder_at_opening(self):
        """Changing the working directory later does not lose the file."""
        start = os.getcwd()
        self.addCleanup(os.chdir, start)
        store = self.store("data.db")
        os.chdir(self.folder)
        await store.open()
        os.chdir(start)
        await store.insert(a_mapping())
        self.assertTrue(os.path.exists(os.path.join(self.folder, "data.db")))


class RefusalTests(StoreTestCase):
    """Files that cannot be used: named, with what to do, and left alone."""

    async def refused(self, *words, error=StoreError):
        """Open the store, expecting a message with these words."""
        message = await self.refusal(error, self.store().open())
        for word in (self.folder, *words):
            self.assertIn(word, message)

    def drop_privileges(self):
        """Root may write anywhere; be nobody for the rest of the test."""
        if os.geteuid() == 0:
            os.chmod(os.path.dirname(self.folder), 0o755)  # trial made it private
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)

    async def test_two_gateways_cannot_share_a_file(self):
        """The second is told who has it; the first goes on."""
        first = await self.opened()
        await self.refused("in use by another gateway", str(os.getpid()), "stop")
        await first.ping()
        await first.close()
        await (await self.opened()).ping()

    async def test_a_symbolic_link_leads_to_the_same_lock(self):
        """Two names of one file are one file."""
        await self.opened()
        link = os.path.join(self.folder, "link.db")
        os.symlink(self.path, link)
        message = await self.refusal(StoreError, self.store(link).open())
        self.assertIn("in use", message)

    async def test_read_only_file(self):
        """A file without write permission is refused at once."""
        await (await self.opened()).close()
        os.chmod(self.path, 0o444)
        os.chmod(self.path + ".lock", 0o666)
        os.chmod(self.folder, 0o777)
        self.drop_privileges()
        await self.refused("mappings.db", "permission denied", "correct")

    async def test_read_only_folder(self):
        """A folder without write permission is refused at once."""
        os.chmod(self.folder, 0o555)
        self.drop_privileges()
        await self.refused("mappings.db", "permission denied", "correct")

    async def test_folder_that_cannot_be_created(self):
        """The message names the folder."""
        os.chmod(self.folder, 0o555)
        self.path = os.path.join(self.folder, "new", "mappings.db")
        self.drop_privileges()
        await self.refused("new", "permission denied")

    async def test_path_that_is_a_folder(self):
        """A folder is not a database."""
        os.mkdir(self.path)
        await self.refused("not a file")
        self.assertEqual(os.listdir(self.folder), ["mappings.db"])

    async def test_path_that_is_a_pipe(self):
        """Opening does not wait for somebody at the other end."""
        os.mkfifo(self.path)
        await self.refused("not a file")

    async def test_path_below_a_file(self):
        """A file is not a folder."""
        with open(os.path.join(self.folder, "file"), "w"):
            self.path = os.path.join(self.folder, "file", "mappings.db")
        await self.refused("not a folder")

    async def test_garbage_is_not_a_database(self):
        """The file is left as it is."""
        garbage = b"these are not the bytes you are looking for" * 100
        with open(self.path, "wb") as file:
            file.write(garbage)
        await self.refused("not an SQLite database", "gotunnel restore")
        self.assertEqual(contents(self.path), garbage)

    async def test_damaged_page_is_found_at_opening(self):
        """A page that the header does not show is looked at too."""
        store = await self.opened()
        for port in range(1, 200):
            await store.insert(a_mapping(port, name="x" * 100))
        await store.close()
        pages = len(contents(self.path)) // 4096
        with open(self.path, "r+b") as file:
            file.seek((pages - 2) * 4096)
            file.write(b"\xff" * 4096)
        await self.refused("damaged", "gotunnel restore")

    async def test_truncated_file(self):
        """Half a database is a damaged one."""
        store = await self.opened()
        for port in range(1, 200):
            await store.insert(a_mapping(port, name="x" * 100))
        await store.close()
        os.truncate(self.path, 3 * 4096)
        await self.refused("damaged", "gotunnel restore")

    async def test_newer_schema(self):
        """A file of a newer release is not touched, and both numbers are told."""
        await (await self.opened()).close()
        ask(self.path, "PRAGMA user_version = 99")
        before = contents(self.path)
        await self.refused("schema 99", "upgrade", error=SchemaVersionError)
        self.assertEqual(contents(self.path), before)

    async def test_database_of_another_program(self):
        """Strange tables are not added to."""
        write_database(self.path, ["CREATE TABLE bookmarks(url)"])
        before = contents(self.path)
        await self.refused("another program")
        ask(self.path, "PRAGMA application_id = 7")
        ask(self.path, "PRAGMA user_version = 99")
        await self.refused("another program")
        self.assertEqual(len(contents(self.path)), len(before))

    async def test_locked_by_another_program(self):
        """The wait for a lock ends, and the next try may succeed."""
        await (await self.opened()).close()
        other = sqlite3.connect(self.path, isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            await self.refused("locked by another program", "fuser")
        await (await self.opened()).ping()

    async def test_refusal_leaves_no_thread_and_no_lock(self):
        """A store that could not be opened can be opened once it is repaired."""
        before = set(threading.enumerate())
        with open(self.path, "wb") as file:
            file.write(b"x" * 5000)
        store = self.store()
        await self.refusal(StoreError, store.open())
        self.assertEqual(set(threading.enumerate()), before)
        os.unlink(self.path)
        await store.open()
        await store.ping()


class RunningTests(StoreTestCase):
    """What happens to the file while the store is open."""

    async def test_lock_of_another_program_fails_one_call(self):
        """A change that cannot be made in time is absent; the next one is made."""
        store = await self.opened()
        other = sqlite3.connect(self.path, isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            message = await self.refusal(StoreError, store.insert(a_mapping(1)))
            self.assertIn("locked", message)
            self.assertEqual(await store.load(), ([], []))
        await store.insert(a_mapping(1))

    async def test_removed_file_is_noticed(self):
        """Nothing is written into a file that the next start would not find."""
        store = await self.opened()
        os.rename(self.path, self.path + ".away")
        for call in [store.ping(), store.insert(a_mapping())]:
            self.assertIn("removed or replaced", await self.refusal(StoreError, call))
        os.rename(self.path + ".away", self.path)
        await store.ping()

    async def test_bad_rows_become_faults(self):
        """Each unreadable row is one sentence; the others are loaded."""
        store = await self.opened()
        for port in range(1, 8):
            await store.insert(a_mapping(port))
        for change, port in [
            ("port = 70000", 1),
            ("labels = '{'", 2),
            ("labels = '[]'", 3),
            ("created_at = -5", 4),
            ("name = CAST(x'ff' AS TEXT)", 5),
            ("targets = replace(targets, 'true', 'false')", 6),
        ]:
            ask(self.path, f"UPDATE mappings SET {change} WHERE port = ?", port)
        await store.close()
        await store.open()
        mappings, faults = await store.load()
        self.assertEqual([m.port for m in mappings], [7])
        self.assertEqual(len(faults), 6)
        for word in ["port 70000", "not JSON", "object", "-5", "Unicode", "no tunnel"]:
            self.assertEqual(sum(word in one.text for one in faults), 1, word)
        for fault in faults:
            self.assertIn(self.path, fault.text)
        self.assertEqual(
            {one.match for one in faults}, {f"tcp:{port}" for port in range(1, 7)}
        )

    async def test_waiting_is_done_beside_the_reactor(self):
        """A lock that lasts does not stop other stores from answering."""
        slow = new_store(self.path, busy_timeout_seconds=5)
        self.addCleanup(lambda: ensureDeferred(slow.close()))
        await slow.open()
        quick = await self.opened(os.path.join(self.folder, "other.db"))
        other = sqlite3.connect(self.path, isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            call = ensureDeferred(slow.insert(a_mapping()))
            await quick.insert(a_mapping())
            self.assertFalse(call.called)
        await call
