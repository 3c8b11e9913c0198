"""What the process waits for: descriptors, delayed calls, threads, coroutines."""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import CoroutineType, FrameType
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from gateway.net.poller import Poller

MOST_FRAMES: Final = 64  # of one thread's stack


class IWatchingReactor(IReactorFDSet, IReactorTime):
    """What a census needs of the reactor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What there was at one moment; a line for each.

    Attributes:
        readers: descriptors that are watched, by the reactor or by our poller.
        writers: descriptors of the reactor that wait for room.
        calls: delayed calls, soonest first.
        threads: name and stack of each thread.
        waiting: coroutines that wait, and unfired Deferreds, with their number.
    """

    readers: list[str]
    writers: list[str]
    calls: list[str]
    threads: list[tuple[str, str]]
    waiting: list[tuple[str, int]]

    @property
    def total(self) -> int:
        """Readers, delayed calls and threads together: what must not grow."""
        return len(self.readers) + len(self.calls) + len(self.threads)


def take_census(reactor: IWatchingReactor) -> Census:
    """Count everything; takes some milliseconds for each 100 000 objects."""
    return Census(
        readers=[*map(described, _watched(reactor))],
        writers=[*map(described, reactor.getWriters())],
        calls=[*_calls(reactor)],
        threads=[*_threads()],
        waiting=_waiting(),
    )


def _watched(reactor: IReactorFDSet) -> Iterator[object]:
    for reader in reactor.getReaders():
        yield reader
        if isinstance(reader, Poller):
            yield from reader.watched()


def described(descriptor: object) -> str:
    """Return what a descriptor is, and between whom."""
    words = [type(descriptor).__name__]
    for name in ("getHost", "getPeer"):
        find = getattr(descriptor, name, None)
        if find is not None:
            with suppress(OSError, AttributeError, NotImplementedError):
                address = find()
                words.append(f"{address.host}:{address.port}")
    protocol = getattr(descriptor, "protocol", None)
    if protocol is not None:
        words.append(type(protocol).__name__)
    return " ".join(words)


def _calls(reactor: IReactorTime) -> Iterator[str]:
    now = reactor.seconds()
    for call in sorted(reactor.getDelayedCalls(), key=lambda call: call.getTime()):
        func = getattr(call, "func", None)
        yield f"in {call.getTime() - now:8.3f} s  {named(func)}"


def named(func: object) -> str:
    """Return the name of something that can be called; never its arguments."""
    inner = getattr(func, "func", func)  # of a partial
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return f"{getattr(inner, '__module__', '?')}.{name}"


def _threads() -> Iterator[tuple[str, str]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        yield names.get(ident, f"thread {ident}"), _stack(frame)


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame, MOST_FRAMES))


def _waiting() -> list[tuple[str, int]]:
    """Return what the garbage collector knows of; the oldest objects are not there."""
    counts: Counter[str] = Counter()
    for found in gc.get_objects():
        kind = type(found)
        if kind is CoroutineType:
            frame = found.cr_frame
            if frame is not None and not found.cr_running:
                counts[f"{found.__qualname__} at line {frame.f_lineno}"] += 1
        elif kind is Deferred and not found.called:
            counts["Deferred that has not fired"] += 1
    return counts.most_common()


def in_full(census: Census) -> str:
    """Return everything, a paragraph for each kind; monitors read the first line."""
    parts = [
        f"goroutine profile: total {census.total}",
        f"{len(census.readers)} readers, {len(census.calls)} delayed calls, "
        f"{len(census.threads)} threads; beside them {len(census.writers)} writers",
        *_paragraph("readers", census.readers),
        *_paragraph("writers", census.writers),
        *_paragraph("delayed calls", census.calls),
        *_paragraph(
            "coroutines and Deferreds that wait",
            [f"{count:6} {name}" for name, count in census.waiting],
        ),
    ]
    for name, stack in census.threads:
        parts += ["", f"thread {name}:", stack.rstrip()]
    return "\n".join(parts) + "\n"


def in_short(census: Census) -> str:
    """Return the same with equal ones counted together, and without stacks."""
    parts = [f"goroutine profile: total {census.total}"]
    for title, lines in (
        ("readers", (line.partition(" ")[0] for line in census.readers)),
        ("writers", (line.partition(" ")[0] for line in census.writers)),
        ("delayed calls", (line.rpartition(" ")[2] for line in census.calls)),
        ("threads", (name for name, _ in census.threads)),
    ):
        parts += _paragraph(title, _counted(lines))
    parts += _paragraph(
        "coroutines and Deferreds that wait",
        [f"{count:6} {name}" for name, count in census.waiting],
    )
    return "\n".join(parts) + "\n"


def _counted(lines: Iterable[str]) -> list[str]:
    return [f"{count:6} {line}" for line, count in Counter(lines).most_common()]


def _paragraph(title: str, lines: list[str]) -> list[str]:
    return ["", f"{title}: {len(lines)}", *(f"  {line}" for line in lines)]


def thread_clock() -> Callable[[int], float] | None:
    """Return what tells the processor time of a thread; None = nothing does here."""
    clock_of: Callable[[int], int] | None
    clock_of = getattr(time, "pthread_getcpuclockid", None)
    if clock_of is None:
        return None
    find = clock_of
    return lambda ident: time.clock_gettime(find(ident))
