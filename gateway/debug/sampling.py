"""Look at the stacks of all threads a hundred times a second, from a thread beside.

Each look costs some microseconds, so the process runs as it does otherwise.  A stack
counts for the processor time that its thread has used since the last look.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, NamedTuple

INTERVAL_SECONDS: Final = 0.01
MOST_STACKS: Final = 20_000  # different ones; bounds memory
MOST_FRAMES: Final = 128


class Place(NamedTuple):
    """A function."""

    file: str
    line: int
    name: str


Stack = tuple[Place, ...]
ELSEWHERE: Final = (Place("~", 0, "(one of too many different stacks)"),)


@dataclass(slots=True)
class Samples:
    """What was seen.

    Attributes:
        stacks: outermost function first; looks, and processor seconds.
        looks: how often was looked.
        exact: whether seconds are those of the processor, not of the wall.
    """

    stacks: dict[Stack, tuple[int, float]] = field(default_factory=dict)
    looks: int = 0
    exact: bool = True

    def add(self, stack: Stack, seconds: float) -> None:
        """Count a stack once more."""
        if stack not in self.stacks and len(self.stacks) >= MOST_STACKS:
            stack = ELSEWHERE
        count, before = self.stacks.get(stack, (0, 0.0))
        self.stacks[stack] = count + 1, before + seconds

    @property
    def seconds(self) -> float:
        """Processor seconds of all stacks."""
        return sum(seconds for _, seconds in self.stacks.values())


def stack_of(frame: FrameType | None) -> Stack:
    """Return the innermost functions of a thread, outermost first."""
    places: list[Place] = []
    while frame is not None and len(places) < MOST_FRAMES:
        code = frame.f_code
        places.append(Place(code.co_filename, code.co_firstlineno, code.co_qualname))
        frame = frame.f_back
    return tuple(reversed(places))


class Sampler:
    """Looks until it is told to stop."""

    def __init__(self, clock: Callable[[int], float] | None) -> None:
        """Look at nothing yet.

        Args:
            clock: tells the processor time of a thread; None = each look counts for
                the time between two.
        """
        self._clock = clock
        self._used: dict[int, float] = {}
        self._samples = Samples(exact=clock is not None)
        self._enough = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="debug sampler", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> Samples:
        """Return what was seen; the thread ends soon."""
        self._enough.set()
        self._thread.join(1.0)
        return self._samples

    def _run(self) -> None:
        self._look(first=True)
        while not self._enough.wait(INTERVAL_SECONDS):
            self._look()

    def _look(self, *, first: bool = False) -> None:
        own = threading.get_ident()
        samples = self._samples
        samples.looks += not first
        for ident, frame in sys._current_frames().items():
            if ident == own:
                continue
            seconds = self._seconds_of(ident)
            if seconds > 0 and not first:
                samples.add(stack_of(frame), seconds)

    def _seconds_of(self, ident: int) -> float:
        """Return what a thread has used since the last look."""
        if self._clock is None:
            return INTERVAL_SECONDS
        now = self._clock(ident)
        before, self._used[ident] = self._used.get(ident, now), now
        return now - before
