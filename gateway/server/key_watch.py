"""End what a key has allowed once the key expires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.policy.expiry import Expiries

LONGEST_LOOK_SECONDS: Final = 3600.0


class KeyWatch:
    """The keys of connected agents, and when the next of them expires."""

    def __init__(
        self,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        expired: Callable[[str], None],
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for the look at the next expiry.
            wall_clock: Unix seconds.
            expired: called with the name of each agent whose key has expired.
        """
        self._clock = clock
        self._wall_clock = wall_clock
        self._expired = expired
        self._expiries = Expiries()
        self._call: IDelayedCall | None = None
        self._stopped = False

    def put(self, name: str, expires_at: int | None) -> None:
        """Note when the key of a connected agent expires; None = never."""
        self._expiries.put(name, expires_at)
        self._plan()

    def discard(self, name: str) -> None:
        """Forget an agent that has left."""
        self._expiries.discard(name)

    def stop(self) -> None:
        """Look no more; may be called twice."""
        self._stopped = True
        self._cancel()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _plan(self) -> None:
        """Look again when the next key expires.

        That is in an hour at the latest: the wall clock may be set.
        """
        self._cancel()
        at = self._expiries.next_at()
        if at is not None and not self._stopped:
            left = max(0.0, at - self._wall_clock())
            self._call = self._clock.callLater(
                min(left, LONGEST_LOOK_SECONDS), self._look
            )

    def _look(self) -> None:
        self._call = None
        for name in self._expiries.due(self._wall_clock()):
            self._expired(name)
        self._plan()
