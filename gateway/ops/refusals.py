"""Tell the operator of refused callers without letting them flood the log."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gateway.ops.events import Emit, unheard
from gateway.wire.plain import cleaned

WINDOW_SECONDS: Final = 60.0
LONGEST_REASON: Final = 500  # characters
MOST_ADDRESSES: Final = 1024  # told apart within a window; the rest is counted only


class RefusalLog:
    """One line a minute for each address, with the number of those left out.

    Attributes:
        total: how many there ever were.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        what: str = "request",
        word: str = "Unauthorized",
        emit: Emit = unheard,
    ) -> None:
        """Nothing is refused yet.

        Args:
            clock: tells the minutes.
            what: what is refused, in the singular.
            word: what each line begins with.
            emit: told of what each line says.
        """
        self._clock = clock
        self._what = what
        self._word = word
        self._emit = emit
        self._unsaid: dict[str, int] = {}
        self._unsaid_elsewhere = 0
        self._summary: IDelayedCall | None = None
        self._closed = False
        self.total = 0

    def note(self, address: str, reason: str) -> None:
        """Log a refusal now, or count it for the next summary.

        Args:
            address: where the caller sits.
            reason: must hold no secret; may hold words of the caller's.
        """
        self.total += 1
        if address in self._unsaid:
            self._unsaid[address] += 1
        elif len(self._unsaid) < MOST_ADDRESSES:
            self._unsaid[address] = 0
            reason = cleaned(reason, LONGEST_REASON)
            self._log.warn(
                "{word}: {what} from {address} refused: {reason}",
                word=self._word,
                what=self._what,
                address=address,
                reason=reason,
            )
            self._emit(
                "refusal",
                "refused",
                what=self._what,
                address=address,
                reason=reason,
                count=1,
            )
        else:
            self._unsaid_elsewhere += 1
        self._await_summary()

    def close(self) -> None:
        """Log what is still unsaid and stop; may be called twice."""
        self._closed = True
        if self._summary is not None:
            self._summary.cancel()
            self._summarise()

    def _await_summary(self) -> None:
        if self._unsaid and self._summary is None and not self._closed:
            self._summary = self._clock.callLater(WINDOW_SECONDS, self._summarise)

    def _summarise(self) -> None:
        self._summary = None
        unsaid = {address: n for address, n in self._unsaid.items() if n}
        for address, count in unsaid.items():
            self._tell(count, address)
        if self._unsaid_elsewhere:
            self._tell(self._unsaid_elsewhere, None)
        # who was told of just now has had this minute's line already
        self._unsaid = dict.fromkeys(unsaid, 0)
        self._unsaid_elsewhere = 0
        self._await_summary()

    def _tell(self, count: int, address: str | None) -> None:
        self._log.warn(
            "{word}: {count} more {what}s from {address} refused",
            word=self._word,
            what=self._what,
            count=count,
            address=address or "other addresses",
        )
        self._emit(
            "refusal",
            "refused",
            what=self._what,
            address=address,
            reason=None,
            count=count,
        )
