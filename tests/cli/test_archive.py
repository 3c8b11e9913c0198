"""`gotunnel backup` and `gotunnel restore` on real files."""

import json
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cases import run


class ArchiveTests(SynchronousTestCase):
    """A database of a gateway, by its path or by its configuration."""

    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.database = self.folder / "mappings.db"
        self.copy = self.folder / "copy.db"
        self.write(self.database, 10022)

    def write(self, path, port):
        """Write a database as the first releases had it."""
        with sqlite3.connect(path) as connection:
            connection.executescript(
                "CREATE TABLE mappings (id INTEGER PRIMARY KEY AUTOINCREMENT,"
                " source_port INTEGER UNIQUE NOT NULL, target_ip TEXT,"
                " target_port INTEGER, created_at DATETIME);"
                "INSERT INTO mappings (source_port, target_ip, target_port, created_at)"
                f" VALUES ({port}, '127.0.0.1', 22, '2024-01-01 12:00:00');"
            )
        connection.close()

    def ports(self, path):
        connection = sqlite3.connect(path)
        try:
            return [
                port
                for (port,) in connection.execute("SELECT source_port FROM mappings")
            ]
        finally:
            connection.close()

    def run_command(self, *words, expect=0, **kwargs):
        result = run(*words, **kwargs)
        self.assertEqual(result.exit_code, expect, result.output)
        return result

    def test_back_and_forth(self):
        self.run_command("backup", self.copy, "--database", self.database)
        self.assertEqual(self.ports(self.copy), [10022])
        self.database.unlink()
        self.write(self.database, 10033)
        result = self.run_command(
            "restore", self.copy, "--database", self.database, typed="y\n"
        )
        self.assertIn("kept as", result.stdout)
        self.assertEqual(self.ports(self.database), [10022])

    def test_the_configuration_names_the_database(self):
        config = self.folder / "gw.yaml"
        config.write_text(f"database: {{path: '{self.database}'}}\n")
        output = self.run_command("backup", self.copy, "--config", config, "--json")
        self.assertEqual(json.loads(output.stdout)["database"], str(self.database))

    def test_so_does_the_environment(self):
        env = {"GOTUNNEL_DATABASE__PATH": str(self.database)}
        self.run_command("backup", self.copy, env=env)
        self.assertEqual(self.ports(self.copy), [10022])

    def test_a_file_is_overwritten_by_force_only(self):
        self.copy.write_text("mine")
        words = ["backup", self.copy, "--database", self.database]
        self.assertIn("exists", self.run_command(*words, expect=1).stderr)
        self.assertEqual(self.copy.read_text(), "mine")
        self.run_command(*words, "--force")
        self.assertEqual(self.ports(self.copy), [10022])

    def test_no_means_no(self):
        self.write(self.copy, 10033)
        words = ["restore", self.copy, "--database", self.database]
        self.run_command(*words, typed="n\n", expect=1)
        self.assertEqual(self.ports(self.database), [10022])
        output = self.run_command(*words, "--yes", "--json").stdout
        kept = json.loads(output)["kept"]
        self.assertEqual(self.ports(kept), [10022])

    def test_what_cannot_be_done_is_said(self):
        config = self.folder / "gw.yaml"
        config.write_text("databse: {}\n")
        for words, expect in (
            (["--database", self.folder / "none"], 1),
            (["--config", config], 1),
            (["--config", config, "--database", self.database], 2),
        ):
            result = self.run_command("backup", self.copy, *words, expect=expect)
            self.assertIn("Error: ", result.stderr)
        self.assertFalse(self.copy.exists())
