"""Free ports for the programs of a test run, also when runs go on side by side.

A run owns a block of ports by listening on the block's first one.  The blocks lie
below the ports that the system gives to outgoing connections.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

FIRST: Final = 20000
BLOCK: Final = 200
BLOCKS: Final = 60


class PortBlock:
    """The ports of this process, handed out in turn."""

    def __init__(self) -> None:
        self._guard, self._first = self._claim()
        self._next = 1

    @staticmethod
    def _claim() -> tuple[socket.socket, int]:
        for turn in range(BLOCKS):
            first = FIRST + (os.getpid() + turn) % BLOCKS * BLOCK
            guard = socket.socket()
            try:
                guard.bind(("127.0.0.1", first))
                guard.listen(1)
            except OSError as fault:
                guard.close()
                if fault.errno != errno.EADDRINUSE:
                    raise
            else:
                return guard, first
        raise AssertionError("every block of test ports is taken")

    def take(self, count: int = 1) -> int:
        """Return the first of `count` free ports in a row."""
        for _ in range(BLOCK):
            if self._next + count > BLOCK:
                self._next = 1
            start = self._first + self._next
            self._next += count
            if all(_is_free(port) for port in range(start, start + count)):
                return start
        raise AssertionError(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
            probe.listen(1)
        except OSError:
            return False
    return True


_block: PortBlock | None = None


def take_ports(count: int = 1) -> int:
    """Return the first of `count` ports in a row that nothing uses."""
    global _block
    if _block is None:
        _block = PortBlock()
    return _block.take(count)
