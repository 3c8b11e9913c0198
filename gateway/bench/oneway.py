"""Flows in one direction: what is counted has arrived at the other end."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from gateway.bench.flow import pour, swallow
from gateway.bench.greeting import START, STEP
from gateway.bench.loads import Tally
from gateway.bench.polling import READABLE, WRITABLE, new_poll
from gateway.bench.watch import TICK_SECONDS, Watch

_WRITES_A_TURN = 4
_clock = time.perf_counter


class Download:
    """Swallows what the far end pours, until the time is over."""

    def __init__(
        self, sockets: Sequence[socket.socket], tally: Tally, watch: Watch
    ) -> None:
        self._tally = tally
        self._watch = watch
        self._poll = new_poll()
        self._sockets = {sock.fileno(): sock for sock in sockets}

    def run(self) -> None:
        """Start the far end, and count what comes."""
        for fd, sock in list(self._sockets.items()):
            self._poll.register(fd, READABLE)
            try:
                sock.send(START)
            except OSError as error:
                self._lose(fd, error.strerror or str(error))
        watch, sockets = self._watch, self._sockets
        arrived = 0
        now = _clock()
        while sockets and watch.goes_on(now) and now < watch.until:
            for fd, _events in self._poll.poll(min(TICK_SECONDS, watch.until - now)):
                try:
                    count = swallow(sockets[fd])
                except BlockingIOError:
                    continue
                except OSError as error:
                    self._lose(fd, error.strerror or str(error))
                    continue
                if not count:
                    self._lose(fd, "the connection was closed")
                arrived += count
            self._tally.size_bytes = arrived
            now = _clock()
        self._tally.seconds = now - watch.started
        for fd in list(sockets):
            if arrived or watch.asked_to_stop:
                self._drop(fd)
            else:
                self._lose(fd, "nothing came")

    def _lose(self, fd: int, fault: str) -> None:
        self._tally.lost += 1
        self._tally.note(fault)
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._sockets.pop(fd).close()


class _Lane:
    """One connection, and how many bytes were sent on it, and told to have arrived."""

    __slots__ = ("arrived", "sent", "sock", "told")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sent = 0
        self.arrived = 0
        self.told = b""


class Upload:
    """Pours into the far end, which tells what has arrived.

    When the time is over, each connection is filled up to the next multiple of
    `STEP`, for which the far end answers, so every byte is accounted for.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        size: int,
        tally: Tally,
        watch: Watch,
    ) -> None:
        self._size = size
        self._tally = tally
        self._watch = watch
        self._poll = new_poll()
        self._lanes = {sock.fileno(): _Lane(sock) for sock in sockets}

    def run(self) -> None:
        """Send, and wait until all of it has arrived."""
        for fd in self._lanes:
            self._poll.register(fd, READABLE | WRITABLE)
        lanes, watch = self._lanes, self._watch
        now = _clock()
        while lanes and watch.goes_on(now):
            for fd, events in self._poll.poll(TICK_SECONDS):
                try:
                    self._turn(lanes[fd], events, now < watch.until)
                except BlockingIOError:
                    continue
                except OSError as error:
                    self._lose(fd, error.strerror or str(error))
            now = _clock()
        self._end()

    def _turn(self, lane: _Lane, events: int, goes_on: bool) -> None:
        fd = lane.sock.fileno()
        if events & ~WRITABLE:
            self._hear(lane)
        if not goes_on and lane.arrived == lane.sent:
            self._drop(fd)
        elif events & WRITABLE:
            for _ in range(_WRITES_A_TURN):
                left = self._size if goes_on else min(self._size, -lane.sent % STEP)
                if not left:
                    self._poll.modify(fd, READABLE)
                    return
                lane.sent += pour(lane.sock, left)

    def _hear(self, lane: _Lane) -> None:
        told = lane.told + lane.sock.recv(4096)
        if told == lane.told:
            raise ConnectionError("the connection was closed")
        whole = len(told) // 8 * 8
        lane.told = told[whole:]
        if not whole:
            return
        arrived = int.from_bytes(told[whole - 8 : whole], "big")
        if not lane.arrived < arrived <= lane.sent:
            raise ConnectionError(
                f"the far end counts {arrived} bytes, {lane.sent} were sent"
            )
        self._tally.size_bytes += arrived - lane.arrived
        self._tally.seconds = _clock() - self._watch.started
        lane.arrived = arrived

    def _lose(self, fd: int, fault: str) -> None:
        self._tally.lost += 1
        self._tally.note(fault)
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._lanes.pop(fd).sock.close()

    def _end(self) -> None:
        self._tally.seconds = self._watch.lasted(self._tally.seconds)
        for fd in list(self._lanes):
            if self._watch.asked_to_stop:
                self._drop(fd)
            else:
                self._lose(fd, "not all that was sent has arrived")
