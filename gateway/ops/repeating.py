"""Do something now and then while the gateway runs."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger


class Repeating:
    """Calls a function in an even rhythm; a call that fails is logged."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, seconds: float, call: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._call = call
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Call from now on, the first time after one interval."""
        if self._next is None:
            self._next = self._clock.callLater(self._seconds, self._beat)

    def stop(self) -> None:
        """Call no more; may be called twice."""
        pending, self._next = self._next, None
        if pending is not None:
            pending.cancel()

    def _beat(self) -> None:
        self._next = self._clock.callLater(self._seconds, self._beat)
        try:
            self._call()
        except Exception:  # noqa: BLE001 - the next time may be better
            self._log.failure("a repeated call failed")
