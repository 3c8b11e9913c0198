"""`gotunnel server` and `gotunnel agent`: what they hand to twistd."""

import os
import subprocess
import sys
from pathlib import Path

from twisted.scripts import twistd
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli.exits import FailedError
from gateway.cli.process import option_words, own_pidfile
from tests.cli.cases import COMMAND, ENVIRON, run


class ProcessTests(SynchronousTestCase):
    """The command line of the twistd process."""

    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.started: list[list[str]] = []
        self.patch(twistd, "run", lambda: self.started.append(sys.argv))
        self.patch(sys, "argv", sys.argv)

    def words(self, *words):
        """Return what twistd is called with, less name, -n and pidfile."""
        result = run(*words, "--pidfile", "")
        self.assertEqual(result.exit_code, 0, result.output)
        (called,) = self.started
        self.assertEqual(called[1:3], ["--nodaemon", "--pidfile="])
        return called[3:]

    def test_the_gateway(self):
        words = ["--config", "gw.yaml", "--host", "::1", "--port", 8081, "--debug"]
        self.assertEqual(
            self.words("server", *words),
            ["gotunnel", "--config=gw.yaml", "--host=::1", "--port=8081", "--debug"],
        )

    def test_servers_are_tried_in_the_order_given(self):
        words = self.words("agent", "--server", "b", "--server", "a")
        self.assertEqual(words, ["gotunnel-agent", "--server=b", "--server=a"])

    def test_no_options_at_all(self):
        self.assertEqual(self.words("server"), ["gotunnel"])

    def test_the_agent(self):
        words = "-server gw:9000 --server b --name n --token-file t --check-config"
        repeated = "--expose 8080 --expose db:5432 --allow-target 10.0.0.0/8 -debug"
        plugin, *options = self.words("agent", *words.split(), *repeated.split())
        self.assertEqual(plugin, "gotunnel-agent")
        self.assertEqual(
            sorted(options),
            [
                "--allow-target=10.0.0.0/8",
                "--check-config",
                "--debug",
                "--expose=8080",
                "--expose=db:5432",
                "--name=n",
                "--server=b",
                "--server=gw:9000",
                "--token-file=t",
            ],
        )

    def test_words_of_options(self):
        options = {"a_b": "-x", "none": None, "no": False, "yes": True, "zero": 0}
        self.assertEqual(option_words(options), ["--a-b=-x", "--yes", "--zero=0"])

    def test_each_process_has_a_pidfile_of_its_own(self):
        self.patch(os, "environ", {"XDG_RUNTIME_DIR": str(self.folder)})
        names = {own_pidfile(role) for role in ("server", "agent")}
        pid = os.getpid()
        self.assertEqual(
            {name.name for name in names},
            {f"gotunnel-server-{pid}.pid", f"gotunnel-agent-{pid}.pid"},
        )
        self.assertEqual({name.parent for name in names}, {self.folder})

    def test_a_pidfile_left_by_a_dead_container_is_no_obstacle(self):
        """The same small numbers come back there."""
        self.patch(os, "environ", {"XDG_RUNTIME_DIR": str(self.folder)})
        own_pidfile("server").write_text(str(os.getpid()))
        self.assertFalse(own_pidfile("server").exists())

    def test_without_a_runtime_folder_a_private_one_is_made(self):
        self.patch(os, "environ", {"XDG_RUNTIME_DIR": str(self.folder / "none")})
        self.patch(sys.modules["tempfile"], "tempdir", str(self.folder))
        made = own_pidfile("server").parent
        self.assertEqual(made, self.folder / f"gotunnel-{os.getuid()}")
        self.assertEqual(made.stat().st_mode & 0o777, 0o700)
        self.assertEqual(own_pidfile("server").parent, made)

    def test_a_folder_that_others_can_write_to_is_not_trusted(self):
        self.patch(os, "environ", {})
        self.patch(sys.modules["tempfile"], "tempdir", str(self.folder))
        folder = self.folder / f"gotunnel-{os.getuid()}"
        folder.mkdir()
        folder.chmod(0o777)
        self.assertRaises(FailedError, own_pidfile, "server")
        folder.rmdir()
        folder.symlink_to(self.folder)
        self.assertRaises(FailedError, own_pidfile, "server")


class RealProcessTests(SynchronousTestCase):
    """The real thing, as far as its own check."""

    def check(self, role, text):
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "c.yaml").write_text(text)
        return subprocess.run(
            [*COMMAND, role, "--config=c.yaml", "--check-config"],
            cwd=folder,
            env=ENVIRON,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_a_good_configuration(self):
        for role, text in (("server", "log_level: warn\n"), ("agent", "name: home\n")):
            done = self.check(role, text)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("configuration ok", done.stdout)

    def test_a_wrong_configuration_is_a_failure(self):
        for role in ("server", "agent"):
            done = self.check(role, "nmae: x\n")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("nmae", done.stderr)
