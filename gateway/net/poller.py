"""Tell descriptors that they are ready, and know when a turn ends.

A turn is one batch of events.  What many descriptors did in it can leave together
at its end.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
    IReadWriteDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

# the values of epoll, so that a batch needs no translation
READABLE: Final = 0x001
WRITABLE: Final = 0x004
ERROR: Final = 0x008
HANGUP: Final = 0x010

SCRATCH_BYTES: Final = 1 << 18
READS: Final = 4  # of large pieces in one turn: whatever else is ready waits for them
_BATCH: Final = 32  # events of one turn: the next process may begin when it ends
_EVENTS_PER_READ: Final = 512  # then timers, signals and the API get their share,
_SECONDS_PER_READ: Final = 0.01  # also when each event moves much
# an answer mostly comes soon, and the way back through the reactor is long; this is
# also what anything else may have to wait
_PATIENCE_SECONDS: Final = 0.001
_END_ROUNDS: Final = 8  # rounds of calls that add further calls to a turn's end
_SWEEP_SECONDS: Final = 1.0

_log = Logger()


class IPollingReactor(IReactorFDSet, IReactorTime):
    """What a poller needs of the reactor."""


class Watched(Protocol):
    """Something with a file descriptor."""

    @property
    def fd(self) -> int:
        """The descriptor; the same as long as it is watched."""

    def handle(self, events: int) -> None:
        """Act on a set of `READABLE`, `WRITABLE`, `ERROR`, `HANGUP`."""

    def fail(self, reason: Failure) -> None:
        """Close at once; `handle` raised, or the reactor stops."""

    def broken(self) -> bool:
        """Ask the kernel whether the connection was reset."""


def _new_scratch() -> memoryview:
    return memoryview(bytearray(SCRATCH_BYTES))


class TurnPoller(Protocol):
    """What the transports need of a poller.

    Attributes:
        scratch: where a descriptor may read while it handles its events.
        reads: how often it may read then; 1..`READS`, fewer where others wait.
    """

    scratch: memoryview
    reads: int

    @property
    def turning(self) -> bool:
        """Whether this is during a batch of events, whose end is near."""

    def watch(self, descriptor: Watched, mask: int) -> None:
        """Report `READABLE` and `WRITABLE` as `mask` says, `ERROR` always."""

    def hand_over(self, old: Watched, new: Watched) -> None:
        """Let `new` take the place of `old`, which has the same descriptor."""

    def forget(self, descriptor: Watched) -> None:
        """Report nothing more; no error if it is not watched."""

    def drop(self, descriptor: Watched) -> None:
        """The same for one that is closed at once, which costs less."""

    def at_turn_end(self, call: Callable[[], None]) -> None:
        """Make `call` once after this batch of events, or soon if there is none."""


class _TurnEnd:
    """The calls to make at the end of a turn."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[Callable[[], None]] = []
        self._forced: IDelayedCall | None = None

    def add(self, call: Callable[[], None], *, force: bool) -> None:
        self._calls.append(call)
        if force and self._forced is None:
            self._forced = self._clock.callLater(0, self._force)

    def _force(self) -> None:
        self._forced = None
        self.run()

    def run(self) -> None:
        for _ in range(_END_ROUNDS):
            calls = self._calls
            if not calls:
                break
            self._calls = []
            for call in calls:
                try:
                    call()
                except BaseException:  # noqa: BLE001 - a bug of one must not stop the rest
                    _log.failure("end of turn: {call} failed", call=call)
        forced = self._forced
        if self._calls:
            if forced is None:
                self._forced = self._clock.callLater(0, self._force)
        elif forced is not None:
            self._forced = None
            forced.cancel()


def _dispatch(descriptor: Watched, events: int) -> None:
    try:
        descriptor.handle(events)
    except BaseException:  # noqa: BLE001 - a bug costs this connection only
        _log.failure("{descriptor} failed", descriptor=descriptor)
        descriptor.fail(Failure())


