"""Signals that come before the process is ready for them; importing this holds them.

The default action of SIGHUP, SIGUSR1 and SIGUSR2 ends a process, so a reload or a
rotation in its first second would.  Each is noted until `release` says which came.
The module imports nothing that takes time.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from types import FrameType
from typing import Final

HELD: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_TERMINAL: Final = "/dev/tty"
_GONE: Final = frozenset({errno.ENXIO, errno.EIO, errno.ENODEV, errno.ENOENT})


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        descriptor = os.open(_TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as fault:
        return fault.errno not in _GONE
    os.close(descriptor)
    return True


class Terminal:
    """The controlling terminal that the process was started from."""

    def __init__(self) -> None:
        self._session = os.getsid(0) if has_terminal() else None

    def is_gone(self) -> bool:
        """Return whether there was one, which is closed now.

        A daemon has left its terminal: it is in another session.
        """
        return self._session == os.getsid(0) and not has_terminal()


class EarlySignals:
    """What has happened before signals were handled.

    Attributes:
        terminal: the one that the process was started from.
        hang_ups_ignored: whether SIGHUP was ignored at the start, as by `nohup`.
    """

    def __init__(self) -> None:
        self.terminal = Terminal()
        self.hang_ups_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._noted: list[int] = []

    def hold(self) -> None:
        """Note signals from now on, in place of their default action."""
        for number in HELD:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number not in self._noted:
            self._noted.append(number)

    def release(self) -> list[int]:
        """Return each signal that was noted, once, in the order they came."""
        noted, self._noted = self._noted, []
        return noted


EARLY: Final = EarlySignals()
if threading.current_thread() is threading.main_thread():
    EARLY.hold()
