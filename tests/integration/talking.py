"""Plain sockets that talk through a gateway, from a thread."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final

from tests.integration.processes import Program

MESSAGE: Final = bytes(1024)


def connect(port: int) -> socket.socket:
    """Return a plain connection to a port of this machine."""
    return socket.create_connection(("127.0.0.1", port), 20)


def exchange(talkers: list[socket.socket]) -> None:
    """Send a message on each connection, and take its echo."""
    for sock in talkers:
        sock.sendall(MESSAGE)
    for sock in talkers:
        left = len(MESSAGE)
        while left:
            left -= len(sock.recv(left))


def cpu_seconds(programs: Iterable[Program]) -> float:
    """Return the processor time that programs have used."""
    return sum(program.cpu_seconds() for program in programs)
