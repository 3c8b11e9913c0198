"""What happens in this process: the last events of each topic, for whoever follows."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from operator import itemgetter
from typing import Final, NamedTuple
from typing import Protocol as Seam

from twisted.internet.interfaces import IDelayedCall, IReactorTime

TOPICS: Final = (
    "mapping",
    "link",
    "connection",
    "refusal",
    "reload",
    "ban",
    "gateway",
)
KEPT: Final = 2000  # events of each topic
GATHER_SECONDS: Final = 0.05  # in which new events are told together


class Event(NamedTuple):
    """Something that happened.

    Attributes:
        number: 1, 2, 3, ... over all topics of this process.
        at: Unix seconds.
        topic: one of `TOPICS`.
        action: what happened, such as `opened`.
        fields: to what, as JSON has it; not to be changed.
    """

    number: int
    at: float
    topic: str
    action: str
    fields: dict[str, object]


class Emit(Seam):
    """Notes that something happened; `Events.emit` is one."""

    def __call__(self, topic: str, action: str, **fields: object) -> None:
        """Note it."""


def unheard(topic: str, action: str, **fields: object) -> None:
    """Tell nobody: an `Emit` for what runs alone."""


_Noted = tuple[int, float, str, str, dict[str, object]]
_by_number: Final = itemgetter(0)


class Events:
    """Keeps the last events, and wakes whoever follows them.

    A topic with many events does not push out those of the others.  To note an event
    costs less than a microsecond: it becomes text when somebody reads it.

    Attributes:
        epoch: tells this process' numbers from those of any other.
        wall_clock: Unix seconds.
        last: number of the newest event; 0 = there was none.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wall_clock: Callable[[], float],
        epoch: str,
        kept: int = KEPT,
    ) -> None:
        """Nothing has happened yet.

        Args:
            clock: for gathering.
            wall_clock: Unix seconds.
            epoch: letters and digits.
            kept: how many events of each topic can be read.
        """
        self.epoch: Final = epoch
        self.last = 0
        self._clock = clock
        self.wall_clock: Final = wall_clock
        # plain tuples cost less than events; the oldest of a full ring counts as lost,
        # which tells up to where a topic cannot be read
        self._rings: dict[str, deque[_Noted]] = {
            topic: deque(maxlen=kept + 1) for topic in TOPICS
        }
        self._followers: dict[Callable[[], None], None] = {}
        self._wake: IDelayedCall | None = None

    def emit(self, topic: str, action: str, **fields: object) -> None:
        """Note that something happened.

        Args:
            topic: one of `TOPICS`.
            action: what.
            **fields: to what, as JSON has it; no secrets.
        """
        self.last = number = self.last + 1
        self._rings[topic].append((number, self.wall_clock(), topic, action, fields))
        if self._followers and self._wake is None:
            self._wake = self._clock.callLater(GATHER_SECONDS, self._tell)

    def since(
        self, number: int, topics: Collection[str] = TOPICS, count: int | None = None
    ) -> list[Event]:
        """Return the events of some topics that came after `number`, in order.

        Args:
            number: of the last event that is not wanted.
            topics: some of `TOPICS`.
            count: return the first so many only; None = all.
        """
        found: list[_Noted] = []
        for topic in topics:
            found += self._ring_since(topic, number, count)
        found.sort(key=_by_number)
        return list(map(Event._make, found[:count]))

    def _ring_since(self, topic: str, number: int, count: int | None) -> list[_Noted]:
        ring = self._rings[topic]
        if not ring or ring[-1][0] <= number:
            return []  # the usual case, and walking a ring takes time
        start = bisect_right(ring, max(number, self._lost(topic)), key=_by_number)
        behind = len(ring) - start
        if count is None or behind <= count:
            newest = list(islice(reversed(ring), behind))
            newest.reverse()
            return newest
        return list(islice(ring, start, start + count))

    def _lost(self, topic: str) -> int:
        """Return the number of the newest event that cannot be read any more."""
        ring = self._rings[topic]
        return ring[0][0] if len(ring) == ring.maxlen else 0

    def recent(self, count: int, topics: Collection[str] = TOPICS) -> list[Event]:
        """Return the last events of some topics, in order."""
        return self.since(0, topics)[-count:] if count else []

    def lost_since(self, number: int, topics: Collection[str] = TOPICS) -> bool:
        """Tell whether events that came after `number` cannot be read any more."""
        return any(self._lost(topic) > number for topic in topics)

    def follow(self, call: Callable[[], None]) -> None:
        """Call soon after each event, once for all that came together."""
        self._followers[call] = None

    def unfollow(self, call: Callable[[], None]) -> None:
        """Call no more; may be called twice."""
        self._followers.pop(call, None)
        if not self._followers and self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _tell(self) -> None:
        self._wake = None
        for call in list(self._followers):
            call()
