"""Write down what passes, so that it can be told later, also after a restart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.edge.tcp import TcpEdge
from gateway.errors import StoreError
from gateway.interfaces import IHistoryStore
from gateway.policy.history import History, Lifetime, TrafficRecord
from gateway.server.traffic import NOTHING, Carried, Traffic

TIDY_SECONDS: Final = 3600.0
JUMP_SECONDS: Final = 300.0  # more than that, and the wall clock was set
COMPLAIN_SECONDS: Final = 600.0
MOST_PORTS: Final = 1000  # the busiest, in one record
MOST_DEPARTED: Final = 1000  # removed mappings between two records


class RecorderSettings(NamedTuple):
    """What is recorded.

    Attributes:
        enabled: whether anything is.
        interval_seconds: between records.
        retention_seconds: after which a record is removed.
        most: records that are kept.
    """

    enabled: bool
    interval_seconds: float
    retention_seconds: float
    most: int


class _Seen(NamedTuple):
    """What had passed when the last record was written."""

    total: Carried
    wire: tuple[int, int]
    edges: dict[TcpEdge, Carried]
    over: Sequence[TcpEdge]  # those of removed mappings that have no connection left


class Recorder:
    """Records what passes, and knows what passed ever.

    A store that fails costs nothing but time: what could not be written is written
    with what comes next.
    """

    log: Final = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IHistoryStore,
        traffic: Traffic,
        wall_clock: Callable[[], float],
        settings: RecorderSettings,
    ) -> None:
        """Remember the collaborators; nothing happens before `start`."""
        self.settings = settings
        self._clock = clock
        self._store = store
        self._traffic = traffic
        self._wall_clock = wall_clock
        self._seen = _Seen(NOTHING, (0, 0), {}, ())
        # edges of removed mappings whose last figures are not written yet
        self._departed: OrderedDict[TcpEdge, None] = OrderedDict()
        self._stored = Lifetime()
        self._timer: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._tidy_at = 0.0
        self._skew = 0.0  # wall clock less monotonic
        self._failures = 0
        self._complained_at: float | None = None

    def lifetime(self, total: Carried) -> Lifetime:
        """Return what passed since the gateway was first started.

        Args:
            total: of this start, just read.
        """
        return self._stored.plus(_added(total, self._seen.total))

    def departed(self, edge: TcpEdge) -> None:
        """Remember the edge of a removed mapping until its last record is written."""
        if self.settings.enabled:
            self._departed[edge] = None
            if len(self._departed) > MOST_DEPARTED:
                self._departed.popitem(last=False)

    async def start(self) -> None:
        """Learn what passed before, and record from now on."""
        try:
            self._stored = await self._store.load_lifetime()
        except StoreError as fault:
            self._complain(fault)
        if self.settings.enabled:
            self._skew = self._wall_clock() - self._clock.seconds()
            self._tidy_at = self._clock.seconds() + TIDY_SECONDS
            self._plan()

    async def stop(self) -> None:
        """Write what is left; may be called twice."""
        timer, self._timer = self._timer, None
        if timer is None:
            return
        if timer.active():
            timer.cancel()
        if self._writing is not None:
            await self._writing
        await self._write()

    async def history(
        self, port: int, is_tunnel: bool, since: int, until: int, limit: int
    ) -> History:
        """Return what passed in a span of time; see `IHistoryStore`."""
        return await self._store.load_history(port, is_tunnel, since, until, limit)

    def _plan(self) -> None:
        self._timer = self._clock.callLater(
            self.settings.interval_seconds, self._record
        )

    def _record(self) -> None:
        self._plan()
        if self._writing is None:  # a slow store has not finished the last one
            self._writing = Deferred.fromCoroutine(self._write())
            self._writing.addBoth(self._written)

    def _written(self, result: Failure | None) -> None:
        self._writing = None
        if isinstance(result, Failure):
            self.log.failure("traffic could not be recorded", failure=result)

    async def _write(self) -> None:
        now, seen = self._now(), await self._look()
        records = list(self._records(seen, now))
        more = _added(seen.total, self._seen.total)
        try:
            self._stored = await self._store.record(records, more)
            self._seen = seen
            for edge in seen.over:
                self._departed.pop(edge, None)
            if self._failures:
                self.log.info("traffic is recorded again")
                self._failures, self._complained_at = 0, None
            await self._tidy(now)
        except StoreError as fault:
            self._complain(fault)

    def _now(self) -> int:
        """Return the wall clock's time; see whether somebody has set it."""
        wall_now, now = self._wall_clock(), self._clock.seconds()
        if abs(wall_now - now - self._skew) > JUMP_SECONDS:
            # what looks old may not be: wait until the clock has been steady for long
            self._tidy_at = now + TIDY_SECONDS
            self.log.warn("the clock was set; old traffic records are kept for now")
        self._skew = wall_now - now
        return max(1, int(wall_now))

    async def _look(self) -> _Seen:
        departed = list(self._departed)
        edges = dict(await self._traffic.by_port())
        over = []
        for edge in departed:
            carried = edges[edge] = await self._traffic.of(edge)
            if not carried.active + carried.pending:
                over.append(edge)
        total = await self._traffic.total()
        return _Seen(total, self._traffic.wire(), edges, over)

    def _records(self, seen: _Seen, now: int) -> list[TrafficRecord]:
        """Return a record of all, one of links, and one of each port in use."""
        before, step = self._seen, max(1, round(self.settings.interval_seconds))
        ports: dict[int, TrafficRecord] = {}
        for edge, carried in seen.edges.items():
            port = edge.mapping.port
            one = _record(port, carried, before.edges.get(edge), now, step)
            # a mapping may be made again on a port that was just given up
            ports[port] = _together(ports[port], one) if port in ports else one
        busy = [
            one
            for one in ports.values()
            if one.sent or one.received or one.connections or one.active
        ]
        busy.sort(key=lambda one: one.sent + one.received, reverse=True)
        links = TrafficRecord(
            port=0,
            is_tunnel=True,
            recorded_at=now,
            step=step,
            sent=max(0, seen.wire[0] - before.wire[0]),
            received=max(0, seen.wire[1] - before.wire[1]),
            connections=0,
            active=0,
        )
        total = _record(0, seen.total, before.total, now, step)
        return [total, links, *busy[:MOST_PORTS]]

    async def _tidy(self, now: int) -> None:
        if self._clock.seconds() < self._tidy_at:
            return
        self._tidy_at = self._clock.seconds() + TIDY_SECONDS
        oldest = now - int(self.settings.retention_seconds)
        await self._store.tidy_history(now, oldest, self.settings.most)

    def _complain(self, fault: StoreError) -> None:
        self._failures += 1
        now, last = self._clock.seconds(), self._complained_at
        if last is None or now - last >= COMPLAIN_SECONDS:
            self._complained_at = now
            self.log.error(
                "traffic cannot be recorded, and is counted on in memory: {fault}",
                fault=fault,
            )


def _record(
    port: int, carried: Carried, before: Carried | None, now: int, step: int
) -> TrafficRecord:
    before = before or NOTHING
    return TrafficRecord(
        port=port,
        is_tunnel=False,
        recorded_at=now,
        step=step,
        sent=max(0, carried.sent - before.sent),
        received=max(0, carried.received - before.received),
        connections=max(0, carried.connections - before.connections),
        active=carried.active + carried.pending,
    )


def _together(one: TrafficRecord, other: TrafficRecord) -> TrafficRecord:
    return one._replace(
        sent=one.sent + other.sent,
        received=one.received + other.received,
        connections=one.connections + other.connections,
        active=one.active + other.active,
    )


def _added(now: Carried, before: Carried) -> Lifetime:
    return Lifetime(
        connections=max(0, now.connections - before.connections),
        errors=max(0, now.errors - before.errors),
        sent=max(0, now.sent - before.sent),
        received=max(0, now.received - before.received),
    )
