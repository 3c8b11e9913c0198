"""Break off what has held memory longest, when there is no more to be had."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from typing import Protocol as Seam

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gateway.policy.budget import Budget

LOOK_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 10.0  # for who keeps others out, below the limit
WHY: Final = "it moved nothing while limits.memory was reached"


class Holder(Seam):
    """A stream, or a direct visitor and its target."""

    @property
    def held(self) -> int:
        """Bytes that wait in this process."""

    @property
    def moved(self) -> int:
        """Bytes that it has ever passed on to a kernel or a link."""

    def break_off(self, why: str) -> None:
        """End it at once, at both ends."""


class MemoryWatch:
    """Looks at every holder, but only while memory is tight.

    Above the limit it breaks off who has moved nothing since the last look, and below
    it who has kept new ones out for 10 seconds that way.  One that moves is never
    broken off.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        budget: Budget,
        holders: Callable[[], Iterable[Holder]],
    ) -> None:
        """Begin to watch.

        Args:
            clock: tells when to look.
            budget: raises the alarm, and says when it is over.
            holders: returns all there are.
        """
        self._clock = clock
        self._budget = budget
        self._holders = holders
        # how much each had moved, and since when it has moved no more
        self._still: dict[Holder, tuple[int, float]] = {}
        self._call: IDelayedCall | None = None
        budget.alarm = self._begin

    def stop(self) -> None:
        """Look no more; may be called twice."""
        self._budget.alarm = None
        self._still.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _begin(self) -> None:
        self._budget.alarm = None  # until it is over
        self.log.warn(
            "memory is tight: {used} of limits.memory ({limit}) bytes are held; "
            "windows shrink, and above {share} no stream begins",
            used=self._budget.used,
            limit=self._budget.limit,
            share=self._budget.limit // 8 * 7,
        )
        self._call = self._clock.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._call = None
        if not self._budget.tight:
            self._still.clear()
            self._budget.alarm = self._begin
            self.log.info("memory is no longer tight")
            return
        self._call = self._clock.callLater(LOOK_SECONDS, self._look)
        now = self._clock.seconds()
        still: dict[Holder, tuple[int, float]] = {}
        for holder in self._holders():
            if holder.held:
                moved = holder.moved
                before = self._still.get(holder)
                since = before[1] if before is not None and before[0] == moved else now
                still[holder] = (moved, since)
        self._still = still
        while self._budget.over and self._break_one(now, LOOK_SECONDS):
            pass
        while self._budget.refusing and self._break_one(now, PATIENCE_SECONDS):
            pass

    def _break_one(self, now: float, seconds: float) -> bool:
        """Break off who has held most for longest.

        Returns:
            False if all of them have moved within these last seconds.
        """
        worst: Holder | None = None
        weight = 0.0
        for holder, (_, since) in self._still.items():
            still = now - since
            if still >= seconds and holder.held * still > weight:
                worst, weight = holder, holder.held * still
        if worst is None:
            return False
        del self._still[worst]
        self._budget.broken += 1
        worst.break_off(WHY)
        return True
