"""The command as a process of its own, and servers that misbehave."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench.far import FarEnd
from tests.cli.cases import COMMAND, ENVIRON

SECONDS = 90.0  # far more than anything here takes
LOCALE = {"LANG": "C.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""}


class BenchCase(SynchronousTestCase):
    """Runs the command, and sees to it that nothing is left of it."""

    def setUp(self) -> None:
        self.mark = f"BENCH_TEST={uuid4()}"
        name, _, value = self.mark.partition("=")
        self.environ = {**ENVIRON, **LOCALE, name: value}
        self.addCleanup(self.assert_nothing_left)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Start `gotunnel bench`; it is killed at the end if it still runs."""
        return self._start([*COMMAND, "bench", *map(str, words)])

    def run_program(self, *argv: object) -> subprocess.Popen[str]:
        """Start another program, which is killed at the end if it still runs."""
        return self._start([*map(str, argv)])

    def _start(
        self, argv: list[str], *, errors: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            argv,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.end, process)
        return process

    def launch(self, argv: list[str], word: str) -> tuple[subprocess.Popen[str], str]:
        """Start a program that serves; return it and the line with `word`."""
        # a pipe that nobody reads would stop it
        process = self._start(argv, errors=subprocess.DEVNULL)
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        self.assertTrue(ready, f"{argv} says nothing")
        line = process.stdout.readline()
        self.assertIn(word, line)
        return process, line

    def end(self, process: subprocess.Popen[str]) -> None:
        """Kill a process if it still runs."""
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def run_bench(self, *words: object, code: int = 0) -> tuple[str, str]:
        """Run the command and return its output and its errors."""
        process = self.start(*words)
        output, errors = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, code, output + errors)
        self.assertNotIn("\x1b", output + errors)
        self.assertNotIn("Traceback", errors)
        return output, errors

    def measured(self, *words: object, code: int = 0) -> list[dict[str, Any]]:
        """Run the command and return the results of all modes."""
        output, _ = self.run_bench(*words, "--json", "-", code=code)
        document = json.loads(output)
        return [one for report in document["reports"] for one in report["results"]]

    def far_end(self) -> tuple[subprocess.Popen[str], int]:
        """Start a far end on any port; return it and the port."""
        words = [*COMMAND, "bench", "--listen", "0"]
        process, line = self.launch(words, "far end listening on 127.0.0.1:")
        return process, int(line.split(":")[1].split(";")[0])

    def assert_nothing_left(self) -> None:
        """No process that was started by the command lives."""
        mark = self.mark.encode()
        left = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        left.append((entry / "cmdline").read_text())
                except OSError:  # it has just ended, or is another user's
                    continue
        self.assertEqual(left, [])


class FarThread:
    """A far end in a thread of the test."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = listener.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=FarEnd(listener).run, args=(self._over.is_set,)
        )
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join(SECONDS)


class OddServer:
    """A server whose every connection is served by a function, in a thread."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._run, args=(sock,)))
            self._threads[-1].start()

    def _run(self, sock: socket.socket) -> None:
        with sock:
            try:
                self._serve(sock)
            except OSError:
                return

    def stop(self) -> None:
        """End every thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(SECONDS)


def greeted(sock: socket.socket) -> None:
    """Answer the first line as a far end does."""
    line = b""
    while not line.endswith(b"\n"):
        line += sock.recv(1)
    sock.sendall(b"gotunnel-bench 1 ok 0.5 0.1\n")


def messages(sock: socket.socket, size: int):
    """Yield every whole message."""
    held = b""
    while piece := sock.recv(size - len(held)):
        held += piece
        if len(held) == size:
            yield held
            held = b""


def plain_echo(sock: socket.socket) -> None:
    """Send everything back."""
    while piece := sock.recv(65536):
        sock.sendall(piece)
