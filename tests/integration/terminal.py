"""Run a command on a terminal of its own, which SIGUSR1 closes.

    python -m tests.integration.terminal COMMAND...

Prints `started PID`, `closed` and `ended STATUS`.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import threading

LOOK_SECONDS = 0.02


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(command: list[str]) -> None:
    """Run the command until it ends."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    told: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: told.append(number))
    _say(f"started {pid}")
    is_open, never = True, threading.Event()
    ended, status = 0, 0
    while not ended:
        if told and is_open:
            is_open = False
            os.close(terminal)
            _say("closed")
        if is_open:
            _drain(terminal)
        never.wait(LOOK_SECONDS)
        ended, status = os.waitpid(pid, os.WNOHANG)
    _say(f"ended {os.waitstatus_to_exitcode(status)}")


def _drain(terminal: int) -> None:
    """Read what the command has written, as a terminal does."""
    with contextlib.suppress(OSError):  # nobody has it open
        while select.select([terminal], [], [], 0)[0]:
            os.read(terminal, 65536)


if __name__ == "__main__":
    main(sys.argv[1:])
