"""Divide long work among turns of the event loop.

Costs are counted and not measured, so that the same work takes the same number of
turns everywhere.  A cost of 1 is about a microsecond of a usual machine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")

PER_TURN: Final = 1000  # cost of what is done in one turn, by everybody together
PER_SLICE: Final = 250  # cost of a piece of a table

# what usual pieces of work cost
REQUEST: Final = 100  # an HTTP request: parse it, find its route, write its answer
ROW: Final = 25  # an object of a JSON answer: make it, check it, encode it
LINE: Final = 8  # a line of a request's head; a chunk of a body has two
SAMPLE: Final = 8  # a line of `/metrics`
VIEW: Final = 4  # a mapping, an agent, or a connection with all that is known of it
JUDGE: Final = 20  # look whether a visitor may stay, and close its connection if not
LOOK: Final = 1  # read a few numbers of one connection


class Slices:
    """Admit work to the turns of the event loop, first come, first served.

    All long work of a process shares one of these, so that a turn stays short however
    many callers want something.
    """

    def __init__(self, clock: IReactorTime, per_turn: int = PER_TURN) -> None:
        """Wait for nothing yet.

        Args:
            clock: begins the next turn.
            per_turn: cost of what is done in one turn.
        """
        self._clock = clock
        self._per_turn = per_turn
        self._left = per_turn
        self._waiting: OrderedDict[Deferred[None], int] = OrderedDict()
        self._call: IDelayedCall | None = None

    def room(self, cost: int) -> Deferred[None] | None:
        """Ask for room for work in this turn.

        Returns:
            None if it may be done now; else a Deferred that fires in the turn in which
            it may.  Who does not want it any more cancels that.
        """
        if self._left > 0 and not self._waiting:
            self.spend(cost)
            return None
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting[waiting] = cost
        return waiting

    async def pieces(self, rows: Iterable[T], cost: int) -> AsyncIterator[list[T]]:
        """Return a table in pieces, each in a turn that has room for it.

        Args:
            rows: are taken when their turn comes; of a table that lives pass a copy, or
                what looks each row up by its key.
            cost: of making a row and of what is done with it.
        """
        size = max(1, PER_SLICE // cost)
        left = iter(rows)
        while True:
            waiting = self.room(0)
            if waiting is not None:
                await waiting
            piece = list(islice(left, size))
            if not piece:
                return
            self.spend(len(piece) * cost)
            yield piece

    def each(self, rows: Iterable[T], cost: int, act: Callable[[T], None]) -> None:
        """Act on each row, in turns that have room for it; nobody waits for the end.

        Args:
            rows: are taken when their turn comes.
            cost: of acting on one.
            act: must not raise.
        """
        Deferred.fromCoroutine(self._act(rows, cost, act))

    async def _act(
        self, rows: Iterable[T], cost: int, act: Callable[[T], None]
    ) -> None:
        async for piece in self.pieces(rows, cost):
            for row in piece:
                act(row)

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting.pop(waiting, None)

    def spend(self, cost: int) -> None:
        """Charge this turn for work whose cost is known when it is done.

        What is more than this turn had is paid for by the next ones.
        """
        self._left -= cost
        if self._call is None:
            self._call = self._clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._call = None
        # the next turns pay for what was too much for one
        self._left = min(self._per_turn, self._left + self._per_turn)
        if self._left <= 0:
            self.spend(0)
        while self._waiting and self._left > 0:
            waiting, cost = self._waiting.popitem(last=False)
            self.spend(cost)
            waiting.callback(None)


class _Work(Generic[T]):
    """Something under way, and who waits for it."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.task: Deferred[None] | None = None
        self.waiting: dict[Deferred[T], None] = {}


class Shared(Generic[T]):
    """Do equal work that is asked for meanwhile only once."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._under_way: dict[Hashable, _Work[T]] = {}

    def join(
        self, key: Hashable, begin: Callable[[], Coroutine[Deferred[Any], Any, T]]
    ) -> Deferred[T]:
        """Return the result of the work under way; begin it if there is none.

        Work is cancelled when nobody waits for it any more.

        Args:
            key: equal for equal work.
            begin: returns the work.
        """
        found = self._under_way.get(key)
        work: _Work[T] = _Work() if found is None else found
        mine: Deferred[T] = Deferred(lambda mine: self._leave(key, work, mine))
        work.waiting[mine] = None
        if found is None:
            self._under_way[key] = work
            task: Deferred[Any] = Deferred.fromCoroutine(begin())
            work.task = task
            task.addBoth(self._done, key, work)
        return mine

    def _leave(self, key: Hashable, work: _Work[T], mine: Deferred[T]) -> None:
        work.waiting.pop(mine, None)
        if not work.waiting and self._under_way.get(key) is work:
            del self._under_way[key]
            assert work.task is not None
            work.task.cancel()

    def _done(self, result: T | Failure, key: Hashable, work: _Work[T]) -> None:
        if self._under_way.get(key) is work:
            del self._under_way[key]
        waiting, work.waiting = work.waiting, {}
        for one in waiting:
            one.callback(result)
