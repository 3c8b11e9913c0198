"""Cut a byte stream into frames and back.

No sockets, no clock, no Twisted: bytes in, values out.

    version u8 | kind u8 | length u32 | payload[length]
"""

from __future__ import annotations

import struct
from typing import Final

from gateway.errors import FrameTooLargeError, ProtocolError, VersionError
from gateway.wire import frames as kinds
from gateway.wire.frames import (
    DATA,
    DATA_HEADER_BYTES,
    HEADER_BYTES,
    MAX_CONTROL,
    MAX_PAYLOAD,
    VERSION,
)

MORE: Final = 0x100  # no kind of the wire: the next bytes of a Data frame
ALL: Final = 1 << 62  # as many frames as there are

_HEADER: Final = struct.Struct("!BBI")
_ID_BYTES: Final = DATA_HEADER_BYTES - HEADER_BYTES
_IS_KNOWN: Final = bytes(kind in kinds.KIND_NAMES for kind in range(256))

# The work that a frame makes, by its kind; a Data frame makes 1.  Measured on both
# ends: a frame of work 1 takes 2 to 5 microseconds.
_HEAVY: Final = {
    kinds.CONNECT_REQUEST: 32,  # a dial
    kinds.OPEN: 32,
    kinds.REGISTER: 128,  # a listening port
    kinds.REGISTER_ACK: 8,
    kinds.CONNECT_RESPONSE: 4,  # the beginning or the end of a stream
    kinds.CLOSE: 4,
    kinds.FIN: 4,
    kinds.RESET: 4,
    kinds.WINDOW: 2,
    kinds.PING: 2,
}
_WORK: Final = bytes(_HEAVY.get(kind, 1) for kind in range(256))

Frame = tuple[int, memoryview]
"""Kind (0..255, or `MORE`) and payload; a plain tuple because there are many."""


