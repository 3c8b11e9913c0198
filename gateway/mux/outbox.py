"""What a session wants to send, in the order in which it may leave.

Data, FIN, Close and GOAWAY keep their order.  Everything else (WINDOW, PING,
answers, OPEN, RESET, keep-alives) goes before them, so that it never waits behind
bulk data while the link is full.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from gateway.wire.frames import DATA, DATA_HEADER_BYTES, VERSION

Piece = bytes | memoryview

MAX_CONTROL_BYTES: Final = 1 << 20
_DATA_MARK: Final = VERSION << 8 | DATA
_pack: Final = struct.Struct("!HII").pack  # mark, length with the connID, connID


class Outbox:
    """Pieces of frames that wait for the link's transport.

    Attributes:
        waiting_bytes: bytes that wait, headers included.
        sent_bytes: all bytes handed out so far, headers included.
    """

    __slots__ = ("_control_bytes", "_ordered", "_urgent", "sent_bytes", "waiting_bytes")

    def __init__(self) -> None:
        self._urgent: list[Piece] = []
        self._ordered: list[Piece] = []
        self._control_bytes = 0
        self.waiting_bytes = 0
        self.sent_bytes = 0

    def __bool__(self) -> bool:
        return self.waiting_bytes > 0

    @property
    def flooded(self) -> bool:
        """Whether more than 1 MiB of control frames waits."""
        return self._control_bytes > MAX_CONTROL_BYTES

    def urgent(self, frame: bytes) -> None:
        """Queue a control frame that may go before data."""
        self._urgent.append(frame)
        self._control_bytes += len(frame)
        self.waiting_bytes += len(frame)

    def behind(self, frame: bytes) -> None:
        """Queue a control frame that keeps its place behind data."""
        self._ordered.append(frame)
        self._control_bytes += len(frame)
        self.waiting_bytes += len(frame)

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
        self._control_bytes = 0
        self.sent_bytes += self.waiting_bytes
        self.waiting_bytes = 0
        return pieces
