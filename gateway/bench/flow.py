"""Bytes in bulk, without a copy more than the kernel asks for."""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

BUFFER: Final = 1 << 20  # bytes; the longest single write and read

_NOWHERE: Final = memoryview(bytearray(BUFFER))
# without repetitions that something on the way could shorten
_POURED: Final = memoryview(os.urandom(BUFFER))
# Linux drops what arrives without copying it out of the kernel
_DROPPED: Final = socket.MSG_TRUNC if sys.platform == "linux" else 0


def new_room() -> memoryview:
    """Return scratch to read into, for one whose reads are over before the next."""
    return memoryview(bytearray(BUFFER))


def swallow(sock: socket.socket) -> int:
    """Read and forget what has arrived; return how many bytes, 0 at the end."""
    return sock.recv_into(_NOWHERE, BUFFER, _DROPPED)


def pour(sock: socket.socket, size: int) -> int:
    """Write up to `size` bytes at once; return how many were taken."""
    return sock.send(_POURED[:size])
