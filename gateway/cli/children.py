"""Child processes that run twistd and never outlive their parent."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from gateway.cli.exits import FailedError
from gateway.cli.output import printable_lines

STOP_SECONDS: Final = 10.0
_TAIL_LINES: Final = 15
_TWISTD: Final = "from twisted.scripts.twistd import run; run()"


class Children:
    """The processes of one run, stopped together."""

    def __init__(self, folder: Path) -> None:
        """Remember where they run; their output goes there too."""
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # settings of whoever runs this are not meant for the children
        self._environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GOTUNNEL_")
        }

    def start(self, name: str, plugin: str, *words: str) -> None:
        """Start a twistd plugin in a process group of its own.

        Ctrl-C in a terminal then reaches the parent alone, which stops the children
        in order.
        """
        command = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", plugin]
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - our own words
                [*command, *words],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def check(self) -> None:
        """Return if all of them run.

        Raises:
            FailedError: one has ended; the message has its last words.
        """
        for name, child in self._running.items():
            if (code := child.poll()) is not None:
                raise FailedError(
                    f"the {name} ended with status {code}\n{self.last_words()}"
                )

    def last_words(self) -> str:
        """Return the end of what each of them wrote."""
        lines: list[str] = []
        for name in self._running:
            text = self._log(name).read_text("utf-8", errors="replace")
            lines += [f"-- {name}:", *text.splitlines()[-_TAIL_LINES:]]
        return printable_lines("\n".join(lines))

    def stop(self) -> None:
        """End them, the youngest first; those that do not listen are killed."""
        while self._running:
            _name, child = self._running.popitem()
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}.log"