@implementer(IReadDescriptor)
class Poller:
    """One epoll set, which is itself one reader of the reactor.

    It is registered with the reactor while it watches anything.

    Attributes:
        turning: whether this is during a batch of events.
        scratch: where a descriptor may read while it handles its events.
        reads: how often it may read then; the descriptors of a batch share `READS`.
    """

    def __init__(self, reactor: IPollingReactor) -> None:
        self.scratch = _new_scratch()
        self.reads = READS
        self._reactor = reactor
        # every reactor of Twisted tells; one that does not is taken for idle
        self._until_timer: Callable[[], float | None] = getattr(
            reactor, "timeout", lambda: None
        )
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        # descriptors registered in this turn: what its batch says of their number
        # was said of an earlier owner
        self._fresh: set[int] = set()
        self.turning = False
        self._end = _TurnEnd(reactor)

    def watch(self, descriptor: Watched, mask: int) -> None:
        """Report `READABLE` and `WRITABLE` as `mask` says, `ERROR` always."""
        fd = descriptor.fd
        watched = self._watched
        if watched.get(fd) is descriptor:
            self._epoll.modify(fd, mask)
            return
        if not watched:
            self._reactor.addReader(self)
        self._epoll.register(fd, mask)
        watched[fd] = descriptor
        if self.turning:
            self._fresh.add(fd)

    def hand_over(self, old: Watched, new: Watched) -> None:
        """Let `new` take the place of `old`, which has the same descriptor."""
        if self._watched.get(new.fd) is old:
            self._watched[new.fd] = new

    def forget(self, descriptor: Watched) -> None:
        """Report nothing more; no error if it is not watched."""
        fd = descriptor.fd
        if self._watched.get(fd) is not descriptor:
            return
        self._epoll.unregister(fd)
        self.drop(descriptor)

    def drop(self, descriptor: Watched) -> None:
        """The same for one that is closed at once: the kernel forgets it by itself."""
        fd = descriptor.fd
        if self._watched.get(fd) is descriptor:
            del self._watched[fd]
            if not self._watched:
                self._reactor.removeReader(self)

    def at_turn_end(self, call: Callable[[], None]) -> None:
        """Make `call` once after this batch of events, or soon if there is none."""
        self._end.add(call, force=not self.turning)

    def watched(self) -> list[Watched]:
        """Return everything that is watched now."""
        return list(self._watched.values())

    def fileno(self) -> int:
        """Return the descriptor of the epoll set."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Return the name of this reader in the log."""
        return "poller"

    def doRead(self) -> None:
        """Serve batches of events, until there is none or it is others' turn."""
        poll = self._epoll.poll
        find = self._watched.get
        fresh = self._fresh
        seconds = self._reactor.seconds
        deadline = seconds() + _SECONDS_PER_READ
        timeout = self._until_timer
        left = _EVENTS_PER_READ
        patience = 0.0
        while events := poll(patience, _BATCH):
            self.turning = True
            self.reads = READS // len(events) or 1
            for fd, event in events:
                descriptor = find(fd)
                if descriptor is None or (fresh and fd in fresh):
                    continue
                try:
                    descriptor.handle(event)
                except BaseException:  # noqa: BLE001 - costs this connection only
                    _log.failure("{descriptor} failed", descriptor=descriptor)
                    descriptor.fail(Failure())
            self._end.run()
            self.turning = False
            fresh.clear()
            left -= len(events)
            if left <= 0 or seconds() >= deadline:
                return
            until_timer = timeout()
            if until_timer is None or until_timer > _PATIENCE_SECONDS:
                patience = _PATIENCE_SECONDS
            elif until_timer > 0:
                patience = 0.0
            else:
                return

    def connectionLost(self, reason: Failure) -> None:
        """Lose every connection; the reactor stops."""
        for descriptor in list(self._watched.values()):
            descriptor.fail(reason)
        self._end.run()  # nothing is left for a reactor that has stopped


