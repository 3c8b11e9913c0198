"""Look host names up, so that a name that hangs holds up no other one."""

from __future__ import annotations

import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFromThreads,
    IReactorTime,
)

from gateway.errors import UnresolvableError

ANSWER_SECONDS: Final = 5.0  # that an answer is remembered
FAILURE_SECONDS: Final = 1.0  # that a failure is
PROMPT_SECONDS: Final = 1.0  # of a look-up that does not hang
QUEUE_SECONDS: Final = 1.0  # that a name waits for a place
MOST_REMEMBERED: Final = 1024  # names
MOST_ADDRESSES: Final = 16  # of one name; a name server may send any number
MOST_QUEUED: Final = 256  # names of one kind that wait for a place
TOLD_PER_TURN: Final = 64  # waiters of one name that act on its answer at once

UNPROVEN: Final = "unproven"  # not answered promptly the last time, or never asked for
PROMPT: Final = "prompt"
RESERVED: Final = "reserved"
PLACES: Final = {UNPROVEN: 16, PROMPT: 24, RESERVED: 8}
_T = TypeVar("_T")
_NO_ADDRESS: Final = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
)


class IResolverReactor(IReactorFromThreads, IReactorTime):
    """What a resolver needs of the reactor."""


class Found(NamedTuple):
    """The outcome of a look-up.

    Attributes:
        addresses: literals in the order to try; empty = there are none.
        fault: why there are none.
    """

    addresses: tuple[str, ...] = ()
    fault: str = ""


def ask_system(name: str) -> Found:
    """Ask the system for the addresses of a name; may block for a long time."""
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as fault:
        if fault.errno in _NO_ADDRESS:
            return Found(fault=f"{name!r} has no address")
        return Found(fault=f"{name!r} cannot be looked up: {fault.strerror}")
    except (OSError, UnicodeError) as fault:
        return Found(fault=f"{name!r} cannot be looked up: {fault}")
    # in the order found, each once
    addresses = dict.fromkeys(str(row[4][0]) for row in rows)
    if not addresses:
        return Found(fault=f"{name!r} has no address")
    return Found(tuple(addresses)[:MOST_ADDRESSES])


