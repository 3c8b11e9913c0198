"""Messages that wait for their echo: one under way on each connection."""

from __future__ import annotations

import heapq
import os
import socket
import time
from collections.abc import Sequence
from itertools import count
from typing import Final

from gateway.bench.flow import new_room
from gateway.bench.loads import Tally
from gateway.bench.polling import READABLE, WRITABLE, new_poll
from gateway.bench.watch import TICK_SECONDS, Watch

PAUSE_SECONDS: Final = 0.010  # between a checked echo and the next message
_SEQUENCE: Final = 8  # bytes
_clock = time.perf_counter


class Lane:
    """One connection.

    Attributes:
        at: when the message under way was sent; 0 while none is.
        fault: where its echo differs from it; empty = nowhere so far.
        got: bytes of its echo that have come.
        message: the message under way.
        number: how many messages were sent before it.
        unsent: what the socket did not take of it.
    """

    __slots__ = ("at", "fault", "got", "message", "number", "recv_into", "send",
                 "sock", "unsent")  # fmt: skip

    def __init__(self, sock: socket.socket, message: bytearray) -> None:
        self.sock = sock
        self.send = sock.send
        self.recv_into = sock.recv_into
        self.message = message
        self.number = -1
        self.at = 0.0
        self.fault = ""
        self.got = 0
        self.unsent = memoryview(b"")

    def begin(self, message: bytearray) -> None:
        """Take a new message."""
        self.message = message
        self.number += 1
        self.got = 0
        self.fault = ""

    def compare(self, piece: memoryview) -> None:
        """Take a part of the echo."""
        # a bytearray on the left compares as fast as memory goes
        wanted = self.message[self.got : self.got + len(piece)]
        if wanted != piece and not self.fault:
            self.fault = self._difference(wanted, piece)
        self.got += len(piece)

    def _difference(self, wanted: bytearray, piece: memoryview) -> str:
        pairs = enumerate(zip(wanted, piece, strict=False), self.got)
        for place, (sent, came) in pairs:
            if sent != came:
                return (
                    f"message {self.number}: byte {place} of {len(self.message)} is "
                    f"{came:#04x} instead of {sent:#04x}"
                )
        return ""  # it is longer


class PingPong:
    """Keeps every connection busy until the time is over."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        size: int,
        checked: bool,
        tally: Tally,
        watch: Watch,
    ) -> None:
        self._size = size
        self._numbered = checked
        self._message = bytearray(os.urandom(size))
        self._tally = tally
        self._watch = watch
        self._room = new_room()
        self._poll = new_poll()
        self._lanes = {sock.fileno(): Lane(sock, self._message) for sock in sockets}
        self._turns = count()  # keeps lanes with the same time apart
        self._resting: list[tuple[float, int, Lane]] = []

    def run(self) -> None:
        """Send, wait and count; returns when nothing is under way any more."""
        lanes, watch = self._lanes, self._watch
        for fd, lane in list(lanes.items()):
            self._poll.register(fd, READABLE)
            self._guarded_send(lane, _clock())
        now = _clock()
        while lanes and watch.goes_on(now):
            for fd, _events in self._poll.poll(self._wait_seconds(now)):
                self._turn(lanes[fd])
            now = _clock()
            if self._resting or now >= watch.until:
                self._wake(now)
            if len(self._tally.latencies.recent) > 1 << 14:
                self._tally.latencies.fold()
        self._end()

    def _wait_seconds(self, now: float) -> float:
        if self._resting:
            return min(TICK_SECONDS, max(0.0, self._resting[0][0] - now))
        return TICK_SECONDS

    def _turn(self, lane: Lane) -> None:
        try:
            if lane.unsent:
                self._push(lane)
            count = lane.recv_into(self._room)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(lane, error.strerror or str(error))
            return
        if not count:
            self._lose(lane, "the connection was closed")
            return
        lane.compare(self._room[:count])
        if lane.got >= self._size:
            self._arrived(lane)
        elif not lane.at:
            self._lose(lane, "bytes came that nobody had sent")

    def _arrived(self, lane: Lane) -> None:
        now = _clock()
        tally = self._tally
        if lane.got > self._size or lane.unsent:
            tally.failed += 1
            self._lose(lane, "more bytes came back than were sent")
            return
        if lane.fault:
            tally.failed += 1
            tally.note(lane.fault)
        else:
            tally.latencies.recent.append(now - lane.at)
            tally.messages += 1
            tally.size_bytes += self._size
        tally.seconds = now - self._watch.started
        lane.at = 0.0
        if now >= self._watch.until:
            self._drop(lane)
        elif self._numbered:
            turn = next(self._turns)
            heapq.heappush(self._resting, (now + PAUSE_SECONDS, turn, lane))
        else:
            self._guarded_send(lane, now)

    def _wake(self, now: float) -> None:
        """Let those go on that have paused; once the time is over, all of them end."""
        is_over = now >= self._watch.until
        while self._resting and (is_over or self._resting[0][0] <= now):
            lane = heapq.heappop(self._resting)[2]
            if lane.sock.fileno() < 0:
                continue
            if is_over:
                self._drop(lane)
            else:
                self._guarded_send(lane, _clock())

    def _guarded_send(self, lane: Lane, now: float) -> None:
        lane.begin(self._next(lane.number + 1) if self._numbered else self._message)
        lane.at = now
        try:
            sent = lane.send(lane.message)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(lane, error.strerror or str(error))
            return
        if sent < self._size:
            lane.unsent = memoryview(lane.message)[sent:]
            self._poll.modify(lane.sock.fileno(), READABLE | WRITABLE)

    def _next(self, number: int) -> bytearray:
        """Return a message unlike any other: its number and random bytes."""
        start = number.to_bytes(_SEQUENCE, "big")
        return bytearray(start + os.urandom(self._size - _SEQUENCE))

    def _push(self, lane: Lane) -> None:
        try:
            lane.unsent = lane.unsent[lane.send(lane.unsent) :]
        except BlockingIOError:
            return
        if not lane.unsent:
            self._poll.modify(lane.sock.fileno(), READABLE)

    def _lose(self, lane: Lane, fault: str) -> None:
        """Count a connection that ended by itself, and the message on it."""
        self._tally.lost += 1
        self._tally.failed += bool(lane.at) and lane.got < self._size
        self._tally.note(fault)
        self._drop(lane)

    def _drop(self, lane: Lane) -> None:
        fd = lane.sock.fileno()
        self._poll.unregister(fd)
        del self._lanes[fd]
        lane.sock.close()

    def _end(self) -> None:
        """Count what is still under way as failed, unless somebody asked to stop."""
        self._tally.seconds = self._watch.lasted(self._tally.seconds)
        for lane in list(self._lanes.values()):
            if lane.at and not self._watch.asked_to_stop:
                self._tally.failed += 1
                self._tally.note("no echo came")
            self._drop(lane)
        self._tally.latencies.fold()
