"""Move bulk bytes from socket to socket inside of the kernel.

A pipe is borrowed for one read of a socket and returned when the other socket has
taken everything, so that only directions whose reader is slow hold one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final, Protocol

AVAILABLE: Final = hasattr(os, "splice")
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK if AVAILABLE else 0
MOST_BYTES: Final = 1 << 18  # of one read: more is cheaper, and less fair
MOST_PIPES: Final = 64  # two descriptors and up to a mebibyte each
_IDLE_PIPES: Final = 2
_SIZES: Final = (1 << 20, 1 << 19, 1 << 18, 1 << 17)
_TOO_SMALL: Final = 1 << 16  # smaller pipes are slower than no pipe
_PATIENCE: Final = 1024  # requests until the system is asked again for a pipe
# said of a socket that cannot be spliced, not of its connection
REFUSALS: Final = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP}
)


class Pipe:
    """A pipe of the kernel; it is closed when nobody holds it.

    Attributes:
        held: bytes in it.
        refused: a socket did not take them from a pipe.
    """

    __slots__ = ("_inlet", "_outlet", "_pool", "held", "refused")

    def __init__(self, pool: PipePool, outlet: int, inlet: int) -> None:
        self._pool = pool
        self._outlet = outlet
        self._inlet = inlet
        self.held = 0
        self.refused = False

    def fill(self, fd: int) -> int:
        """Take what the socket `fd` has; return the number of bytes, 0 at its end.

        Raises:
            OSError: as the system says it.
        """
        count = os.splice(fd, self._inlet, MOST_BYTES, flags=_FLAGS)
        self.held += count
        return count

    def drain(self, fd: int) -> int:
        """Give the socket `fd` what it takes; return the number of bytes.

        Raises:
            OSError: as the system says it.
        """
        count = os.splice(self._outlet, fd, self.held, flags=_FLAGS)
        self.held -= count
        return count

    def take_over(self) -> bytes:
        """Return what it holds: a socket has refused it."""
        self.refused = True
        pieces = []
        while self.held:
            piece = os.read(self._outlet, self.held)
            self.held -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def release(self) -> None:
        """Return it to its pool; what it holds is lost."""
        self._pool.take_back(self)

    def close(self) -> None:
        """Give up its descriptors; may be called twice."""
        if self._inlet >= 0:
            os.close(self._inlet)
            os.close(self._outlet)
            self._inlet = self._outlet = -1
            self._pool.closed()

    def __del__(self) -> None:
        self.close()


class PipePool:
    """A bounded number of pipes, lent to whoever moves bytes.

    Attributes:
        open: how many there are, lent or not.
    """

    def __init__(self, most: int = MOST_PIPES) -> None:
        self._most = most
        self._idle: list[Pipe] = []
        self._denied = 0
        self.open = 0

    @property
    def lent(self) -> int:
        """Return how many are with whoever moves bytes."""
        return self.open - len(self._idle)

    def take(self) -> Pipe | None:
        """Lend an empty pipe; None if there is no other."""
        if self._idle:
            return self._idle.pop()
        if self.open >= self._most:
            return None
        if self._denied:
            self._denied -= 1
            return None
        pipe = self._new()
        if pipe is None:
            self._denied = _PATIENCE
        return pipe

    def _new(self) -> Pipe | None:
        try:
            ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None  # most likely no descriptor is left
        self.open += 1
        pipe = Pipe(self, *ends)
        if _widen(ends[1]) < _TOO_SMALL:
            pipe.close()
            return None
        return pipe

    def take_back(self, pipe: Pipe) -> None:
        """Keep a pipe for the next one, or close it; only empty ones are kept."""
        if pipe.held or pipe.refused or len(self._idle) >= _IDLE_PIPES:
            pipe.close()
        else:
            self._idle.append(pipe)

    def closed(self) -> None:
        """One of its pipes is closed."""
        self.open -= 1


def _widen(fd: int) -> int:
    """Make a pipe as large as the system allows; return its size."""
    import fcntl  # systems without `splice` may lack it

    for size in _SIZES:
        try:
            return fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            continue  # above the limit of the system or of this user
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)


class Sink(Protocol):
    """The sending half of a transport."""

    def takes_from(self, producer: object) -> bool:
        """Tell whether nothing is unsent and `producer` is paused when it is."""

    def pour(self, pipe: Pipe) -> bool:
        """Send what `pipe` holds; False if the socket cannot be spliced to."""


class Shortcut:
    """The way of bulk bytes from one socket to another one."""

    __slots__ = ("_pipes", "_sink", "_tally")

    def __init__(
        self, pipes: PipePool, sink: Sink, tally: Callable[[int], None]
    ) -> None:
        self._pipes = pipes
        self._sink = sink
        self._tally = tally

    def move(self, source: object, fd: int) -> int | None:
        """Move what the socket of `source` has.

        Returns:
            The number of bytes; 0 if there are none or reading must do, None if
            reading must always do.

        Raises:
            OSError: the connection of `source` is lost.
        """
        if not self._sink.takes_from(source):
            return 0
        pipe = self._pipes.take()
        if pipe is None:
            return 0
        try:
            count = pipe.fill(fd)
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError as fault:
            pipe.release()
            if fault.errno in REFUSALS:
                return None
            raise
        if not count:
            pipe.release()
            return 0
        self._tally(count)
        return count if self._sink.pour(pipe) else None