def start_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that the end of the process does not wait for.

    Raises:
        RuntimeError: the system gives no thread.
    """
    threading.Thread(target=work, name="look-up", daemon=True).start()


class _LookUp:
    """One name that is being looked up, and who waits for it."""

    __slots__ = ("kind", "name", "patience", "started_at", "waiters")

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.waiters: dict[Deferred[list[str]], None] = {}
        self.started_at = 0.0
        self.patience: IDelayedCall | None = None  # while it waits for a place


class Resolver:
    """Names to addresses, by the system's own rules, each in a thread of its own.

    A look-up cannot be stopped, and a silent name server holds it for a long time.
    So equal names share one look-up and one place; names that did not answer
    promptly the last time leave some places to those that did; and reserved names
    have places that no other takes.  What finds no place soon fails and says so.
    """

    def __init__(
        self,
        reactor: IResolverReactor,
        ask: Callable[[str], Found] = ask_system,
        start: Callable[[Callable[[], None]], None] = start_thread,
    ) -> None:
        """Look nothing up yet.

        Args:
            reactor: the clock, and the way back from a thread.
            ask: looks a name up, in a thread.
            start: runs it in one; raises `RuntimeError` if there is none.
        """
        self._reactor = reactor
        self._ask = ask
        self._start = start
        self._remembered: OrderedDict[str, tuple[float, Found]] = OrderedDict()
        self._prompt: OrderedDict[str, None] = OrderedDict()
        self._current: dict[str, _LookUp] = {}
        self._running = dict.fromkeys(PLACES, 0)
        self._queues: dict[str, deque[_LookUp]] = {kind: deque() for kind in PLACES}

    def resolve(self, name: str, *, reserved: bool = False) -> Deferred[list[str]]:
        """Look a host name up.

        Args:
            name: no literal address.
            reserved: it is one of the few names that must not wait for others.

        Returns:
            A Deferred of its addresses.  It fails with `UnresolvableError`.
        """
        if not _can_be_asked(name):
            return fail(UnresolvableError(f"{name!r} has no address"))
        key = name.lower()
        known = self._recall(key)
        if known is not None:
            return _outcome(known)
        look_up = self._current.get(key)
        if look_up is None:
            look_up = _LookUp(key, self._kind(key, reserved=reserved))
            fault = self._begin(look_up)
            if fault:
                return fail(UnresolvableError(fault))
        elif reserved and look_up.patience is not None:
            self._promote(look_up)
        outcome: Deferred[list[str]] = Deferred(lambda _: self._leave(look_up, outcome))
        look_up.waiters[outcome] = None
        return outcome

    # -- places --------------------------------------------------------------------

    def _kind(self, key: str, *, reserved: bool) -> str:
        if reserved:
            return RESERVED
        return PROMPT if key in self._prompt else UNPROVEN

    def _has_place(self, kind: str) -> bool:
        running = self._running
        if running[kind] >= PLACES[kind]:
            return False
        return kind is RESERVED or running[UNPROVEN] + running[PROMPT] < PLACES[PROMPT]

    def _begin(self, look_up: _LookUp) -> str:
        """Start a look-up or let it wait for a place; return why neither is done."""
        if self._has_place(look_up.kind):
            return self._run(look_up)
        queue = self._queues[look_up.kind]
        if len(queue) >= MOST_QUEUED:
            return self._crowded(look_up)
        self._current[look_up.name] = look_up
        queue.append(look_up)
        look_up.patience = self._reactor.callLater(
            QUEUE_SECONDS, self._lose_patience, look_up
        )
        return ""

    def _crowded(self, look_up: _LookUp) -> str:
        count = sum(self._running.values())
        return (
            f"{look_up.name!r} cannot be looked up: too many look-ups are waiting "
            f"for the name server ({count} names)"
        )

    def _run(self, look_up: _LookUp) -> str:
        """Start a look-up; return why it cannot be."""
        look_up.started_at = self._reactor.seconds()
        self._current[look_up.name] = look_up
        self._running[look_up.kind] += 1
        try:
            self._start(lambda: self._work(look_up))
        except RuntimeError as fault:
            del self._current[look_up.name]
            self._running[look_up.kind] -= 1
            return f"{look_up.name!r} cannot be looked up: {fault}"
        return ""

    def _work(self, look_up: _LookUp) -> None:
        """Ask for a name, in its thread."""
        try:
            found = self._ask(look_up.name)
        except BaseException as fault:  # noqa: BLE001 - its place must come back
            found = Found(fault=f"{look_up.name!r} cannot be looked up: {fault!r}")
        with suppress(OSError, RuntimeError):  # the process has ended meanwhile
            self._reactor.callFromThread(self._finished, look_up, found)

    def _finished(self, look_up: _LookUp, found: Found) -> None:
        """Remember the answer, and give the place to whoever waits for one."""
        now = self._reactor.seconds()
        self._running[look_up.kind] -= 1
        lifetime = ANSWER_SECONDS if found.addresses else FAILURE_SECONDS
        _remember(self._remembered, look_up.name, (now + lifetime, found))
        self._prompt.pop(look_up.name, None)
        if now - look_up.started_at < PROMPT_SECONDS:
            _remember(self._prompt, look_up.name, None)
        self._settle(look_up, found)
        for kind in (RESERVED, PROMPT, UNPROVEN):
            queue = self._queues[kind]
            while queue and self._has_place(kind):
                self._run_queued(queue.popleft())

    def _run_queued(self, look_up: _LookUp) -> None:
        self._stop_patience(look_up)
        fault = self._run(look_up)
        if fault:
            self._settle(look_up, Found(fault=fault))

    def _promote(self, look_up: _LookUp) -> None:
        """Give a place to a look-up that waits: now a reserved name needs it."""
        if self._has_place(RESERVED):
            self._queues[look_up.kind].remove(look_up)
            look_up.kind = RESERVED
            self._run_queued(look_up)

    def _lose_patience(self, look_up: _LookUp) -> None:
        look_up.patience = None
        self._queues[look_up.kind].remove(look_up)
        self._settle(look_up, Found(fault=self._crowded(look_up)))

    def _stop_patience(self, look_up: _LookUp) -> None:
        patience, look_up.patience = look_up.patience, None
        if patience is not None and patience.active():
            patience.cancel()

    # -- answers -------------------------------------------------------------------

    def _recall(self, key: str) -> Found | None:
        known = self._remembered.get(key)
        if known is None:
            return None
        good_until, found = known
        if self._reactor.seconds() < good_until:
            return found
        del self._remembered[key]
        return None

    def _settle(self, look_up: _LookUp, found: Found) -> None:
        self._current.pop(look_up.name, None)
        self._tell(look_up, found)

    def _tell(self, look_up: _LookUp, found: Found) -> None:
        """Tell those who wait, some of them in each turn of the loop."""
        waiters = look_up.waiters
        for _ in range(min(len(waiters), TOLD_PER_TURN)):
            waiter = next(iter(waiters), None)
            if waiter is None:  # one that was told has cancelled the others
                return
            del waiters[waiter]
            _outcome(found).chainDeferred(waiter)
        if waiters:
            self._reactor.callLater(0, self._tell, look_up, found)

    def _leave(self, look_up: _LookUp, waiter: Deferred[list[str]]) -> None:
        """Forget one who waits no longer, and a look-up that has not begun."""
        look_up.waiters.pop(waiter, None)
        if look_up.patience is not None and not look_up.waiters:
            self._stop_patience(look_up)
            self._queues[look_up.kind].remove(look_up)
            del self._current[look_up.name]


def _remember(table: OrderedDict[str, _T], name: str, value: _T) -> None:
    table[name] = value
    table.move_to_end(name)
    if len(table) > MOST_REMEMBERED:
        table.popitem(last=False)


def _outcome(found: Found) -> Deferred[list[str]]:
    if found.addresses:
        return succeed(list(found.addresses))
    return fail(UnresolvableError(found.fault))


def _can_be_asked(name: str) -> bool:
    """Return whether the system can be asked for `name` at all."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return bool(name) and "\0" not in name
