"""Send at once what the kernel takes, and queue the rest.

The sending half of a transport: its queue, its marks and its producer.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final, TypeAlias, cast

from twisted.internet.interfaces import IProducer, IPullProducer, IPushProducer

from gateway.net.splice import REFUSALS, Pipe
from gateway.policy.budget import Budget

Chunk: TypeAlias = "bytes | memoryview[int]"

UNCOUNTED: Final = Budget()  # what waits where nobody limits it
PAUSE_MARK: Final = 65536
WOULD_BLOCK: Final = (BlockingIOError, InterruptedError)
_JOIN_LIMIT: Final = 65536  # up to here one copy is cheaper than a vector
_VECTOR_LIMIT: Final = 1024  # IOV_MAX


class Outgoing:
    """What is written to a socket and how far it got.

    Attributes:
        fd: descriptor of the socket.
        unsent: bytes taken by `write` that the kernel has not taken.
        pause_mark: `unsent` above which the registered producer is paused.
        resume_mark: `unsent` at which it is resumed.
        producer: who is paused and resumed, or None.
    """

    __slots__ = (
        "_blocked",
        "_direct",
        "_gathered",
        "_memory",
        "_mute",
        "_paced",
        "_pieces",
        "_pipe",
        "_producer_paused",
        "_send",
        "_socket",
        "_streaming",
        "fd",
        "pause_mark",
        "producer",
        "resume_mark",
        "unsent",
    )

    def __init__(
        self, sock: socket.SocketType, *, gathered: bool, memory: Budget | None = None
    ) -> None:
        self._memory = UNCOUNTED if memory is None else memory
        self._socket = sock
        self.fd = sock.fileno()
        self._send = sock.send
        self._gathered = gathered
        self._direct = not gathered  # a write may go to the kernel at once
        self._mute = False  # writes are dropped
        self._blocked = False  # the kernel's buffer is full
        self._paced = False  # bytes pass at a rate, and one by one
        self._pieces: deque[Chunk] = deque()
        self._pipe: Pipe | None = None  # what it holds goes before the pieces
        self.unsent = 0
        self.pause_mark = PAUSE_MARK
        self.resume_mark = 0
        self.producer: IProducer | None = None
        self._streaming = self._producer_paused = False

    def _arm(self) -> None:
        """Have the poller watch for what is wanted now."""
        raise NotImplementedError

    def _schedule(self) -> None:
        """Settle at the end of the turn."""
        raise NotImplementedError

    def _write_failed(self) -> None:
        """Note that nothing can be sent any more."""
        raise NotImplementedError

    def write(self, data: Chunk) -> None:
        """Send `data`, or queue what the kernel does not take of it.

        Args:
            data: bytes or a flat view of bytes, which may change afterwards.
        """
        if not self._direct:
            if data and not self._mute:
                self._gather((data,))
            return
        try:
            sent = self._send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            self._write_failed()
            return
        if sent != len(data):
            self._blocked = True
            self._keep((memoryview(data)[sent:] if sent else data,))
            self._arm()
            self._mind_mark()

    def writeSequence(self, iovec: Iterable[Chunk]) -> None:
        """Send the pieces in order, as if they were one.

        A sequence is something gathered already, so it leaves at once also where a
        turn's writes are gathered, unless it must wait behind others.
        """
        pieces = iovec if isinstance(iovec, list) else list(iovec)
        if self._mute:
            return
        if not self._direct and not self._idle():
            self._gather(pieces)
            return
        size = sum(map(len, pieces))
        if size <= _JOIN_LIMIT:  # one copy is cheaper than a vector
            pieces = [b"".join(pieces)]
        self._send_pieces(pieces, size)

    def _idle(self) -> bool:
        """Tell whether a sequence need not wait for the end of the turn."""
        pulled = self.producer is not None and not self._streaming
        return self._gathered and not (self._pieces or self._blocked or pulled)

    def _send_pieces(self, pieces: list[Chunk], size: int) -> None:
        while size:
            try:
                if len(pieces) == 1:
                    sent = self._send(pieces[0])
                else:
                    sent = self._socket.sendmsg(pieces[:_VECTOR_LIMIT])
            except WOULD_BLOCK:
                break
            except OSError:
                self._write_failed()
                return
            size -= sent
            if size:
                pieces = _behind(pieces, sent)
        if size:
            self._keep(pieces)
            self._blocked = True
            self._arm()
            self._mind_mark()

    def takes_from(self, producer: object) -> bool:
        """Tell whether nothing is unsent and `producer` is paused when it is."""
        return self._direct and self.producer is producer and not self._paced

    def pour(self, pipe: Pipe) -> bool:
        """Send what `pipe` holds, and pause the producer until all of it is sent.

        Args:
            pipe: filled by the registered producer, while `takes_from` says so.

        Returns:
            False if this socket cannot be spliced to; what was in the pipe is sent.
        """
        self._pipe = pipe
        self.unsent = pipe.held
        self._push()
        if self.unsent:
            self._direct = False
            self._arm()
            self._pause_producer()
        return not pipe.refused

    def _push_pipe(self, pipe: Pipe) -> None:
        try:
            sent = pipe.drain(self.fd)
        except WOULD_BLOCK:
            sent = 0
        except OSError as fault:
            if fault.errno not in REFUSALS:
                self._write_failed()
                return
            sent = 0
            taken_over = pipe.take_over()
            self._memory.hold(len(taken_over))
            self._pieces.appendleft(taken_over)
        self.unsent -= sent
        if pipe.held:
            self._blocked = True
        else:
            self._pipe = None
            pipe.release()

    def _keep(self, pieces: Iterable[Chunk]) -> None:
        """Queue the pieces, or copies of those that may change."""
        self._direct = False
        append = self._pieces.append
        size = 0
        for piece in pieces:
            append(piece if type(piece) is bytes else bytes(piece))
            size += len(piece)
        self.unsent += size
        self._memory.hold(size)

    def _gather(self, pieces: Iterable[Chunk]) -> None:
        self._keep(pieces)
        if not self._blocked:
            self._schedule()
            if self.unsent > self.pause_mark:  # enough for one turn
                self._push()
                self._arm()
        self._mind_mark()

    def _mind_mark(self) -> None:
        if self.unsent > self.pause_mark and self._streaming:
            self._pause_producer()

    def _pause_producer(self) -> None:
        if not self._producer_paused:
            self._producer_paused = True
            cast(IPushProducer, self.producer).pauseProducing()

    def _hush(self) -> None:
        """Forget what is unsent and take nothing more."""
        self._mute = True
        self._direct = self._blocked = False
        waiting, self.unsent = self.unsent, 0
        if self._pipe is not None:
            pipe, self._pipe = self._pipe, None
            waiting -= pipe.held
            pipe.release()
        if waiting:
            self._pieces.clear()
            self._memory.let_go(waiting)

    def _take_writes(self) -> None:
        """Let writes go to the kernel again if they may; nothing is unsent."""
        pulled = self.producer is not None and not self._streaming
        # writes of a pull producer are queued: their end is what asks for more
        self._direct = not (self._gathered or self._mute or pulled)

    def _resume_producer(self) -> None:
        self._producer_paused = False
        cast(IPullProducer, self.producer).resumeProducing()

    def _push(self) -> None:
        """Give the kernel what it takes of the pipe and then of the queue."""
        if self._pipe is not None:
            self._push_pipe(self._pipe)
        if not self._blocked:
            self._push_pieces()

    def _push_pieces(self) -> None:
        pieces = self._pieces
        while pieces:
            if len(pieces) == 1:
                batch = None
                size = len(pieces[0])
            elif self.unsent <= _JOIN_LIMIT:
                joined = b"".join(pieces)
                pieces.clear()
                pieces.append(joined)
                continue
            else:
                batch = list(islice(pieces, _VECTOR_LIMIT))
                size = sum(map(len, batch))
            try:
                sent = self._socket.sendmsg(batch) if batch else self._send(pieces[0])
            except WOULD_BLOCK:
                sent = 0
            except OSError:
                self._write_failed()
                return
            self.unsent -= sent
            self._memory.let_go(sent)
            if sent == size:
                if batch is None or size == self.unsent + sent:
                    pieces.clear()
                else:
                    for _ in batch:
                        pieces.popleft()
                continue
            self._blocked = True
            self._drop_sent(sent)
            return

    def _drop_sent(self, sent: int) -> None:
        pieces = self._pieces
        while sent:
            first = pieces[0]
            if sent < len(first):
                pieces[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            pieces.popleft()


def _behind(pieces: list[Chunk], count: int) -> list[Chunk]:
    """Return what follows the first `count` bytes."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:] if count else piece, *pieces[index + 1 :]]
        count -= len(piece)
    return []
