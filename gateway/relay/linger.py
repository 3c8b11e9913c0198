"""Let a socket flush what it was given, but not for ever."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.interfaces import IByteTransport

PROGRESS_SECONDS: Final = 30.0


class Linger:
    """Close transports politely; abort those that make no progress for 30 s."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: dict[IByteTransport, IDelayedCall] = {}

    def __len__(self) -> int:
        """Return how many transports are being flushed."""
        return len(self._calls)

    def close(self, transport: IByteTransport) -> None:
        """Close after the flush; may be called twice.

        Whoever hears of the end of the connection calls `forget`.
        """
        transport.loseConnection()
        if transport.unsent and transport not in self._calls:
            self._watch(transport, _progress(transport))

    def forget(self, transport: IByteTransport) -> None:
        """The connection is gone; it need not have been one of ours."""
        call = self._calls.pop(transport, None)
        if call is not None:
            call.cancel()

    def _watch(self, transport: IByteTransport, before: tuple[int, int | None]) -> None:
        self._calls[transport] = self._clock.callLater(
            PROGRESS_SECONDS, self._look, transport, before
        )

    def _look(self, transport: IByteTransport, before: tuple[int, int | None]) -> None:
        del self._calls[transport]
        now = _progress(transport)
        if now == before:
            transport.abortConnection()
        elif transport.unsent:
            self._watch(transport, now)

    def stop(self) -> None:
        """Abort what is left; may be called twice."""
        calls, self._calls = self._calls, {}
        for transport, call in calls.items():
            call.cancel()
            transport.abortConnection()


def _progress(transport: IByteTransport) -> tuple[int, int | None]:
    """Return what changes when the kernel or the peer takes something.

    The kernel takes nothing more before it has sent half of what it keeps, which a
    slow peer needs minutes for.
    """
    return transport.unsent, transport.acknowledged()
