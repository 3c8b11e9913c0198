"""Connections to the far end, greeted and ready."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress
from typing import Final, NamedTuple

from gateway.bench.greeting import LONGEST_LINE, Command, Part, usage_of
from gateway.bench.usage import Usage
from gateway.errors import BenchError

DIAL_SECONDS: Final = 10.0  # from the start of a batch until its last answer
_BATCH: Final = 64  # connections dialled at one time


class Dialled(NamedTuple):
    """What came of dialling.

    Attributes:
        sockets: the connections that are ready, in blocking mode or not.
        lost: how many could not be made.
        fault: why the first of those could not, empty if all could.
        usage: what the far end had done by the last answer; None if it is a plain
            echo server.
    """

    sockets: list[socket.socket]
    lost: int
    fault: str
    usage: Usage | None


def dial(host: str, port: int, command: Command, count: int) -> Dialled:
    """Make connections to a literal address, many at a time."""
    sockets: list[socket.socket] = []
    fault, usage = "", None
    for first in range(0, count, _BATCH):
        deadline = time.monotonic() + DIAL_SECONDS
        batch = [_begin(host, port) for _ in range(min(_BATCH, count - first))]
        for step in (_say, _hear):
            for place, sock in enumerate(batch):
                if isinstance(sock, socket.socket):
                    try:
                        usage = step(sock, command, deadline)
                    except (OSError, ValueError) as error:
                        sock.close()
                        batch[place] = _reason(error)
        for one in batch:
            if isinstance(one, socket.socket):
                one.setblocking(False)
                sockets.append(one)
            else:
                fault = fault or one
    return Dialled(sockets, count - len(sockets), fault, usage)


def find(host: str, port: int, part: Part) -> tuple[str, Usage | None]:
    """Return the literal address at which the far end answers.

    Returns:
        the address, and what the far end has done so far; None if it is a plain
        echo server.

    Raises:
        BenchError: it does not answer, or cannot play `part`.
    """
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BenchError(f"{host} has no address: {error.strerror or error}") from None
    fault = "it has no address"
    for *_, address in dict.fromkeys(found):
        dialled = dial(str(address[0]), port, Command(part, 1), 1)
        for sock in dialled.sockets:
            sock.close()
            if dialled.usage is None and part is not Part.ECHO:
                raise BenchError(
                    f"{shown} only echoes; for one-way modes start the far end by "
                    "`gotunnel bench --listen`"
                )
            return str(address[0]), dialled.usage
        fault = dialled.fault
    raise BenchError(f"{shown}: {fault}")


def _begin(host: str, port: int) -> socket.socket | str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect((host, port))
    except OSError as error:
        return _reason(error)
    return sock


def _say(sock: socket.socket, command: Command, deadline: float) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    if not poll.poll(_left(deadline) * 1000):
        raise TimeoutError
    if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))
    sock.settimeout(_left(deadline))
    sock.sendall(command.line())


def _hear(sock: socket.socket, command: Command, deadline: float) -> Usage | None:
    answer = b""
    while not answer.endswith(b"\n") and len(answer) < LONGEST_LINE:
        sock.settimeout(_left(deadline))
        piece = sock.recv(LONGEST_LINE - len(answer))
        if not piece:
            raise ValueError("no far end answers there; the connection is closed")
        answer += piece
    return usage_of(answer, command.line())


def _left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {DIAL_SECONDS:g} seconds"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the connection was reset before the far end answered"
    return getattr(error, "strerror", None) or str(error)
