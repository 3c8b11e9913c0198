"""Watch the memory that connections use, and reset those that do not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final
from typing import Protocol as Seam

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gateway.policy.backlogs import (
    WHEN_OVER,
    WHEN_REFUSING,
    WHEN_TIGHT,
    Backlog,
    Backlogs,
    Flow,
)
from gateway.policy.budget import Budget

LOOK_SECONDS: Final = 0.5  # between looks while memory is tight
LEISURE_SECONDS: Final = 1.0  # the same while there is plenty
SLICE: Final = 128  # connections that are looked at in one turn
RESETS: Final = 32  # connections that are reset in one turn
HURRIED_SECONDS: Final = 0.005  # between two slices
LEISURELY_SECONDS: Final = 0.1  # 10,000 idle connections: 8 s, 0.5 % of a core
WHY: Final = "it moved nothing while limits.memory was reached"
WHY_SLOW: Final = "it moved too little while limits.memory was reached"


class Holder(Seam):
    """A connection whose bytes may have to wait."""

    @property
    def address(self) -> str:
        """Whose it is: an IPv4 address or an IPv6 /64."""

    def flows(self) -> Iterable[Flow]:
        """Return what waits for each peer, in the same order each time; or nothing."""

    def break_off(self, why: str) -> None:
        """End it at once, at both ends."""


class MemoryWatch:
    """Look at all connections in turns, a bounded number in each.

    A look counts what the kernel holds for slow peers, and what each address uses.
    While memory is tight looks follow each other quickly, and connections whose peer
    does not read are reset by the rules of `policy.backlogs`.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        budget: Budget,
        holders: Callable[[], Iterable[Holder]],
    ) -> None:
        """Remember the collaborators; nothing happens before `start`.

        Args:
            clock: tells when to look.
            budget: what is used, and how much of it is too much; 0 = nobody looks.
            holders: returns all connections there are.
        """
        self._clock = clock
        self._budget = budget
        self._holders = holders
        self._backlogs: Backlogs[Holder] = Backlogs()
        self._left: Iterator[Holder] = iter(())
        self._began_at = 0.0
        self._call: IDelayedCall | None = None
        self._alarmed = False

    def start(self) -> None:
        """Look from now on, unless memory is unlimited."""
        if self._budget.limit and self._call is None:
            self._budget.alarm = self._hurry
            self._call = self._clock.callLater(LEISURE_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more; may be called twice."""
        self._budget.alarm = None
        self._left = iter(())
        self._backlogs.clear()
        self._publish()
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._call = self._clock.callLater(seconds, call)

    def _hurry(self) -> None:
        """Memory has become tight between two looks."""
        self._alarm()
        if self._call is not None and self._call.active():
            wait = self._call.getTime() - self._clock.seconds()
            if wait > HURRIED_SECONDS:
                self._call.reset(HURRIED_SECONDS)

    def _alarm(self) -> None:
        budget = self._budget
        budget.alarm = None  # until it is over
        self._alarmed = True
        self.log.warn(
            "memory is tight: {used} of limits.memory ({limit}) bytes are held; "
            "windows shrink, and above {share} no stream begins of an address that "
            "uses its share",
            used=budget.used,
            limit=budget.limit,
            share=budget.limit // 8 * 7,
        )

    def _relax(self) -> None:
        self._alarmed = False
        self._budget.alarm = self._hurry
        self.log.info("memory is no longer tight")

    def _look(self) -> None:
        """Begin a look at all connections."""
        self._began_at = self._clock.seconds()
        self._left = iter(list(self._holders()))
        self._go_on()

    def _go_on(self) -> None:
        """Look at the next few."""
        now, observe = self._clock.seconds(), self._backlogs.observe
        count = 0
        for holder in islice(self._left, SLICE):
            count += 1
            flows = holder.flows()
            if flows:
                observe(holder, holder.address, flows, now)
        if count == SLICE:
            hurried = self._alarmed
            self._after(HURRIED_SECONDS if hurried else LEISURELY_SECONDS, self._go_on)
        else:
            self._judge()

    def _publish(self) -> None:
        budget, backlogs = self._budget, self._backlogs
        budget.count_kernel(backlogs.kernel)
        budget.stalled = backlogs.stalled
        budget.shares.update(backlogs.uses)

    def _judge(self) -> None:
        """Draw the conclusions from a look at all."""
        backlogs, budget = self._backlogs, self._budget
        backlogs.finish()
        self._publish()
        if budget.tight and not self._alarmed:
            self._alarm()
        elif self._alarmed and not budget.tight:
            self._relax()
        self._reset_some(self._too_many())

    def _too_many(self) -> Iterator[Backlog[Holder]]:
        """Yield whom to reset, as long as there is too much."""
        budget, now, share = self._budget, self._began_at, self._budget.shares.share
        victims = self._backlogs.victims
        yield from _while(lambda: budget.over, victims(now, share, WHEN_OVER))
        yield from _while(lambda: budget.refusing, victims(now, share, WHEN_REFUSING))
        yield from _while(lambda: budget.tight, victims(now, share, WHEN_TIGHT))

    def _reset_some(self, victims: Iterator[Backlog[Holder]]) -> None:
        """Reset a few, and the others in the next turns; then plan the next look."""
        budget = self._budget
        count = 0
        for backlog in islice(victims, RESETS):
            count += 1
            if not backlog.holder.flows():
                continue  # it has ended by itself
            budget.broken += 1
            budget.count_kernel(budget.kernel - backlog.kernel)
            backlog.holder.break_off(WHY if backlog.stalled else WHY_SLOW)
        if count == RESETS:
            self._after(HURRIED_SECONDS, lambda: self._reset_some(victims))
            return
        hurried = self._alarmed or self._unknown_matters()
        seconds = LOOK_SECONDS if hurried else LEISURE_SECONDS
        spent = self._clock.seconds() - self._began_at
        self._after(max(seconds - spent, HURRIED_SECONDS), self._look)

    def _unknown_matters(self) -> bool:
        """Return whether what is not judged yet could make memory tight."""
        budget = self._budget
        return budget.used + self._backlogs.unknown > budget.limit // 2


def _while(
    needed: Callable[[], bool], going: Iterator[Backlog[Holder]]
) -> Iterator[Backlog[Holder]]:
    """Yield the next one for as long as it is needed."""
    while needed():
        one = next(going, None)
        if one is None:
            return
        yield one
