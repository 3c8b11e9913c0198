"""`gotunnel top` in a real terminal."""

from __future__ import annotations

import fcntl
import re
import struct
import termios
from typing import Any

from twisted.internet.protocol import ProcessProtocol

from tests.integration.processes import plain_environment, reactor, until
from tests.integration.rig import RigCase, script
from tests.integration.traffic import Echo, RawVisitor

STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen(ProcessProtocol):
    """A program that draws on a terminal.

    Attributes:
        drawn: all that it has written.
        ended: whether it is over.
    """

    def __init__(self) -> None:
        self.drawn = b""
        self.ended = False

    def outReceived(self, data: bytes) -> None:
        """Keep it."""
        self.drawn += data

    def processEnded(self, reason: object) -> None:
        """Note the end."""
        self.ended = True

    def type(self, keys: bytes) -> None:
        """Press keys, and forget what was drawn before."""
        self.drawn = b""
        transport: Any = self.transport
        transport.write(keys)

    async def shows(self, words: str) -> None:
        """Wait for words."""

        def shown() -> bool:
            return words in STYLES.sub("", self.drawn.decode("utf-8", "ignore"))

        await until(shown, f"it shows {words!r}")


class TopTests(RigCase):
    """An operator at a terminal."""

    def open_top(self, *options: str) -> Screen:
        screen = Screen()
        command = [script("gotunnel"), "top", *options]
        command += ["--url", f"http://127.0.0.1:{self.api_port}"]
        env = {**plain_environment(), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        process: Any = reactor.spawnProcess(
            screen, command[0], command, env=env, path=str(self.folder), usePTY=True
        )
        self.addCleanup(lambda: screen.ended or process.signalProcess("KILL"))
        size = struct.pack("HHHH", 30, 140, 0, 0)
        fcntl.ioctl(process.fileno(), termios.TIOCSWINSZ, size)
        return screen

    async def test_a_connection_is_seen_chosen_and_ended(self):
        await self.start_both()
        port = await self.map(self.serve(Echo(b"hello")), name="echo")
        first = await self.connect(RawVisitor(b"abc"), port)
        await first.hears(8)
        second = await self.connect(RawVisitor(b"abcdef"), port)
        await second.hears(11)
        top = self.open_top("--interval", "0.3", "--sort", "received")
        await top.shows("2 active")
        top.type(b"\x1b[B")
        top.type(b"k")
        await top.shows("end connection")
        top.type(b"y")
        await top.shows("ended: 127.0.0.1")
        await first.ends()
        self.assertTrue(second.connected)
        top.type(b"/192.0.2.1\r")
        await top.shows("0-0 of 0")
        top.type(b"q")
        await until(lambda: top.ended, "it ends")

    async def test_without_a_gateway_it_says_so_and_goes_on(self):
        gateway, _ = await self.start_both()
        top = self.open_top("--interval", "0.2")
        await top.shows("0 active")
        await gateway.kill()
        await top.shows("cannot reach the gateway")
        self.assertFalse(top.ended)
        top.type(b"q")
        await until(lambda: top.ended, "it ends")

    async def test_a_pipe_gets_one_screen(self):
        await self.start_both()
        port = await self.map(self.serve(Echo(b"hello")), name="echo [1]")
        visitor = await self.connect(RawVisitor(b"abc"), port)
        await visitor.hears(8)
        url = f"http://127.0.0.1:{self.api_port}"
        done = await self.run_program(script("gotunnel"), "top", "--url", url)
        self.assertIn("1 active", done.text())
        self.assertIn("echo [1]", done.text())
        self.assertNotIn("\x1b", done.text())
