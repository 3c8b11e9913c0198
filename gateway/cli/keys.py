"""Single keys from a terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Final

UP: Final = "up"
DOWN: Final = "down"
PAGE_UP: Final = "page up"
PAGE_DOWN: Final = "page down"
ESCAPE: Final = "escape"
ENTER: Final = "enter"
BACKSPACE: Final = "backspace"
END_OF_INPUT: Final = "end of input"

_SEQUENCES: Final = {
    b"\x1b[A": UP,
    b"\x1b[B": DOWN,
    b"\x1bOA": UP,
    b"\x1bOB": DOWN,
    b"\x1b[5~": PAGE_UP,
    b"\x1b[6~": PAGE_DOWN,
    b"\x1b": ESCAPE,
    b"\r": ENTER,
    b"\n": ENTER,
    b"\x7f": BACKSPACE,
    b"\x08": BACKSPACE,
    b"\x04": END_OF_INPUT,
}
_LONGEST: Final = 32


def key_of(typed: bytes) -> str | None:
    """Return the name of a key, or the letter that it is; None = of no use."""
    named = _SEQUENCES.get(typed)
    if named is not None:
        return named
    text = typed.decode("utf-8", "ignore")
    return text[0] if text and text[0].isprintable() else None


def _is_whole(typed: bytes) -> bool:
    last = typed[-1:]
    return typed != b"\x1bO" and (last.isalpha() or last == b"~")


class Keyboard:
    """The terminal's keys, one by one and unseen, as long as the context lasts."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._before: list[Any] = []

    def __enter__(self) -> Keyboard:
        """Switch lines and echo off."""
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def read(self, seconds: float) -> str | None:
        """Return the next key; None if there is none in that time."""
        ready, _, _ = select.select([self._fd], [], [], max(0.0, seconds))
        if not ready:
            return None
        typed = os.read(self._fd, 1)
        if not typed:
            return END_OF_INPUT
        if typed == b"\x1b" or typed[0] >= 0xC0:  # more of it is there already
            while len(typed) < _LONGEST and select.select([self._fd], [], [], 0)[0]:
                typed += os.read(self._fd, 1)
                if _is_whole(typed):
                    break
        return key_of(typed)