@implementer(IReadWriteDescriptor)
class _Seat:
    """One watched descriptor as the reactor sees it."""

    def __init__(self, poller: ReactorPoller, descriptor: Watched) -> None:
        self._poller = poller
        self.descriptor = descriptor
        self.mask = 0

    def fileno(self) -> int:
        return self.descriptor.fd

    def logPrefix(self) -> str:
        return "poller"

    def doRead(self) -> None:
        _dispatch(self.descriptor, READABLE)

    def doWrite(self) -> None:
        _dispatch(self.descriptor, WRITABLE)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor saw a hang-up, or stops; it has dropped this seat."""
        self.mask = 0
        if reason.check(ConnectionDone):
            # what was still to be read decides how the connection ended
            self._poller.reseat(self, HANGUP)
        else:
            self.descriptor.fail(reason)


class ReactorPoller:
    """The same without epoll, on the reactor's readers and writers.

    A reactor reports nothing of a descriptor that it neither reads nor writes, so
    those are asked once a second whether they were reset.

    Attributes:
        turning: False; events come one by one.
        scratch: where a descriptor may read while it handles its events.
        reads: 1; how many others are ready is not known.
    """

    turning = False

    def __init__(self, reactor: IPollingReactor) -> None:
        self.scratch = _new_scratch()
        self.reads = 1
        self._reactor = reactor
        self._seats: dict[int, _Seat] = {}
        self._idle: set[int] = set()
        self._sweep: IDelayedCall | None = None
        self._end = _TurnEnd(reactor)

    def watch(self, descriptor: Watched, mask: int) -> None:
        """Report `READABLE` and `WRITABLE` as `mask` says, `ERROR` always."""
        fd = descriptor.fd
        seat = self._seats.get(fd)
        if seat is None:
            seat = self._seats[fd] = _Seat(self, descriptor)
        self._place(seat, mask)
        if mask:
            self._idle.discard(fd)
        else:
            self._idle.add(fd)
        self._tend_sweep()

    def _place(self, seat: _Seat, mask: int) -> None:
        gone, new = seat.mask & ~mask, mask & ~seat.mask
        seat.mask = mask
        if new & READABLE:
            self._reactor.addReader(seat)
        if gone & READABLE:
            self._reactor.removeReader(seat)
        if new & WRITABLE:
            self._reactor.addWriter(seat)
        if gone & WRITABLE:
            self._reactor.removeWriter(seat)

    def reseat(self, seat: _Seat, events: int) -> None:
        """Report `events`, then watch again what the reactor stopped watching."""
        _dispatch(seat.descriptor, events)
        fd = seat.descriptor.fd
        if self._seats.get(fd) is seat and fd not in self._idle:
            self._place(seat, seat.mask or READABLE)

    def hand_over(self, old: Watched, new: Watched) -> None:
        """Let `new` take the place of `old`, which has the same descriptor."""
        seat = self._seats.get(new.fd)
        if seat is not None and seat.descriptor is old:
            seat.descriptor = new

    def forget(self, descriptor: Watched) -> None:
        """Report nothing more; no error if it is not watched."""
        fd = descriptor.fd
        seat = self._seats.get(fd)
        if seat is None or seat.descriptor is not descriptor:
            return
        del self._seats[fd]
        self._place(seat, 0)
        self._idle.discard(fd)
        self._tend_sweep()

    drop = forget

    def at_turn_end(self, call: Callable[[], None]) -> None:
        """Make `call` soon."""
        self._end.add(call, force=True)

    def _tend_sweep(self) -> None:
        if not self._idle:
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
        elif self._sweep is None:
            self._sweep = self._reactor.callLater(_SWEEP_SECONDS, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        for fd in list(self._idle):
            seat = self._seats.get(fd)
            if seat is not None and seat.descriptor.broken():
                _dispatch(seat.descriptor, ERROR)
        self._tend_sweep()


def poller_for(reactor: IPollingReactor) -> TurnPoller:
    """Return the fastest poller that this platform has."""
    if hasattr(select, "epoll"):
        return Poller(reactor)
    return ReactorPoller(reactor)
