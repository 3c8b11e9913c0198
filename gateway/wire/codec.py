"""Cut a byte stream into frames and back.

No sockets, no clock, no Twisted: bytes in, values out.

    version u8 | kind u8 | length u32 | payload[length]
"""

from __future__ import annotations

import struct
from typing import Final

from gateway.errors import FrameTooLargeError, ProtocolError, VersionError
from gateway.wire.frames import HEADER_BYTES, MAX_PAYLOAD, VERSION

_HEADER: Final = struct.Struct("!BBI")
_SMALL: Final = 1024  # bytes; an object of its own for less than that costs too much

Frame = tuple[int, memoryview]
"""Kind (0..255) and payload; a plain tuple because there is one for every chunk."""


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

    Payloads are views of the chunks that were fed (or of one joined copy where a
    frame lay across chunks), so a frame is copied at most once.

    Attributes:
        limit: longest payload accepted, bytes.
        fault: why the stream ended being readable, or None.  Frames before the
            fault are returned all the same, so results never depend on the cuts.
    """

    __slots__ = ("_held", "_needed", "_parts", "fault", "limit")

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self.limit = limit
        self.fault: ProtocolError | None = None
        self._parts: list[bytes | bytearray | memoryview] = []
        self._held = 0
        self._needed = 1

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next chunk and return the frames it completes, in order.

        A wrong version byte or length is found before any of the frame's payload
        is kept.

        Args:
            chunk: bytes as they arrived; may hold many frames or part of one.
                Ignored once `fault` is set.
        """
        if self.fault is not None:
            return []
        held = self._held + len(chunk)
        if held < self._needed:
            self._keep(chunk)
            self._held = held
            return []
        if self._parts:
            self._parts.append(chunk)
            chunk = b"".join(self._parts)
            self._parts = []
        return self._cut(memoryview(chunk))

    def _keep(self, chunk: bytes) -> None:
        """Put a chunk aside; small ones are gathered, however many there are."""
        parts = self._parts
        if len(chunk) >= _SMALL:
            parts.append(chunk)
        elif parts and isinstance(parts[-1], bytearray):
            parts[-1] += chunk
        else:
            parts.append(bytearray(chunk))

    def _cut(self, view: memoryview) -> list[Frame]:
        """Return the whole frames at the start of `view` and keep the rest."""
        frames: list[Frame] = []
        unpack = _HEADER.unpack_from
        start, end = 0, len(view)
        needed = 1
        while start < end:
            if view[start] != VERSION:
                return self._fail(VersionError(view[start]), frames)
            body = start + HEADER_BYTES
            if body > end:
                needed = HEADER_BYTES
                break
            _, kind, length = unpack(view, start)
            if length > self.limit:
                return self._fail(FrameTooLargeError(length, self.limit), frames)
            stop = body + length
            if stop > end:
                needed = HEADER_BYTES + length
                break
            frames.append((kind, view[body:stop]))
            start = stop
        self._held = end - start
        self._needed = needed
        if start < end:
            # a short rest of a long chunk must not keep all of it alive
            rest = view[start:]
            self._parts = [rest if start * 2 < end else bytes(rest)]
        return frames

    def _fail(self, fault: ProtocolError, frames: list[Frame]) -> list[Frame]:
        self.fault = fault
        self._held = 0
        return frames
