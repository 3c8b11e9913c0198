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


class Check:
    """Messages of one connection, each unlike any other, and whether they return."""

    __slots__ = ("_arrived", "_number", "message")

    def __init__(self) -> None:
        self._number = 0
        self.message = b""
        self._arrived = bytearray()

    def next(self, size: int) -> bytes:
        """Return a new message: its number and random bytes."""
        number = self._number.to_bytes(_SEQUENCE, "big")
        self._number += 1
        self.message = number + os.urandom(size - _SEQUENCE)
        self._arrived.clear()
        return self.message

    def take(self, piece: memoryview) -> None:
        """Note a part of the echo."""
        self._arrived += piece

    def fault(self) -> str:
        """Return where the echo is not the message, empty if it is."""
        if self._arrived == self.message:
            return ""
        place = next(
            place
            for place in range(len(self.message))
            if self._arrived[place] != self.message[place]
        )
        return (
            f"message {self._number - 1}: byte {place} of {len(self.message)} is "
            f"{self._arrived[place]:#04x} instead of {self.message[place]:#04x}"
        )


class Lane:
    """One connection.

    Attributes:
        at: when the message under way was sent; 0 while none is.
        got: bytes of its echo that have come.
        unsent: what the socket did not take of it.
        check: compares the echo; None = its length alone counts.
    """

    __slots__ = ("at", "check", "got", "recv_into", "send", "sock", "unsent")

    def __init__(self, sock: socket.socket, check: Check | None) -> None:
        self.sock = sock
        self.send = sock.send
        self.recv_into = sock.recv_into
        self.check = check
        self.at = 0.0
        self.got = 0
        self.unsent = memoryview(b"")


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
        self._message = memoryview(os.urandom(size))
        self._tally = tally
        self._watch = watch
        self._room = new_room()
        self._poll = new_poll()
        self._lanes = {
            sock.fileno(): Lane(sock, Check() if checked else None) for sock in sockets
        }
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
        if lane.check is not None:
            lane.check.take(self._room[:count])
        lane.got += count
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
        fault = lane.check.fault() if lane.check is not None else ""
        if fault:
            tally.failed += 1
            tally.note(fault)
        else:
            tally.latencies.recent.append(now - lane.at)
            tally.messages += 1
            tally.size_bytes += self._size
        tally.seconds = now - self._watch.started
        lane.at = 0.0
        lane.got = 0
        if now >= self._watch.until:
            self._drop(lane)
        elif lane.check is not None:
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
        message = self._message
        if lane.check is not None:
            message = memoryview(lane.check.next(self._size))
        lane.at = now
        try:
            sent = lane.send(message)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(lane, error.strerror or str(error))
            return
        if sent < self._size:
            lane.unsent = message[sent:]
            self._poll.modify(lane.sock.fileno(), READABLE | WRITABLE)

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
