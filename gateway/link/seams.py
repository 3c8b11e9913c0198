"""What a link and its streams need of each other."""

from __future__ import annotations

from typing import Protocol

from gateway.metrics.tallies import Stalls
from gateway.mux.core import Rules
from gateway.policy.budget import Budget
from gateway.relay.linger import Linger


class LinkedStream(Protocol):
    """A stream, as its link sees it."""

    @property
    def unsent(self) -> int:
        """Bytes received that the near socket's kernel has not taken."""

    def go_on(self) -> None:
        """Send what waits, now that the link has room."""

    def abort(self, reason: int, why: str) -> None:
        """End the stream at once, at both ends."""


class StreamLink(Protocol):
    """A link, as its streams see it.

    Attributes:
        full: the transport takes nothing more for now.
        memory: what all streams of the process share.
        stalls: what bytes had to wait for.
        linger: flushes near sockets whose stream is over.
    """

    full: bool
    memory: Budget
    stalls: Stalls
    linger: Linger

    @property
    def rules(self) -> Rules:
        """How the decided link treats its streams."""

    @property
    def negotiated(self) -> bool:
        """Whether the link has credit, half-close and reset."""

    @property
    def legacy(self) -> bool:
        """Whether the link speaks the plain protocol only."""

    @property
    def round_trip(self) -> float | None:
        """Seconds of the last measured round trip, or None."""

    @property
    def water_marks(self) -> tuple[int, int]:
        """Pause and resume mark of near transports, bytes."""

    def seconds(self) -> float:
        """Return the monotonic time."""

    def note_time(self) -> None:
        """Tell the session what time it is, before what is not an arrival."""

    def flush(self) -> bool:
        """Send what waits soon; return whether the transport is full now."""

    def push(self) -> bool:
        """Send what waits at once; return whether the transport is full now."""

    def stall(self, stream: LinkedStream) -> None:
        """Remember a stream that waits for room."""

    def hold(self, stream: LinkedStream) -> None:
        """Note that the near socket of a stream is full."""

    def release(self, stream: LinkedStream) -> None:
        """Note that the near socket of a stream has room, or is gone."""

    def stream_over(self, stream: LinkedStream) -> None:
        """Forget a stream that has ended."""
