"""`gotunnel demo` as a user runs it: it works, and leaves nothing behind."""

import os
import re
import signal
import socket
from pathlib import Path
from urllib.request import urlopen

from twisted.internet.threads import deferToThread

from tests.cli.cases import COMMAND, ENVIRON
from tests.integration.processes import Program, ProgramsCase

SECONDS = 90.0


def fetch(url):
    """Return what a web server answers."""
    with urlopen(url, timeout=20) as response:
        return response.read()


class DemoTests(ProgramsCase):
    """Gateway, agent and web site, started and stopped by one command."""

    def setUp(self) -> None:
        super().setUp()
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()

    def start_demo(self, *words: str) -> Program:
        environ = {**ENVIRON, "TMPDIR": str(self.temporary)}
        return self.start(*COMMAND, "demo", *words, name="demo", env=environ)

    def assert_nothing_left(self, demo: Program) -> None:
        """No folder, no process, no port."""
        self.assertEqual(list(self.temporary.iterdir()), [])
        self.assertEqual(self.processes(), [])
        ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", demo.text())}
        for port in ports:
            with socket.socket() as probe:
                refused = probe.connect_ex(("127.0.0.1", port))
            self.assertNotEqual(refused, 0, f"port {port} is still open")

    def processes(self) -> list[str]:
        """Return the processes that this test's demonstrations have started."""
        mark = f"TMPDIR={self.temporary}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append((entry / "cmdline").read_text())
                except OSError:  # it has just ended, or is another user's
                    continue
        return found

    async def test_once(self) -> None:
        """The page comes through the public port, byte for byte."""
        demo = self.start_demo("--once")
        self.assertEqual(await demo.ended(SECONDS), 0)
        text = demo.text()
        for name in ("index.html", "style.css", "picture.svg"):
            self.assertIn(f"the very bytes of {name}", text)
        self.assertIn("it works", text)
        self.assertNotIn("\x1b", text)
        self.assert_nothing_left(demo)

    async def test_it_stays_up_until_it_is_told_to_end(self) -> None:
        """Meanwhile, anybody can open the page at the address it prints."""
        demo = self.start_demo()
        await demo.says("Ctrl-C stops everything", SECONDS)
        match = re.search(r"^open +(http\S+)$", demo.text(), re.MULTILINE)
        assert match is not None, demo.tail()
        page = await deferToThread(fetch, match[1])
        self.assertIn(b"Hello from behind the tunnel", page)
        demo.signal(signal.SIGINT)
        self.assertEqual(await demo.ended(SECONDS), 0)
        self.assert_nothing_left(demo)

    async def test_it_can_be_ended_in_the_middle(self) -> None:
        """At any step; the exit code tells that it was not all."""
        for step in ("2.", "3.", "4."):
            demo = self.start_demo("--once")
            await demo.says(f"\n{step} ", SECONDS)
            demo.signal(signal.SIGTERM)
            self.assertEqual(await demo.ended(SECONDS), 1, demo.tail())
            self.assert_nothing_left(demo)

    async def test_it_can_be_ended_while_it_goes_on(self) -> None:
        """With a mapping that is made and a page on its way."""
        demo = self.start_demo()
        await demo.says("\n5. ", SECONDS)
        demo.signal(signal.SIGTERM)
        self.assertIn(await demo.ended(SECONDS), (0, 1), demo.tail())
        self.assert_nothing_left(demo)

    async def test_a_taken_port_is_a_failure_that_is_explained(self) -> None:
        """The last words of the process that could not start are shown."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            demo = self.start_demo("--once", "--port-base", str(port - 1))
            self.assertEqual(await demo.ended(SECONDS), 1)
        self.assertRegex(demo.text(), r"in use|ended with status")
        self.assertEqual(self.processes(), [])
        self.assertEqual(list(self.temporary.iterdir()), [])
