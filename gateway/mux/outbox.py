"""What a session wants to send, in the order in which it may leave.

Data, FIN, Close and GOAWAY keep their order.  Everything else (WINDOW, PING,
answers, OPEN, RESET, keep-alives) goes before them, so that it never waits behind
bulk data while the link is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

Piece = bytes | memoryview

MAX_CONTROL_BYTES: Final = 1 << 20


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

    def ordered(self, *pieces: Piece) -> None:
        """Queue pieces of Data frames; credit or the link's fullness bounds them."""
        self._ordered += pieces
        for piece in pieces:
            self.waiting_bytes += len(piece)

    def take(self) -> Sequence[Piece]:
        """Return everything that waits, in sending order, and forget it."""
        pieces = self._urgent + self._ordered if self._urgent else self._ordered
        self._urgent = []
        self._ordered = []
        self._control_bytes = 0
        self.sent_bytes += self.waiting_bytes
        self.waiting_bytes = 0
        return pieces
