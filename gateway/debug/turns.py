"""How long the turns of the event loop take, and where the longest ones were.

The reactor is listened in on for some seconds: its delayed calls, and what it does
for each descriptor.  A thread beside looks where a turn is that takes long.
"""

from __future__ import annotations

import heapq
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from gateway.debug.profiles import label
from gateway.debug.sampling import Stack, stack_of

LOOK_SECONDS: Final = 0.005
MOST_TURNS: Final = 20
INNERMOST: Final = 8
_BORDERS: Final = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5)
_CALLS: Final = "runUntilCurrent"
_TURN: Final = "doIteration"
# what every reactor on descriptors does for one of them; there is no public name
_EVENT: Final = "_doReadOrWrite"


class NoTurnsError(Exception):
    """This reactor cannot be listened in on."""


@dataclass(slots=True)
class Turn:
    """One turn: the delayed calls that were due, then the events.

    Attributes:
        began: seconds of the reactor's clock.
        calls_seconds: of delayed calls.
        events_seconds: of what was done for descriptors.
        events: how many.
        stack: where it was when it had taken long.
    """

    began: float
    calls_seconds: float = 0.0
    events_seconds: float = 0.0
    events: int = 0
    stack: Stack = ()

    @property
    def busy_seconds(self) -> float:
        """Seconds in which nothing else could happen."""
        return self.calls_seconds + self.events_seconds


@dataclass(slots=True)
class _Work:
    """What was done for one kind of descriptor."""

    times: int = 0
    seconds: float = 0.0
    longest: float = 0.0


@dataclass(slots=True)
class _Seen:
    turns: int = 0
    busy_seconds: float = 0.0
    spread: list[int] = field(default_factory=lambda: [0] * (len(_BORDERS) + 1))
    longest: list[tuple[float, int, Turn]] = field(default_factory=list)
    work: dict[str, _Work] = field(default_factory=dict)


class TurnTrace:
    """Listens in from `start` to `stop`."""

    def __init__(self, reactor: Any, seconds: Callable[[], float]) -> None:  # noqa: ANN401
        """Do nothing yet.

        Args:
            reactor: one whose own methods may be replaced for a while.
            seconds: monotonic clock.
        """
        self._reactor = reactor
        self._seconds = seconds
        self._seen = _Seen()
        self._turn = Turn(seconds())
        self._numbers = count()
        self._busy_since: float | None = None
        self._enough = threading.Event()
        self._watched = threading.get_ident()
        self._thread = threading.Thread(
            target=self._look, name="debug tracer", daemon=True
        )

    def start(self) -> None:
        """Begin; to be called in the reactor's thread.

        Raises:
            NoTurnsError: the reactor has no such methods.
        """
        names = (_CALLS, _TURN, _EVENT)
        if any(getattr(self._reactor, name, None) is None for name in names):
            kind = type(self._reactor).__name__
            raise NoTurnsError(f"{kind} does not show its turns")
        self._began = self._seconds()
        for name, replacement in (
            (_CALLS, self._timed_calls(getattr(self._reactor, _CALLS))),
            (_TURN, self._timed_turn(getattr(self._reactor, _TURN))),
            (_EVENT, self._timed_event(getattr(self._reactor, _EVENT))),
        ):
            setattr(self._reactor, name, replacement)
        self._thread.start()

    def stop(self) -> str:
        """Leave the reactor as it was, and return the report."""
        if not self._enough.is_set():
            self._enough.set()
            for name in (_CALLS, _TURN, _EVENT):
                delattr(self._reactor, name)  # the class's own shows again
            self._thread.join(1.0)
            self._lasted = self._seconds() - self._began
        return self._report()

    def _timed_calls(self, inner: Callable[[], None]) -> Callable[[], None]:
        def run_until_current() -> None:
            began = self._turn.began = self._busy_since = self._seconds()
            try:
                inner()
            finally:
                self._busy_since = None
                self._turn.calls_seconds = self._seconds() - began

        return run_until_current

    def _timed_turn(self, inner: Callable[[Any], None]) -> Callable[[Any], None]:
        def do_iteration(delay: Any) -> None:  # noqa: ANN401 - the reactor's
            try:
                inner(delay)
            finally:
                self._end_turn()

        return do_iteration

    def _timed_event(self, inner: Callable[..., None]) -> Callable[..., None]:
        def do_read_or_write(selectable: object, *rest: Any) -> None:  # noqa: ANN401
            began = self._busy_since = self._seconds()
            try:
                inner(selectable, *rest)
            finally:
                self._busy_since = None
                took = self._seconds() - began
                turn = self._turn
                turn.events += 1
                turn.events_seconds += took
                work = self._seen.work.setdefault(type(selectable).__name__, _Work())
                work.times += 1
                work.seconds += took
                work.longest = max(work.longest, took)

        return do_read_or_write

    def _end_turn(self) -> None:
        seen, turn, self._turn = self._seen, self._turn, Turn(self._seconds())
        busy = turn.busy_seconds
        seen.turns += 1
        seen.busy_seconds += busy
        seen.spread[sum(busy >= border for border in _BORDERS)] += 1
        entry = busy, next(self._numbers), turn
        if len(seen.longest) < MOST_TURNS:
            heapq.heappush(seen.longest, entry)
        else:
            heapq.heappushpop(seen.longest, entry)

    def _look(self) -> None:
        while not self._enough.wait(LOOK_SECONDS):
            since, turn = self._busy_since, self._turn
            if since is not None and self._seconds() - since >= LOOK_SECONDS:
                turn.stack = stack_of(sys._current_frames().get(self._watched))

    def _report(self) -> str:
        seen = self._seen
        share = seen.busy_seconds / self._lasted if self._lasted else 0.0
        lines = [
            f"trace: {seen.turns} turns in {self._lasted:.2f} s, busy for "
            f"{seen.busy_seconds:.3f} s ({share:.1%})",
            "",
            "turns by the time in which nothing else could happen:",
        ]
        words = [*(f"below {border * 1000:g} ms" for border in _BORDERS), "longer"]
        lines += [
            f"{number:8}  {word}"
            for number, word in zip(seen.spread, words, strict=True)
        ]
        lines += ["", "   times   all s  longest ms  events of"]
        for name, work in sorted(seen.work.items(), key=lambda one: -one[1].seconds):
            lines.append(
                f"{work.times:8} {work.seconds:7.3f} {work.longest * 1000:11.3f}  "
                f"{name}"
            )
        lines += ["", "longest turns:"]
        for busy, _, turn in sorted(seen.longest, reverse=True):
            lines.append(
                f"{busy * 1000:9.3f} ms at {turn.began - self._began:7.3f} s: "
                f"{turn.calls_seconds * 1000:.3f} ms of delayed calls, "
                f"{turn.events_seconds * 1000:.3f} ms of {turn.events} events"
            )
            lines += [f"{'':14}{label(place)}" for place in turn.stack[-INNERMOST:]]
        return "\n".join(lines) + "\n"
