"""What stops a process from starting, and what it says then."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.processes import Program, require, until
from tests.integration.rig import RigCase, script, twistd
from tests.integration.traffic import Plan, Target

SECRET = "do-not-print-this-secret"


class CheckConfigTests(RigCase):
    """`--check-config` judges a file and touches nothing."""

    async def test_bad_gateway_file(self):
        """All problems are printed, each with its place, and no secret."""
        path = self.gateway_config(
            tunel={"listen_port": 9000},
            api={"listen_port": "no port"},
            port_range={"from": 300, "end": 200},
            tunnel={"auth_token": SECRET, "port_offset": -1},
        )
        checked = await self.run_program(
            *(*twistd("gotunnel", path), "--check-config"), expect=1
        )
        said = checked.text()
        for words in (
            "tunel",
            "tunnel",
            "api.listen_port",
            "port_range",
            "port_offset",
        ):
            self.assertIn(words, said)
        self.assertNotIn(SECRET, said)
        self.assertFalse((self.folder / "mappings.db").exists())

    async def test_bad_agent_file(self):
        path = self.agent_config(
            "default", conections=2, name="no name!", allow_targets=["x/99"]
        )
        checked = await self.run_program(
            *(*twistd("gotunnel-agent", path), "--check-config"), expect=1
        )
        for words in ("conections", "connections", "name", "allow_targets"):
            self.assertIn(words, checked.text())

    async def test_good_files(self):
        """Nothing is opened and nothing is made."""
        for plugin, path in (
            ("gotunnel", self.gateway_config()),
            ("gotunnel-agent", self.agent_config()),
        ):
            await self.run_program(*twistd(plugin, path), "--check-config")
        self.assertFalse((self.folder / "mappings.db").exists())

    async def test_shipped_files(self):
        """The examples are right as they are."""
        etc = Path(__file__).parents[2] / "etc"
        for plugin, name in (("gotunnel", "gw.yaml"), ("gotunnel-agent", "agent.yaml")):
            await self.run_program(*twistd(plugin, etc / name), "--check-config")

    async def test_bad_file_stops_the_start(self):
        """Without `--check-config` the same problems end the start."""
        self.gateway_config(api={"listen_port": 70000})
        gateway = self.launch_gateway()
        self.assertEqual(await gateway.ended(), 1, gateway.tail())
        self.assertIn("api.listen_port", gateway.text())


class RefusedStartTests(RigCase):
    """A gateway that cannot work ends with one clear error."""

    async def assert_refused(self, gateway: Program, *words: str) -> None:
        """Check the exit code, and that the log says `words`."""
        self.assertEqual(await gateway.ended(), 1, gateway.tail())
        for word in words:
            self.assertIn(word, gateway.text())

    def database(self) -> Path:
        """Write the configuration and return where its database will be."""
        self.gateway_config()
        return self.folder / "mappings.db"

    async def test_corrupt_database(self):
        path = self.database()
        path.write_bytes(b"this is no database" * 1000)
        await self.assert_refused(self.launch_gateway(), str(path))
        self.assertEqual(path.read_bytes(), b"this is no database" * 1000)

    async def test_newer_database(self):
        gateway = await self.start_gateway()
        gateway.signal()
        await gateway.ended()
        path = self.folder / "mappings.db"
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 999")
        await self.assert_refused(self.launch_gateway(), str(path), "999")

    async def test_read_only_database(self):
        place = self.folder / "store"
        path = place / "mappings.db"
        gateway = await self.start_gateway(database={"path": str(path)})
        gateway.signal()
        await gateway.ended()
        for part in place.iterdir():
            part.chmod(0o444)
        place.chmod(0o555)
        self.addCleanup(place.chmod, 0o755)
        await self.assert_refused(self.launch_unprivileged(), str(path))

    def launch_unprivileged(self) -> Program:
        """Start the gateway so that file permissions hold for it, also for root."""
        command = twistd("gotunnel", self.folder / "gateway.yaml")
        if os.getuid() == 0:
            lost = "-dac_override,-dac_read_search,-fowner"
            command = [
                require("setpriv")["setpriv"],
                f"--bounding-set={lost}",
                *command,
            ]
        return self.start(*command, name="gateway")

    async def test_folder_that_cannot_be_made(self):
        (self.folder / "file").write_text("")
        self.gateway_config(database={"path": str(self.folder / "file" / "db")})
        await self.assert_refused(self.launch_gateway(), "file", "not a folder")

    async def test_second_gateway_on_the_same_ports(self):
        """The second one names a port; the first one goes on."""
        first = await self.start_gateway()
        self.gateway_config(database={"path": str(self.folder / "other.db")})
        await self.assert_refused(self.launch_gateway(), str(self.link_port))
        self.assertIsNone(first.exit_code)
        await self.start_agent()
        await self.exchange(await self.map(self.serve(Target())), Plan(1, 10, 10))

    async def test_second_gateway_on_the_same_database(self):
        """The second one names the file; the first one goes on."""
        await self.start_gateway()
        await self.map(22)
        api_port = self.api_port
        self.choose_ports()
        self.gateway_config()
        second = self.launch_gateway()
        await self.assert_refused(second, "mappings.db")
        self.api_port = api_port
        self.assertEqual(len(await self.mappings()), 1)


class DaemonTests(RigCase):
    """In the background, with a pidfile and a log file."""

    async def test_daemon(self):
        """It starts, serves, and ends on the signal that its pidfile leads to."""
        path = self.gateway_config()
        pidfile, log = self.folder / "gateway.pid", self.folder / "gateway.log"
        command = [script("twistd"), f"--pidfile={pidfile}", f"--logfile={log}"]
        await self.run_program(*command, "gotunnel", "--config", path)
        await until(pidfile.exists, "the pidfile is there")
        pid = int(pidfile.read_text())
        self.addCleanup(self.kill_daemon, pid)
        await until(self.health, "the gateway answers")
        again = await self.run_program(
            *command, "gotunnel", "--config", path, expect=None
        )
        self.assertNotEqual(again.exit_code, 0)
        os.kill(pid, signal.SIGTERM)
        await until(lambda: not pidfile.exists(), "the pidfile is gone")
        await until(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")
        self.assertNotIn("Traceback", log.read_text())

    def kill_daemon(self, pid: int) -> None:
        """End it if the test has not."""
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
