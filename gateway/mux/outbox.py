"""What a session wants to send, in the order in which it may leave.

Data, FIN, Close and GOAWAY keep their order.  Everything else (WINDOW, PING,
answers, OPEN, RESET, keep-alives) goes before them, so that it never waits behind
bulk data while the link is full.

Control frames are counted in the memory of the process.  Data is not: it waits until
the end of the turn only, and none is taken while the link is full.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from gateway.mux.credit import Memory, Plenty
from gateway.wire.frames import DATA, DATA_HEADER_BYTES, VERSION

Piece = bytes | memoryview

UNCOUNTED: Final = Plenty()

MAX_CONTROL_BYTES: Final = 1 << 20
FRAME_BYTES: Final = 48  # of memory that each takes besides what it says
_DATA_MARK: Final = VERSION << 8 | DATA
_pack: Final = struct.Struct("!HII").pack  # mark, length with the connID, connID


class Outbox:
    """Pieces of frames that wait for the link's transport.

    Attributes:
        waiting_bytes: bytes that wait, headers included.
        control_bytes: what the control frames that wait take in memory.
        sent_bytes: all bytes handed out so far, headers included.
    """

    __slots__ = (
        "_closed",
        "_memory",
        "_ordered",
        "_urgent",
        "control_bytes",
        "sent_bytes",
        "waiting_bytes",
    )

    def __init__(self, memory: Memory = UNCOUNTED) -> None:
        """Nothing waits yet.

        Args:
            memory: what the process shares; control frames are counted there.
        """
        self._memory = memory
        self._closed = False
        self._urgent: list[Piece] = []
        self._ordered: list[Piece] = []
        self.control_bytes = 0
        self.waiting_bytes = 0
        self.sent_bytes = 0

    def __bool__(self) -> bool:
        return self.waiting_bytes > 0

    @property
    def flooded(self) -> bool:
        """Whether control frames that wait take more than 1 MiB."""
        return self.control_bytes > MAX_CONTROL_BYTES

    def urgent(self, frame: bytes) -> None:
        """Queue a control frame that may go before data."""
        self._queue(self._urgent, frame)

    def behind(self, frame: bytes) -> None:
        """Queue a control frame that keeps its place behind data."""
        self._queue(self._ordered, frame)

    def _queue(self, place: list[Piece], frame: bytes) -> None:
        if self._closed:
            return
        place.append(frame)
        size = len(frame)
        self.waiting_bytes += size
        size += FRAME_BYTES
        self.control_bytes += size
        self._memory.hold(size)

    def data(self, stream_id: int, data: Piece, size: int, limit: int) -> None:
        """Queue bytes as Data frames; credit or the link's fullness bounds them.

        Args:
            stream_id: the wire's connID.
            data: at least `size` bytes; the first of them go, sliced, never copied.
            size: bytes to send, at least 1.
            limit: Data bytes of one frame at most, at least 1.
        """
        append = self._ordered.append
        if size <= limit:
            append(_pack(_DATA_MARK, size + 4, stream_id))
            append(data if size == len(data) else memoryview(data)[:size])
            self.waiting_bytes += size + DATA_HEADER_BYTES
            return
        view = memoryview(data)
        for start in range(0, size, limit):
            part = view[start : min(start + limit, size)]
            append(_pack(_DATA_MARK, len(part) + 4, stream_id))
            append(part)
            self.waiting_bytes += len(part) + DATA_HEADER_BYTES

    def take(self) -> Sequence[Piece]:
        """Return everything that waits, in sending order, and forget it."""
        pieces = self._urgent + self._ordered if self._urgent else self._ordered
        self._urgent = []
        self._ordered = []
        if self.control_bytes:
            self._memory.let_go(self.control_bytes)
            self.control_bytes = 0
        self.sent_bytes += self.waiting_bytes
        self.waiting_bytes = 0
        return pieces

    def close(self) -> None:
        """Forget what waits, and take nothing more."""
        self._closed = True
        self._memory.let_go(self.control_bytes)
        self._urgent.clear()
        self._ordered.clear()
        self.control_bytes = self.waiting_bytes = 0
