"""Files of older releases keep their mappings."""

from __future__ import annotations

import os
import sqlite3
from unittest.mock import patch

from gateway.errors import StoreError
from gateway.policy.mapping import Mapping, Target
from gateway.policy.visitors import NO_RULES
from gateway.store import schema
from tests.contracts.mapping_store import a_mapping
from tests.store.files import NOW, StoreTestCase, ask, contents, write_database

FIRST = """CREATE TABLE mappings(
    id INTEGER PRIMARY KEY AUTOINCREMENT, source_port INTEGER UNIQUE NOT NULL,
    target_ip TEXT, target_port INTEGER,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP)"""
SECOND = """CREATE TABLE mappings(
    id INTEGER PRIMARY KEY AUTOINCREMENT, source_port INTEGER UNIQUE NOT NULL,
    target_host TEXT, target_port INTEGER, use_tunnel BOOLEAN DEFAULT 0,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP)"""
INDEX = "CREATE INDEX idx_mappings_source_port ON mappings(source_port)"
DATE = "2023-11-14 22:13:20"  # Unix time 1_700_000_000


def older(number, port, host, target_port, use_tunnel, created_at=1_700_000_000):
    return Mapping(
        id=number,
        port=port,
        targets=(Target(host=host, port=target_port, use_tunnel=use_tunnel),),
        created_at=created_at,
        updated_at=created_at,
    )


