"""Plain numbers that the visitors' path adds to, and that a scrape reads."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, Protocol

# seconds; the buckets that the metrics' names come with
DURATION_BOUNDS: Final = tuple(0.01 * 2**power for power in range(15))
LATENCY_BOUNDS: Final = tuple(0.001 * 2**power for power in range(15))

FINISHED: Final = "finished"
BROKEN: Final = "broken"
UNREACHED: Final = "unreached"
DENIED: Final = "denied"
NO_AGENT: Final = "no_agent"
LEFT: Final = "left"
KILLED: Final = "killed"
# how a visit may end: in order, broken off after its target was reached, target not
# reached, not allowed, nobody to ask, gone before the target was reached, ended here
OUTCOMES: Final = (FINISHED, BROKEN, UNREACHED, DENIED, NO_AGENT, LEFT, KILLED)
FAULTS: Final = frozenset({BROKEN, UNREACHED, DENIED, NO_AGENT})

VISITOR: Final = "visitor"
TARGET: Final = "target"
WINDOW: Final = "window"
LINK: Final = "link"
MEMORY: Final = "memory"
RATE: Final = "rate"
# what bytes may have to wait for: a slow reader at either end, credit that is under
# way, room on the link, `limits.memory`, a limit on bandwidth
CAUSES: Final = (VISITOR, TARGET, WINDOW, LINK, MEMORY, RATE)


class Histogram:
    """How often a value was in each of some ranges.

    Attributes:
        bounds: upper ends of the ranges, ascending, each of them included.
        counts: how often, by range; the last is for all above the last bound.
        sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulated(self) -> list[tuple[float, int]]:
        """Return each bound, and how many values were at most that; infinity last."""
        found, total = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class Waiting(Protocol):
    """Something whose bytes have to wait now."""

    def note_waits(self) -> None:
        """Count what it has waited since this was last asked."""


class Stalls:
    """How often, and for how long, bytes had to wait, by cause.

    Attributes:
        counts: how often, by `CAUSES`.
        seconds: for how long, where that is known.
        waiting: those whose bytes wait now, each at most as long as it lives.
    """

    __slots__ = ("counts", "seconds", "waiting")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(CAUSES, 0)
        self.seconds = dict.fromkeys(CAUSES, 0.0)
        self.waiting: dict[Waiting, None] = {}

    def note(self, cause: str, seconds: float, count: int = 1) -> None:
        """Count waits, or what has passed of them.

        Args:
            cause: one of `CAUSES`.
            seconds: for how long in all; 0 = not known.
            count: how many are counted for the first time.
        """
        self.counts[cause] += count
        self.seconds[cause] += seconds


class Tally:
    """What visits that are over have carried.

    Attributes:
        sent: bytes from visitors to targets.
        received: bytes from targets to visitors.
        outcomes: how many ended in which of `OUTCOMES`.
        durations: seconds from accept to the end.
        latencies: seconds from accept until the target was reached.
    """

    __slots__ = ("durations", "latencies", "outcomes", "received", "sent")

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.durations = Histogram(DURATION_BOUNDS)
        self.latencies = Histogram(LATENCY_BOUNDS)

    @property
    def visits(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())

    @property
    def errors(self) -> int:
        """How many did not end as they should, by no will of their visitor."""
        return sum(self.outcomes[fault] for fault in FAULTS)

    def ended(self, sent: int, received: int, outcome: str, seconds: float) -> None:
        """Count a visit that is over.

        Args:
            sent: bytes to the target.
            received: bytes to the visitor.
            outcome: one of `OUTCOMES`.
            seconds: how long it took.
        """
        self.sent += sent
        self.received += received
        self.outcomes[outcome] += 1
        self.durations.observe(seconds)