def encode_frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a whole frame.

    Raises:
        FrameTooLargeError: the payload is longer than 1 MiB.
    """
    if len(payload) > MAX_PAYLOAD:
        raise FrameTooLargeError(len(payload), MAX_PAYLOAD)
    return _HEADER.pack(VERSION, kind, len(payload)) + payload


class FrameDecoder:
    """Reassemble frames from chunks of any size.

    Payloads are views of the chunk that was fed, or of a copy where a frame lay
    across chunks.  They are good until the chunk changes: the next chunk may come
    in the same buffer.

    Attributes:
        limit: longest payload accepted, bytes.
        eager: False = every frame comes whole, whatever its kind.  True = Data frames
            come in pieces as their bytes arrive: `(DATA, connID and first bytes)`,
            then any number of `(MORE, next bytes)`; a frame of unknown kind comes
            without its payload, which is passed over; other frames come whole and
            may have 4608 bytes.  So no more than that is ever kept.
        fault: why the stream ended being readable, or None.  Frames before the
            fault are returned all the same, so results never depend on the cuts.
        rest: how many bytes at the end of the last chunk were not looked at.
        skipped: bytes of unknown frames that were passed over.
    """

    __slots__ = (
        "_coming",
        "_needed",
        "_pending",
        "_skipping",
        "eager",
        "fault",
        "limit",
        "rest",
        "skipped",
    )

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self.limit = limit
        self.eager = False
        self.fault: ProtocolError | None = None
        self.rest = 0
        self.skipped = 0
        self._pending = bytearray()  # the start of a frame that is not whole
        self._needed = 0  # its length as far as it is known
        self._coming = 0  # bytes of a begun frame that are still to come
        self._skipping = False  # they are of an unknown frame

    @property
    def pending(self) -> int:
        """Bytes that are kept of a frame which is not whole."""
        return len(self._pending)

    def clear(self) -> None:
        """Free what is kept; nothing may be fed any more."""
        self._pending = bytearray()
        self.rest = 0
        self.fault = None  # its traceback leads to whoever fed this

    def feed(self, chunk: bytes | memoryview, work: int = ALL) -> list[Frame]:
        """Take the next chunk and return the frames it completes, in order.

        A wrong version byte or length is found before any of the frame's payload
        is kept.

        Args:
            chunk: bytes as they arrived; may hold many frames or part of one.
                Ignored once `fault` is set.
            work: 1 or more.  Once the frames found make as much, the rest of the
                chunk is left alone; `rest` says how much that is, and it must be fed
                next.
        """
        frames: list[Frame] = []
        self.rest = 0
        if self.fault is not None:
            return frames
        view = memoryview(chunk)
        end = len(view)
        start = 0
        while self._pending and start < end:
            start, work = self._complete(view, start, frames, work)
        if self._coming:
            start = self._go_on(view, start, frames)
        if start < end and self.fault is None:
            start, _ = self._cut(view, start, frames, work)
            self.rest = end - start
        return frames

    def _go_on(self, view: memoryview, start: int, frames: list[Frame]) -> int:
        """Take the next bytes of a begun frame; return where the rest begins."""
        stop = min(start + self._coming, len(view))
        if stop > start:
            self._coming -= stop - start
            if self._skipping:
                self.skipped += stop - start
            else:
                frames.append((MORE, view[start:stop]))
        return stop

    def _complete(
        self, view: memoryview, start: int, frames: list[Frame], work: int
    ) -> tuple[int, int]:
        """Add to the frame that lies across chunks what it needs next.

        Returns:
            Where the rest of `view` begins, and the work that may still be made.
        """
        pending = self._pending
        stop = start + self._needed - len(pending)
        pending += view[start:stop]
        if stop > len(view):
            return len(view), work
        whole = memoryview(bytes(pending))
        pending.clear()
        # either the frame is whole now, or its header, which tells what it needs
        _, work = self._cut(whole, 0, frames, work)
        return stop, work

    def _cut(
        self, view: memoryview, start: int, frames: list[Frame], work: int
    ) -> tuple[int, int]:
        """Append the frames of `view` from `start` on, and keep what is not whole.

        Returns:
            Where it stopped, and the work that may still be made; after a fault the
            first is the end of `view`.
        """
        unpack = _HEADER.unpack_from
        append = frames.append
        end = len(view)
        limit = self.limit
        while start < end and work > 0:
            body = start + HEADER_BYTES
            if body > end:
                self._begin(view, start)
                return end, work
            version, kind, length = unpack(view, start)
            stop = body + length
            # most frames are Data, and whole
            if kind == DATA and stop <= end and length <= limit and version == VERSION:
                append((DATA, view[body:stop]))
                work -= 1
                start = stop
                continue
            start = self._other(view, start, frames)
            if not self._pending:  # else it makes work when it is whole
                work -= _WORK[kind]
        return start, work

    def _begin(self, view: memoryview, start: int) -> None:
        """Keep a part of a header, unless its first byte is wrong already."""
        if view[start] != VERSION:
            self.fault = VersionError(view[start])
        else:
            self._keep(view[start:], HEADER_BYTES)

    def _other(self, view: memoryview, start: int, frames: list[Frame]) -> int:
        """Take one frame whose header is whole; return where the next one begins."""
        version, kind, length = _HEADER.unpack_from(view, start)
        end = len(view)
        if version != VERSION:
            self.fault = VersionError(version)
            return end
        passes = kind == DATA or not self.eager or not _IS_KNOWN[kind]
        limit = self.limit if passes else MAX_CONTROL
        if length > limit:
            self.fault = FrameTooLargeError(length, limit)
            return end
        body = start + HEADER_BYTES
        stop: int = body + length
        if self.eager and not _IS_KNOWN[kind]:
            frames.append((kind, view[body:body]))
            self._coming, self._skipping = length, True
            return self._go_on(view, body, frames)
        if stop <= end:
            frames.append((kind, view[body:stop]))
            return stop
        if kind != DATA or not self.eager or length < _ID_BYTES:
            self._keep(view[start:], HEADER_BYTES + length)
        elif body + _ID_BYTES > end:
            self._keep(view[start:], DATA_HEADER_BYTES)
        else:
            frames.append((DATA, view[body:]))
            self._coming, self._skipping = stop - end, False
        return end

    def _keep(self, part: memoryview, needed: int) -> None:
        self._pending += part
        self._needed = needed
