"""Options and endings of plain sockets.

`socket.SocketType` is the plain socket of the system, without what `socket.socket`
adds for files and duplicates, which nobody here needs.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

KEEPALIVE_SECONDS: Final = 30
UNSENT_BYTES: Final = 1 << 18
_KEEPIDLE: Final[int | None] = getattr(socket, "TCP_KEEPIDLE", None)
_UNSENT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_LINGER_NONE: Final = struct.pack("ii", 1, 0)


def set_options(sock: socket.SocketType) -> None:
    """Send small writes at once, and look for dead peers after 30 s of silence.

    A socket that is accepted inherits all of it from the listening one.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if _KEEPIDLE is not None:  # else two hours, as a rule
        sock.setsockopt(socket.IPPROTO_TCP, _KEEPIDLE, KEEPALIVE_SECONDS)


def queue_little(sock: socket.SocketType) -> None:
    """Let the kernel keep 256 KiB at most that it cannot send yet.

    What many streams share is better queued where the next byte can still be chosen:
    a message written behind megabytes of somebody else's waits for all of them.  What
    is under way to the far end does not count.

    A socket that is accepted inherits it from the listening one; a kernel that knows
    nothing of it goes without.
    """
    if _UNSENT is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _UNSENT, UNSENT_BYTES)


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


def reset(sock: socket.SocketType) -> None:
    """Close `sock` so that its peer sees a reset."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    except OSError:
        pass  # the connection is gone already
    finally:
        sock.close()
