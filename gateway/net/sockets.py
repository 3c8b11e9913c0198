"""Options and endings of plain sockets."""

from __future__ import annotations

import socket
import struct
from typing import Final

_LINGER_NONE: Final = struct.pack("ii", 1, 0)


def set_options(sock: socket.socket) -> None:
    """Send small writes at once and notice dead peers.

    A socket that is accepted inherits both from the listening one.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def reset(sock: socket.socket) -> None:
    """Close `sock` so that its peer sees a reset."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    except OSError:
        pass  # the connection is gone already
    finally:
        sock.close()
