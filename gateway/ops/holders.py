"""Which process listens on a port of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

_LISTENING: Final = "0A"
_OURS: Final = frozenset({"gotunnel", "gotunnel-agent"})


class Holder(NamedTuple):
    """Who listens on a port.

    Attributes:
        pid: of the process; None = it belongs to another user, who alone may see it.
        command: its command line; empty if it is not known.
    """

    pid: int | None
    command: str

    @property
    def is_ours(self) -> bool:
        """Whether it looks like a gateway or an agent."""
        return any(os.path.basename(word) in _OURS for word in self.command.split())

    def __str__(self) -> str:
        if self.pid is None:
            return "a process of another user"
        return f"process {self.pid} ({self.command[:100].strip() or 'without a name'})"


def holder_of(port: int, read: Callable[[str], str | None]) -> Holder | None:
    """Return who listens on a port; None = nobody does.

    Args:
        port: 1..65535.
        read: returns the text of a file, or None.
    """
    inodes = {
        inode
        for file in ("/proc/net/tcp", "/proc/net/tcp6")
        for inode in _inodes(read(file) or "", port)
    }
    if not inodes:
        return None
    names = {f"socket:[{inode}]" for inode in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if _holds(pid, names):
            words = (read(f"/proc/{pid}/cmdline") or "").split("\0")
            return Holder(int(pid), " ".join(words))
    return Holder(None, "")


def _inodes(table: str, port: int) -> list[str]:
    rows = [line.split() for line in table.splitlines()[1:]]
    return [
        row[9]
        for row in rows
        if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port
    ]


def _holds(pid: str, names: set[str]) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in names:
                    return True
    return False
