"""Let bytes pass at a rate: now and then there is nothing to read, or no room."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.net.outgoing import Chunk
from gateway.net.poller import READABLE, WRITABLE
from gateway.policy.rates import Bucket

_LEAST_BYTES: Final = 4096  # it is not worth waking up for less
_LEAST_SECONDS: Final = 0.002


class PacedSocket:
    """A connected socket that buckets stand before, in each direction.

    What they do not let pass raises `BlockingIOError`, as a full or an empty buffer
    of the kernel does; `dry` is told of it, and again when bytes may pass.
    """

    __slots__ = (
        "_buckets",
        "_calls",
        "_clock",
        "_dry",
        "_socket",
        "_waited",
        "fileno",
        "getpeername",
        "getsockname",
        "getsockopt",
        "setsockopt",
        "shutdown",
    )

    def __init__(
        self,
        sock: socket.SocketType,
        clock: IReactorTime,
        inward: Sequence[Bucket],
        outward: Sequence[Bucket],
        dry: Callable[[int, bool], None],
        waited: Callable[[float], None] | None = None,
    ) -> None:
        """Stand before a socket.

        Args:
            sock: the socket.
            clock: tells how much time has passed.
            inward: what is read must pass all of them.
            outward: what is written must pass all of these.
            dry: told of `READABLE` or `WRITABLE`, and whether it is so now.
            waited: told of the seconds of each wait.
        """
        self._socket = sock
        self._clock = clock
        self._buckets = {READABLE: tuple(inward), WRITABLE: tuple(outward)}
        self._dry = dry
        self._waited = waited
        self._calls: dict[int, IDelayedCall] = {}
        self.fileno = sock.fileno
        self.getpeername = sock.getpeername
        self.getsockname = sock.getsockname
        self.getsockopt = sock.getsockopt
        self.setsockopt = sock.setsockopt
        self.shutdown = sock.shutdown

    def recv(self, size: int) -> bytes:
        """Read what may pass."""
        data = self._socket.recv(self._room(READABLE, size))
        self._spend(READABLE, len(data))
        return data

    def recv_into(self, view: memoryview, size: int) -> int:
        """Do the same into `view`."""
        count = self._socket.recv_into(view, self._room(READABLE, size))
        self._spend(READABLE, count)
        return count

    def send(self, data: Chunk) -> int:
        """Send what may pass."""
        size = len(data)
        room = self._room(WRITABLE, size) if size else 0
        sent = self._socket.send(data if room >= size else memoryview(data)[:room])
        self._spend(WRITABLE, sent)
        return sent

    def sendmsg(self, pieces: Sequence[Chunk]) -> int:
        """Send what may pass of the first piece; the rest comes by itself."""
        return self.send(pieces[0])

    def hurry(self) -> None:
        """Let everything in: the connection is at its end."""
        self._buckets[READABLE] = ()
        waiting = self._calls.pop(READABLE, None)
        if waiting is not None:
            waiting.cancel()
            self._dry(READABLE, False)

    def release(self) -> socket.SocketType:
        """Stand before the socket no more, and return it."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        return self._socket

    def close(self) -> None:
        """Close the socket."""
        self.release().close()

    def _room(self, direction: int, wanted: int) -> int:
        """Return how many bytes may pass, at least one.

        Raises:
            BlockingIOError: none for now.
        """
        buckets = self._buckets[direction]
        if not buckets:
            return wanted
        now = self._clock.seconds()
        least = min(wanted, _LEAST_BYTES)
        room = int(min(bucket.left(now) for bucket in buckets))
        if room < least:
            if direction not in self._calls:
                seconds = max(bucket.wait(_LEAST_BYTES) for bucket in buckets)
                seconds = max(seconds, _LEAST_SECONDS)
                self._calls[direction] = self._clock.callLater(
                    seconds, self._again, direction
                )
                if self._waited is not None:
                    self._waited(seconds)
                self._dry(direction, True)
            raise BlockingIOError
        return min(wanted, room)

    def _again(self, direction: int) -> None:
        del self._calls[direction]
        self._dry(direction, False)

    def _spend(self, direction: int, count: int) -> None:
        for bucket in self._buckets[direction]:
            bucket.spend(count)
