"""Find the connections whose bytes wait because their peer does not read.

A flow is one direction of a connection: bytes that wait for one peer, in this
process and in the kernel, and how many that peer has taken so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace
from operator import attrgetter
from typing import Final, Generic, NamedTuple, TypeVar

H = TypeVar("H")

SLOW_SECONDS: Final = 8.0  # whoever needs longer for what waits is slow
SMALL_BYTES: Final = 1 << 14  # so little is reset only if nothing else is left
NEVER: Final = float("inf")


class Rule(NamedTuple):
    """Who may be reset.

    Attributes:
        seconds: for which a peer must have taken nothing; None = it takes too little.
        above_share: only connections of an address above its share.
        small: also those where no more than `SMALL_BYTES` stall.
    """

    seconds: float | None
    above_share: bool = False
    small: bool = False


# one after the other, until there is room again
WHEN_TIGHT: Final = (Rule(60.0, above_share=True),)
WHEN_REFUSING: Final = (Rule(2.0, above_share=True), Rule(10.0), Rule(10.0, small=True))
WHEN_OVER: Final = (
    Rule(0.5, above_share=True),
    Rule(10.0),
    Rule(None, above_share=True),
    # a reader that pauses shows that it goes on when its kernel's buffer is half empty
    Rule(3.0),
    Rule(3.0, small=True),
)


class Flow(NamedTuple):
    """One direction of a connection now.

    Attributes:
        held: bytes that wait in this process.
        kernel: bytes of memory that the kernel uses for it.
        taken: bytes that the peer has ever taken.
    """

    held: int
    kernel: int
    taken: int


class _Seen(NamedTuple):
    """What is known of one flow."""

    size: int
    taken: int
    at: float
    since: float  # it has taken nothing

    def after(self, flow: Flow, now: float) -> tuple[_Seen, float]:
        """Return what is known now, and the seconds until all would be taken."""
        size = flow.held + flow.kernel
        progress = flow.taken - self.taken
        if progress <= 0:
            return _Seen(size, flow.taken, now, self.since), NEVER
        pace = progress / max(now - self.at, 1e-9)
        return _Seen(size, flow.taken, now, now), size / pace


class Backlog(Generic[H]):
    """A connection with bytes that wait.

    Attributes:
        holder: the connection.
        address: whose it is; see `policy.addresses.holder_of`.
        size: bytes that count for it.
        kernel: those of them that the kernel holds for a slow peer.
        since: when the peer of its longest stall took something for the last time.
        drain_seconds: until its slowest peer would have taken all; infinite if it
            takes nothing.
        small: nothing that stalls is larger than `SMALL_BYTES`.
    """

    __slots__ = (
        "address",
        "drain_seconds",
        "holder",
        "kernel",
        "seen",
        "since",
        "size",
        "small",
    )

    def __init__(self, holder: H, address: str) -> None:
        self.holder = holder
        self.address = address
        self.seen: tuple[_Seen, ...] = ()
        self.size = self.kernel = 0
        self.since = NEVER
        self.drain_seconds = 0.0
        self.small = True

    @property
    def stalled(self) -> bool:
        """Whether a peer has taken nothing since the last look."""
        return self.since < NEVER

    def observe(
        self, flows: Iterable[Flow], before: tuple[_Seen, ...], now: float
    ) -> None:
        """Judge the flows by what was seen of them the last time."""
        seen = []
        for index, flow in enumerate(flows):
            if index < len(before):
                known, drain = before[index].after(flow, now)
            else:
                known = _Seen(flow.held + flow.kernel, flow.taken, now, now)
                drain = 0.0  # not known before the second look
            seen.append(known)
            self.size += flow.held
            if known.size and drain > SLOW_SECONDS:
                self.size += flow.kernel
                self.kernel += flow.kernel
                self._note_slow(known, drain)
        self.seen = tuple(seen)

    def _note_slow(self, known: _Seen, drain: float) -> None:
        small = known.size <= SMALL_BYTES
        if small and not self.small:
            return
        if self.small and not small:  # what was noted does not matter beside this
            self.since, self.drain_seconds, self.small = NEVER, 0.0, False
        self.drain_seconds = max(self.drain_seconds, drain)
        if drain == NEVER:
            self.since = min(self.since, known.since)


class Backlogs(Generic[H]):
    """All connections with bytes that wait, and who goes first when there are too many.

    Attributes:
        kernel: bytes that the kernel holds for slow peers.
        stalled: connections with a peer that took nothing since the last look.
        unknown: bytes of the kernel for peers that were seen once only.
        uses: bytes of each address.
    """

    def __init__(self) -> None:
        self._entries: dict[H, Backlog[H]] = {}
        self._next = _Look[H]()
        self._adopt(self._next)

    def __len__(self) -> int:
        return len(self._entries)

    def observe(
        self, holder: H, address: str, flows: Iterable[Flow], now: float
    ) -> None:
        """Note what waits for the peers of one connection."""
        backlog = Backlog(holder, address)
        before = self._entries.get(holder)
        backlog.observe(flows, () if before is None else before.seen, now)
        self._next.add(backlog, first=before is None)

    def finish(self) -> None:
        """End a look at all connections; those that were not seen are forgotten."""
        self._adopt(self._next)

    def clear(self) -> None:
        """Forget everything."""
        self._adopt(_Look())

    def _adopt(self, look: _Look[H]) -> None:
        self._entries = look.entries
        self.kernel, self.stalled = look.kernel, look.stalled
        self.unknown, self.uses = look.unknown, look.uses
        self._next = _Look()

    def victims(
        self, now: float, share: int, rules: Iterable[Rule]
    ) -> Iterator[Backlog[H]]:
        """Yield who must go, for as long as somebody must.

        Of those that take nothing, the address that uses most (within a factor of
        two) comes first, and of it the oldest stall; of those that take too little,
        the slowest comes first.

        Args:
            now: seconds.
            share: bytes that one address may use.
            rules: applied one after the other.
        """
        queue = _Queue(self._entries.values(), self.uses)
        for rule in rules:
            least = share if rule.above_share else 0
            if rule.seconds is None:
                going = queue.slow(least)
            else:
                going = queue.stalled(now - rule.seconds, least, small=rule.small)
            for backlog in going:
                if backlog.size:
                    self.uses[backlog.address] -= backlog.size
                del self._entries[backlog.holder]
                yield backlog


class _Look(Generic[H]):
    """What one look at all connections has found so far."""

    def __init__(self) -> None:
        self.entries: dict[H, Backlog[H]] = {}
        self.uses: dict[str, int] = {}
        self.kernel = self.stalled = self.unknown = 0

    def add(self, backlog: Backlog[H], *, first: bool) -> None:
        self.entries[backlog.holder] = backlog
        if backlog.size:
            uses, address = self.uses, backlog.address
            uses[address] = uses.get(address, 0) + backlog.size
        self.kernel += backlog.kernel
        self.stalled += backlog.stalled
        if first:
            self.unknown += sum(one.size for one in backlog.seen)


class _Queue(Generic[H]):
    """The order in which connections go."""

    def __init__(self, backlogs: Iterable[Backlog[H]], uses: dict[str, int]) -> None:
        self._uses = uses
        self._slow: list[Backlog[H]] = []
        self._heap: list[tuple[int, bool, float, int, Backlog[H]]] = []
        for number, backlog in enumerate(backlogs):
            if backlog.stalled:
                self._heap.append(self._ranked(backlog, number))
            elif SLOW_SECONDS < backlog.drain_seconds < NEVER:
                self._slow.append(backlog)
        heapify(self._heap)
        self._slow.sort(key=attrgetter("drain_seconds"))

    def _ranked(
        self, backlog: Backlog[H], number: int
    ) -> tuple[int, bool, float, int, Backlog[H]]:
        weight = -self._uses.get(backlog.address, 0).bit_length()
        return weight, backlog.small, backlog.since, number, backlog

    def stalled(self, until: float, share: int, *, small: bool) -> Iterator[Backlog[H]]:
        """Yield those that took nothing since `until`, of addresses above `share`."""
        heap = self._heap
        kept: list[tuple[int, bool, float, int, Backlog[H]]] = []
        while heap:
            first = heap[0]
            if -first[0] < share.bit_length():
                break  # nobody is above the share any more
            number, backlog = first[-2:]
            ranked = self._ranked(backlog, number)
            if first != ranked:  # its address has lost some meanwhile
                heapreplace(heap, ranked)
                continue
            heappop(heap)
            above = self._uses.get(backlog.address, 0) > share
            if above and backlog.since <= until and (small or not backlog.small):
                yield backlog
            else:
                kept.append(ranked)
        heap += kept
        heapify(heap)

    def slow(self, share: int) -> Iterator[Backlog[H]]:
        """Yield those that take little, of addresses above `share`."""
        while self._slow:
            backlog = self._slow.pop()
            if self._uses.get(backlog.address, 0) > share:
                yield backlog
