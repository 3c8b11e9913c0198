"""Options and endings of plain sockets.

`socket.SocketType` is the plain socket of the system, without what `socket.socket`
adds for files and duplicates, which nobody here needs.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

KEEPALIVE_SECONDS: Final = 30
# smaller values cost a single bulk stream CPU: more, and smaller, splices
UNSENT_BYTES: Final = 1 << 19
LINK_UNSENT_BYTES: Final = 1 << 18
UNREAD_BYTES: Final = 1 << 20  # the kernel doubles what it is told
FLUSH_SECONDS: Final = 30
_KEEPIDLE: Final[int | None] = getattr(socket, "TCP_KEEPIDLE", None)
_UNSENT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_USER_TIMEOUT: Final[int | None] = getattr(socket, "TCP_USER_TIMEOUT", None)
_IS_LINUX: Final = sys.platform == "linux"
_MEMINFO: Final = 55  # SO_MEMINFO: nine numbers of 32 bits
_MEMINFO_BYTES: Final = 36
_MEMORY: Final = struct.Struct("=I16xI12x")
_INFO: Final = getattr(socket, "TCP_INFO", 11)
_INFO_BYTES: Final = 128  # of them, up to the number that is wanted
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")
_LINGER_NONE: Final = struct.pack("ii", 1, 0)


def set_options(sock: socket.SocketType) -> None:
    """Send small writes at once, queue little, and probe peers silent for 30 s.

    The kernel keeps 512 KiB at most that it cannot send yet, instead of up to 4 MiB: a
    peer that does not read pins no more than that.  What is under way to the peer does
    not count, so long fat paths are as fast as before.

    An accepted socket inherits all of it from the listening one.  A kernel that lacks
    an option goes without it.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if _KEEPIDLE is not None:  # else two hours, as a rule
        sock.setsockopt(socket.IPPROTO_TCP, _KEEPIDLE, KEEPALIVE_SECONDS)
    if _UNSENT is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _UNSENT, UNSENT_BYTES)


def queue_little(sock: socket.SocketType) -> None:
    """Let the kernel keep only 256 KiB that it cannot send yet.

    What many streams share is better queued where the next byte can still be chosen:
    a message written behind megabytes of somebody else's waits for all of them.
    """
    if _UNSENT is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _UNSENT, LINK_UNSENT_BYTES)


def acceptor(
    sock: socket.socket,
) -> Callable[[], tuple[socket.SocketType, tuple[str, int]]]:
    """Return what accepts one connection: a plain socket, and its peer's address.

    What `socket.accept` does in Python takes longer than the system's part of it, so
    that is left out where this Python has the part.
    """
    accept = getattr(sock, "_accept", None)
    if accept is None:
        return sock.accept
    family = int(sock.family)  # an enum would be looked up each time

    def accept_plainly() -> tuple[socket.SocketType, tuple[str, int]]:
        fd, name = accept()
        return socket.SocketType(family, socket.SOCK_STREAM, 0, fd), name

    return accept_plainly


def is_bound(fd: int, host: str, port: int) -> bool:
    """Return whether a descriptor is a socket that is bound to a local place.

    Args:
        fd: may be closed, or be something else by now.
        host: literal address, as `getsockname` has it.
        port: 1..65535.
    """
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            name = sock.getsockname()
    except OSError:
        return False
    return tuple(name[:2]) == (host, port)


def receive_little(sock: socket.SocketType) -> None:
    """Let the kernel receive no more than 1 MiB that nobody has read.

    On the way to a target on this machine a packet has 64 KiB, after which the kernel
    lets its buffer grow to several mebibytes, and a visitor that does not read pins it
    all.  There is no round trip that would need more.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES // 2)


def reset(sock: socket.SocketType) -> None:
    """Close `sock` so that its peer sees a reset."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    except OSError:
        pass  # the connection is gone already
    finally:
        sock.close()


def close(sock: socket.SocketType) -> None:
    """Close `sock` in order; the kernel goes on sending what it has.

    It gives up when the peer takes nothing for 30 s.  By itself it would keep up to
    256 KiB for several minutes, which nobody could count any more.
    """
    if _USER_TIMEOUT is not None:
        with suppress(OSError):  # the connection is gone already
            sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, FLUSH_SECONDS * 1000)
    sock.close()


def kernel_bytes(sock: socket.SocketType) -> tuple[int, int]:
    """Return the memory that the kernel uses for a connection, if it says so.

    Returns:
        Bytes for what was received and not read, and for what the peer has not
        acknowledged; both are 0 where the system has no such question.
    """
    if not _IS_LINUX:
        return 0, 0
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, _MEMINFO, _MEMINFO_BYTES)
        unread, unacknowledged = _MEMORY.unpack(found)
    except (OSError, struct.error):
        return 0, 0
    return unread, unacknowledged


def acknowledged(sock: socket.SocketType) -> int | None:
    """Return how many bytes the peer has acknowledged; None if nobody knows."""
    if not _IS_LINUX:
        return None
    try:
        found = sock.getsockopt(socket.IPPROTO_TCP, _INFO, _INFO_BYTES)
        return int(_ACKNOWLEDGED.unpack(found)[0])
    except (OSError, struct.error):
        return None
