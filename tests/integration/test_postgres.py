"""PostgreSQL through a mapping: queries, bulk rows and a short benchmark."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.integration.ports import take_ports
from tests.integration.processes import require
from tests.integration.rig import RigCase


def server_folder() -> Path:
    """Return the newest folder of server programs; skip the test without one."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    found = sorted(debian, key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    return Path(require("postgres")["postgres"]).parent


class PostgresTests(RigCase):
    """A cluster of our own behind the agent."""

    async def prepare(self) -> int:
        """Start everything; return the public port of the database."""
        require("psql", "pgbench")
        programs = server_folder()
        # the server's user must reach it, which it need not in the tests' folder
        place = Path(tempfile.mkdtemp(prefix="pg-"))
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        owner = self.owner(place)
        await self.run_program(
            *(programs / "initdb", "-D", place / "data", "-U", "tester"),
            *("-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"),
            user_ids=owner,
            folder=place,
        )
        port = take_ports()
        server = self.start(
            *(programs / "postgres", "-D", place / "data", "-k", place),
            *("-p", str(port), "-c", "listen_addresses=127.0.0.1"),
            *("-c", "fsync=off"),
            user_ids=owner,
            folder=place,
        )
        await self.start_both()
        await server.says("ready to accept connections")
        return await self.map(port)

    def owner(self, place: Path) -> tuple[int, int] | None:
        """Give the folder to the server's user, for the server refuses root."""
        if os.getuid() != 0:
            return None
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            raise SkipTest("no user postgres") from None
        os.chown(place, user.pw_uid, user.pw_gid)
        return user.pw_uid, user.pw_gid

    def login(self, port: int) -> list[str]:
        """Return the options that lead a client through the mapping."""
        return ["-h", "127.0.0.1", "-p", str(port), "-U", "tester"]

    async def test_psql(self):
        """Answers arrive, small ones and 20 MB of rows with their checksum."""
        port = await self.prepare()
        psql = [require("psql")["psql"], *self.login(port), "-d", "postgres"]
        psql += ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        small = await self.run_program(*psql, "-c", "select 6 * 7")
        self.assertEqual(small.text().strip(), "42")
        rows = "select n, repeat(md5(n::text), 6) from generate_series(1, 100000) n"
        await self.run_program(*psql, "-c", f"create table t as {rows}")
        copy = await self.run_program(*psql, "-c", "copy t to stdout")
        self.assertGreater(copy.output.stat().st_size, 19_000_000)
        await self.run_program(
            *(*psql, "-c", "create table u as table t with no data"),
            *("-c", f"\\copy u from {copy.output}"),
        )
        differing = "select count(*) from (table t except table u) as lost"
        lost = await self.run_program(*psql, "-c", differing)
        self.assertEqual(lost.text().strip(), "0")

    async def test_pgbench(self):
        """Eight clients work for a few seconds and no transaction fails."""
        port = await self.prepare()
        pgbench = [require("pgbench")["pgbench"], *self.login(port)]
        await self.run_program(*pgbench, "-i", "-q", "-s", "1", "postgres")
        bench = await self.run_program(*pgbench, "-c", "8", "-T", "3", "postgres")
        self.assertIn("number of failed transactions: 0", bench.text())
        counted = re.search(r"actually processed: (\d+)", bench.text())
        assert counted is not None
        self.assertGreater(int(counted[1]), 50)
