"""Share the work that received frames make among links, turn by turn.

A read may hold tens of thousands of frames.  What one link's frames may cost in one
turn of the event loop is bounded; what exceeds it waits for the next turn, when the
links that wait go on one after the other.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

WORK: Final = 256  # of all links that wait together; see `wire.codec`
LEAST_WORK: Final = 16  # of each of them
MOST_LINKS: Final = WORK // LEAST_WORK  # that go on in one turn


class Worker(Protocol):
    """A link that has received more than one turn may cost."""

    def take_turn(self, work: int) -> None:
        """Do so much, and wait again if that is not all."""

    def abort(self, why: str) -> None:
        """Close at once."""


class Turns:
    """The links of one process that wait for their next turn.

    Attributes:
        share: the work that any link may do in one turn, in `LEAST_WORK`..`WORK`; the
            more of them wait, the less it is.
    """

    log = Logger()

    def __init__(self) -> None:
        self.share = WORK
        self._waiting: OrderedDict[Worker, None] = OrderedDict()
        self._call: IDelayedCall | None = None

    def wait(self, clock: IReactorTime, worker: Worker) -> None:
        """Give `worker` a turn after those that wait already."""
        self._waiting[worker] = None
        self._changed()
        if self._call is None:
            self._call = clock.callLater(0, self._go_on, clock)

    def forget(self, worker: Worker) -> None:
        """Give it no turn; no error if it does not wait."""
        self._waiting.pop(worker, None)
        self._changed()
        if not self._waiting and self._call is not None:
            self._call.cancel()
            self._call = None

    def _changed(self) -> None:
        self.share = max(LEAST_WORK, WORK // (1 + len(self._waiting)))

    def _go_on(self, clock: IReactorTime) -> None:
        self._call = None
        share = max(LEAST_WORK, WORK // len(self._waiting))
        for worker in list(islice(self._waiting, MOST_LINKS)):
            if worker not in self._waiting:
                continue  # another one's turn has ended it
            del self._waiting[worker]
            try:
                worker.take_turn(share)
            except BaseException:  # noqa: BLE001 - a bug costs this link only
                self.log.failure("{worker} failed", worker=worker)
                worker.abort("an error in this process")
        self._changed()
        if self._waiting and self._call is None:
            self._call = clock.callLater(0, self._go_on, clock)
