"""Cut a byte stream into frames and back.

No sockets, no clock, no Twisted: bytes in, values out.

    version u8 | kind u8 | length u32 | payload[length]
"""

from __future__ import annotations

import struct
from typing import Final

from gateway.errors import FrameTooLargeError, ProtocolError, VersionError
from gateway.wire.frames import (
    DATA,
    DATA_HEADER_BYTES,
    HEADER_BYTES,
    MAX_PAYLOAD,
    VERSION,
)

MORE: Final = 0x100  # no kind of the wire: the next bytes of a Data frame

_HEADER: Final = struct.Struct("!BBI")
_ID_BYTES: Final = DATA_HEADER_BYTES - HEADER_BYTES

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
        eager: whether Data frames come in pieces as their bytes arrive, so that none
            of them is ever kept: `(DATA, connID and first bytes)`, then any number
            of `(MORE, next bytes)`.  Until then every frame comes whole.
        fault: why the stream ended being readable, or None.  Frames before the
            fault are returned all the same, so results never depend on the cuts.
    """

    __slots__ = ("_coming", "_needed", "_pending", "eager", "fault", "limit")

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self.limit = limit
        self.eager = False
        self.fault: ProtocolError | None = None
        self._pending = bytearray()  # the start of a frame that is not whole
        self._needed = 0  # its length as far as it is known
        self._coming = 0  # bytes of a begun Data frame that are still to come

    def feed(self, chunk: bytes | memoryview) -> list[Frame]:
        """Take the next chunk and return the frames it completes, in order.

        A wrong version byte or length is found before any of the frame's payload
        is kept.

        Args:
            chunk: bytes as they arrived; may hold many frames or part of one.
                Ignored once `fault` is set.
        """
        frames: list[Frame] = []
        if self.fault is not None:
            return frames
        view = memoryview(chunk)
        start = 0
        while self._pending and start < len(view):
            start = self._complete(view, start, frames)
        if self._coming:
            stop = min(start + self._coming, len(view))
            if stop > start:
                self._coming -= stop - start
                frames.append((MORE, view[start:stop]))
            start = stop
        if start < len(view) and self.fault is None:
            self._cut(view, start, frames)
        return frames

    def _complete(self, view: memoryview, start: int, frames: list[Frame]) -> int:
        """Add to the frame that lies across chunks what it needs next.

        Returns:
            Where the rest of `view` begins.
        """
        pending = self._pending
        stop = start + self._needed - len(pending)
        pending += view[start:stop]
        if stop > len(view):
            return len(view)
        whole = memoryview(bytes(pending))
        pending.clear()
        # either the frame is whole now, or its header, which tells what it needs
        self._cut(whole, 0, frames)
        return stop

    def _cut(self, view: memoryview, start: int, frames: list[Frame]) -> None:
        """Append the frames of `view` from `start` on, and keep what is not whole."""
        unpack = _HEADER.unpack_from
        append = frames.append
        end = len(view)
        limit = self.limit
        while start < end:
            if view[start] != VERSION:
                self.fault = VersionError(view[start])
                return
            body = start + HEADER_BYTES
            if body > end:
                self._keep(view[start:], HEADER_BYTES)
                return
            _, kind, length = unpack(view, start)
            if length > limit:
                self.fault = FrameTooLargeError(length, limit)
                return
            stop = body + length
            if stop > end:
                if kind != DATA or not self.eager or length < _ID_BYTES:
                    self._keep(view[start:], HEADER_BYTES + length)
                elif body + _ID_BYTES > end:
                    self._keep(view[start:], DATA_HEADER_BYTES)
                else:
                    append((DATA, view[body:]))
                    self._coming = stop - end
                return
            append((kind, view[body:stop]))
            start = stop

    def _keep(self, part: memoryview, needed: int) -> None:
        self._pending += part
        self._needed = needed