class MigrationTests(StoreTestCase):
    """Each form that was ever written, and what lies between."""

    async def migrated(self, *statements):
        """Return what a store loads from a file made by these statements."""
        write_database(self.path, statements)
        return await (await self.opened()).load()

    async def test_first_form(self):
        """Without the column, an empty target means through the agent."""
        loaded = await self.migrated(
            FIRST,
            INDEX,
            f"INSERT INTO mappings VALUES (3, 10022, '', 22, '{DATE}')",
            f"INSERT INTO mappings VALUES (5, 10080, NULL, 80, '{DATE}')",
            f"INSERT INTO mappings VALUES (9, 10001, '10.0.0.7', 10001, '{DATE}')",
        )
        expected = [
            older(9, 10001, "10.0.0.7", 10001, False),
            older(3, 10022, "", 22, True),
            older(5, 10080, "", 80, True),
        ]
        self.assertEqual(loaded, (expected, []))

    async def test_second_form(self):
        """The column says which way, except for a target that is not there."""
        loaded = await self.migrated(
            SECOND,
            INDEX,
            f"INSERT INTO mappings VALUES (1, 1, 'db.lan', 5432, 1, '{DATE}')",
            f"INSERT INTO mappings VALUES (2, 2, 'db.lan', 5432, 0, '{DATE}')",
            f"INSERT INTO mappings VALUES (3, 3, '', 22, 0, '{DATE}')",
            f"INSERT INTO mappings VALUES (4, 4, NULL, 22, NULL, '{DATE}')",
        )
        expected = [
            older(1, 1, "db.lan", 5432, True),
            older(2, 2, "db.lan", 5432, False),
            older(3, 3, "", 22, True),
            older(4, 4, "", 22, True),
        ]
        self.assertEqual(loaded, (expected, []))

    async def test_form_with_both_names_of_the_target(self):
        """A column that was added beside the old one does not hide it."""
        loaded = await self.migrated(
            FIRST,
            "ALTER TABLE mappings ADD COLUMN target_host TEXT",
            "ALTER TABLE mappings ADD COLUMN use_tunnel BOOLEAN DEFAULT 0",
            f"INSERT INTO mappings VALUES (1, 1, 'old.lan', 5, '{DATE}', '', 0)",
            f"INSERT INTO mappings VALUES (2, 2, 'old.lan', 5, '{DATE}', 'new.lan', 1)",
        )
        expected = [older(1, 1, "old.lan", 5, False), older(2, 2, "new.lan", 5, True)]
        self.assertEqual(loaded, (expected, []))

    async def test_form_without_dates(self):
        """A mapping that has no date gets that of the migration."""
        loaded = await self.migrated(
            "CREATE TABLE mappings(source_port INTEGER, target_port INTEGER)",
            "INSERT INTO mappings VALUES (10022, 22)",
        )
        self.assertEqual(loaded, ([older(1, 10022, "", 22, True, NOW)], []))

    async def test_dates_of_every_spelling(self):
        """Dates with zone, fraction or as a number are the same moment."""
        spellings = [
            "2023-11-14T22:13:20Z",
            "2023-11-15 06:13:20.123456789+08:00",
            "2023-11-14 22:13:20.5",
        ]
        statements = [
            f"INSERT INTO mappings VALUES ({n}, {n}, '', 1, '{spelling}')"
            for n, spelling in enumerate(spellings, 1)
        ]
        number = "INSERT INTO mappings VALUES (9, 9, '', 1, 1700000000)"
        mappings, faults = await self.migrated(FIRST, *statements, number)
        self.assertEqual(faults, [])
        self.assertEqual([m.created_at for m in mappings], [1_700_000_000] * 4)

    async def test_empty_table(self):
        """An older file without mappings is taken over too."""
        self.assertEqual(await self.migrated(FIRST), ([], []))

    async def test_ids_that_were_given_are_not_given_again(self):
        """The count goes on where the older release stood."""
        write_database(
            self.path,
            [
                FIRST,
                "INSERT INTO mappings VALUES (41, 1, '', 1, NULL)",
                "DELETE FROM mappings",
            ],
        )
        store = await self.opened()
        self.assertEqual((await store.insert(a_mapping())).id, 42)

    async def test_unreadable_rows_are_kept_and_told_at_each_load(self):
        """Nothing of an older file is lost, and the good rows go on."""
        write_database(
            self.path,
            [
                FIRST,
                f"INSERT INTO mappings VALUES (1, 70000, '', 22, '{DATE}')",
                f"INSERT INTO mappings VALUES (2, 'ssh', '', 22, '{DATE}')",
                f"INSERT INTO mappings VALUES (3, 3, '', NULL, '{DATE}')",
                "INSERT INTO mappings VALUES (4, 4, '', 22, 'yesterday')",
                f"INSERT INTO mappings VALUES (5, 5, x'00ff', 22, '{DATE}')",
                "INSERT INTO mappings VALUES (6, 6, CAST(x'ff' AS TEXT), 22, NULL)",
                f"INSERT INTO mappings VALUES (-7, 7, '', 22, '{DATE}')",
                f"INSERT INTO mappings VALUES (8, 8, '', 22, '{DATE}')",
            ],
        )
        store = await self.opened()
        loaded = await store.load()
        self.assertEqual(loaded.mappings, [older(8, 8, "", 22, True)])
        self.assertEqual(len(loaded.faults), 7)
        for word in ["70000", "'ssh'", "target_port None", "yesterday", "00ff", "-7"]:
            self.assertEqual(sum(word in one.text for one in loaded.faults), 1, word)
        await store.close()
        await store.open()
        self.assertEqual(await store.load(), loaded)
        kept = ask(self.path, "SELECT content FROM mappings_unreadable WHERE old_id=2")
        self.assertIn('"source_port": "ssh"', kept[0][0])

    async def test_two_rows_of_one_port(self):
        """Where the older table did not forbid it, the first row wins."""
        mappings, faults = await self.migrated(
            FIRST.replace("UNIQUE", ""),
            f"INSERT INTO mappings VALUES (1, 1, '', 22, '{DATE}')",
            f"INSERT INTO mappings VALUES (2, 1, '', 23, '{DATE}')",
        )
        self.assertEqual(mappings, [older(1, 1, "", 22, True)])
        self.assertIn("an earlier row has port 1", faults[0].text)

    async def test_older_file_is_kept_beside_the_new_one(self):
        """The way back to the older release stays open."""
        await self.migrated(FIRST, "INSERT INTO mappings VALUES (1, 1, '', 1, NULL)")
        kept = f"{self.path}.before-v{schema.SCHEMA_VERSION}"
        rows = ask(kept, "SELECT id, source_port FROM mappings")
        self.assertEqual(rows, [(1, 1)])
        self.assertEqual(os.stat(kept).st_mode & 0o777, 0o600)

    async def test_mappings_of_the_first_schema_ask_nothing_of_visitors(self):
        """They are as they were, and a copy of the file is kept."""
        with patch.object(schema, "MIGRATIONS", schema.MIGRATIONS[:1]):
            connection = sqlite3.connect(self.path, isolation_level=None)
            schema.migrate(connection, 0, NOW)
            connection.execute(
                "INSERT INTO mappings VALUES "
                "(7, 'tcp', 10022, '', '', 22, 1, NULL, 'ssh', '{}', 1, 2)"
            )
            connection.close()
        (mapping,), faults = await (await self.opened()).load()
        self.assertEqual(faults, [])
        self.assertEqual((mapping.id, mapping.name, mapping.port), (7, "ssh", 10022))
        self.assertEqual((mapping.rules, mapping.expires_at), (NO_RULES, None))
        self.assertTrue(mapping.enabled)

    async def test_targets_of_the_sixth_schema_become_a_list(self):
        """Nothing of a mapping is lost, and ids go on where they stood."""
        with patch.object(schema, "MIGRATIONS", schema.MIGRATIONS[:6]):
            connection = sqlite3.connect(self.path, isolation_level=None)
            schema.migrate(connection, 0, NOW)
            for number, port, host, use_tunnel, agent in (
                (3, 22, 'büro "1"', 1, "家"),
                (5, 80, "10.0.0.7", 0, None),
                (7, 81, "", 2, None),
                (9, 82, "", 1, None),
            ):
                connection.execute(
                    "INSERT INTO mappings VALUES "
                    "(?, 'tcp', ?, '::', ?, 8080, ?, ?, 'n', '{\"a\": \"b\"}', 1, 2, "
                    "'{\"max_connections\": 3}', 99, 0)",
                    (number, port, host, use_tunnel, agent),
                )
            connection.execute("DELETE FROM mappings WHERE id = 9")
            connection.close()
        store = await self.opened()
        loaded = await store.load()
        tunnel = Target(host='büro "1"', port=8080, use_tunnel=True, agent="家")
        direct = Target(host="10.0.0.7", port=8080, use_tunnel=False)
        self.assertEqual(
            [(one.id, one.port, one.targets) for one in loaded.mappings],
            [(3, 22, (tunnel,)), (5, 80, (direct,))],
        )
        first = loaded.mappings[0]
        self.assertEqual((first.listen, first.labels), ("::", {"a": "b"}))
        self.assertEqual(first.rules.max_connections, 3)
        self.assertEqual((first.expires_at, first.enabled), (99, False))
        (fault,) = loaded.faults
        self.assertEqual(fault.match, "tcp:81")
        self.assertEqual((await store.insert(a_mapping())).id, 10)

    async def test_new_and_current_files_need_no_copy(self):
        """Only what is migrated is copied."""
        store = await self.opened()
        await store.close()
        await store.open()
        await store.close()
        self.assertEqual(
            sorted(os.listdir(self.folder)), ["mappings.db", "mappings.db.lock"]
        )

    async def test_failed_migration_leaves_the_file_as_it_was(self):
        """A step is whole or absent, and can be tried again."""
        write_database(
            self.path,
            [FIRST, f"INSERT INTO mappings VALUES (1, 1, '', 1, '{DATE}')"],
        )
        before = contents(self.path)
        step = schema.MIGRATIONS[0]
        broken = step._replace(statements=(*step.statements, "CREATE TABLE oops("))
        with patch.object(schema, "MIGRATIONS", (broken,)):
            message = await self.refusal(StoreError, self.store().open())
        self.assertIn(self.path, message)
        self.assertEqual(contents(self.path), before)
        loaded = await (await self.opened()).load()
        self.assertEqual(loaded, ([older(1, 1, "", 1, True)], []))

    async def test_steps_before_a_failed_one_stay(self):
        """Each step brings its own number with it."""
        last = schema.SCHEMA_VERSION
        good = ("CREATE TABLE history(at INTEGER) STRICT",)
        bad = ("DROP TABLE history", "DROP TABLE nothing")
        steps = (
            *schema.MIGRATIONS,
            schema.Migration(last + 1, None, good),
            schema.Migration(last + 2, None, bad),
        )
        with patch.object(schema, "MIGRATIONS", steps):
            await self.refusal(StoreError, self.store().open())
        self.assertEqual(ask(self.path, "PRAGMA user_version"), [(last + 1,)])
        self.assertEqual(ask(self.path, "SELECT * FROM history"), [])

    def test_steps_are_numbered_without_gaps(self):
        """A step is found by its number."""
        numbers = [step.number for step in schema.MIGRATIONS]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))

    def test_new_tables_are_strict(self):
        """SQLite itself refuses a text where a number belongs."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(connection.close)
        schema.migrate(connection, 0, NOW)
        with self.assertRaisesRegex(sqlite3.IntegrityError, "TEXT value in INTEGER"):
            connection.execute(
                "INSERT INTO mappings VALUES "
                "(1, 'tcp:1', 'tcp', 'ssh', '', '[]', '', '{}', '{}', NULL, 1, 0, 0, 0)"
            )
