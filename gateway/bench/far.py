"""The far end of a load: echo, source and sink behind one port.

Also a program: its argument is the descriptor of the listening socket, and it ends
when its standard input does.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol

from gateway.bench.flow import new_room, pour, swallow
from gateway.bench.greeting import (
    LONGEST_LINE,
    START,
    STEP,
    Command,
    Part,
    answer_line,
)
from gateway.bench.polling import READABLE, WRITABLE, new_poll
from gateway.bench.usage import used

GREETING_SECONDS: Final = 10.0
_TICK_SECONDS: Final = 0.25
_WRITES_A_TURN: Final = 4


class Lane(Protocol):
    """One connection in the part that it plays.

    Attributes:
        wants: what it waits for; asked again after each turn.
    """

    wants: int

    def turn(self, sock: socket.socket) -> Lane | None:
        """Do what can be done now.

        Returns:
            what the connection plays from now on; None if it has ended.

        Raises:
            OSError: the connection is gone.
        """


class _Greeted:
    """Waits for the command."""

    __slots__ = ("_line", "_room", "since", "wants")

    def __init__(self, now: float, room: memoryview) -> None:
        self.wants = READABLE
        self.since = now
        self._room = room
        self._line = b""

    def turn(self, sock: socket.socket) -> Lane | None:
        piece = sock.recv(LONGEST_LINE - len(self._line))
        self._line += piece
        if not piece:
            return None
        if not self._line.endswith(b"\n"):
            return self if len(self._line) < LONGEST_LINE else None
        try:
            command = Command.of_line(self._line)
        except ValueError:
            return None
        sock.sendall(answer_line(used()))
        if command.part is Part.SOURCE:
            return _Source(command.size)
        return _Sink() if command.part is Part.SINK else _Echo(self._room)


class _Echo:
    """Sends back what comes; what does not fit waits, and nothing is read then."""

    __slots__ = ("_room", "_waiting", "wants")

    def __init__(self, room: memoryview) -> None:
        self.wants = READABLE
        self._room = room
        self._waiting = memoryview(b"")

    def turn(self, sock: socket.socket) -> Lane | None:
        if self._waiting:
            self._waiting = self._waiting[sock.send(self._waiting) :]
            self.wants = WRITABLE if self._waiting else READABLE
            return self
        count = sock.recv_into(self._room)
        if not count:
            return None
        try:
            sent = sock.send(self._room[:count])
        except BlockingIOError:
            sent = 0
        if sent < count:
            self._waiting = memoryview(bytes(self._room[sent:count]))
            self.wants = WRITABLE
        return self


class _Source:
    """Pours from the first byte that comes to the end."""

    __slots__ = ("_size", "wants")

    def __init__(self, size: int) -> None:
        self.wants = READABLE
        self._size = size

    def turn(self, sock: socket.socket) -> Lane | None:
        if self.wants == READABLE:
            if sock.recv(1) != START:
                return None
            self.wants = WRITABLE
        for _ in range(_WRITES_A_TURN):
            pour(sock, self._size)
        return self


class _Sink:
    """Swallows, and tells how much."""

    __slots__ = ("_swallowed", "wants")

    def __init__(self) -> None:
        self.wants = READABLE
        self._swallowed = 0

    def turn(self, sock: socket.socket) -> Lane | None:
        count = swallow(sock)
        before = self._swallowed // STEP
        self._swallowed += count
        if self._swallowed // STEP > before:
            # a few bytes, for which there is always room
            sock.sendall(self._swallowed.to_bytes(8, "big"))
        return self if count else None


class FarEnd:
    """Serves every connection of a listening socket."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited
        self._listener = listener
        self._accepts = False
        self._room = new_room()  # for all lanes: each is done with it in its turn
        self._poll = new_poll()
        self._lanes: dict[int, tuple[socket.socket, Lane]] = {}
        self._silent: dict[int, _Greeted] = {}

    def run(self, is_over: Callable[[], bool]) -> None:
        """Serve until `is_over`, which is asked every quarter of a second."""
        next_tick = 0.0
        try:
            while True:
                now = time.monotonic()
                if now >= next_tick:
                    if is_over():
                        return
                    self._tick(now)
                    next_tick = now + _TICK_SECONDS
                self._turn(next_tick - now)
        finally:
            for sock, _lane in self._lanes.values():
                sock.close()
            self._listener.close()

    def _turn(self, seconds: float) -> None:
        lanes = self._lanes
        for fd, _events in self._poll.poll(seconds):
            if fd not in lanes:
                self._accept()
                continue
            sock, lane = lanes[fd]
            wanted = lane.wants
            try:
                after = lane.turn(sock)
            except BlockingIOError:
                after = lane
            except OSError:
                after = None
            if after is None:
                self._end(fd)
                continue
            if after is not lane:
                lanes[fd] = sock, after
                self._silent.pop(fd, None)
            if after.wants != wanted:
                self._poll.modify(fd, after.wants)

    def _accept(self) -> None:
        try:
            sock, _address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left: try again at the next tick
            self._poll.unregister(self._listener.fileno())
            self._accepts = False
            return
        sock.setblocking(False)
        lane = _Greeted(time.monotonic(), self._room)
        fd = sock.fileno()
        self._lanes[fd] = sock, lane
        self._silent[fd] = lane
        self._poll.register(fd, lane.wants)

    def _tick(self, now: float) -> None:
        if not self._accepts:
            self._poll.register(self._listener.fileno(), READABLE)
            self._accepts = True
        for fd, lane in list(self._silent.items()):
            if now - lane.since > GREETING_SECONDS:
                self._end(fd)

    def _end(self, fd: int) -> None:
        self._silent.pop(fd, None)
        sock, _lane = self._lanes.pop(fd)
        self._poll.unregister(fd)
        sock.close()


def _input_has_ended() -> bool:
    return bool(select.select([0], [], [], 0)[0])


def main() -> None:
    """Run as a program of its own."""
    FarEnd(socket.socket(fileno=int(sys.argv[1]))).run(_input_has_ended)
