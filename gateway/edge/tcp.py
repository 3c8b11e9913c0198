"""A public TCP port: admit visitors and hand each to whoever routes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from typing import Protocol as Seam

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from gateway.edge.proxy import HeaderReader
from gateway.errors import DeniedError
from gateway.interfaces import IPaced
from gateway.metrics.tallies import DENIED, RATE, UNREACHED, Stalls, Tally
from gateway.policy.backlogs import Flow
from gateway.policy.budget import Budget
from gateway.policy.fairness import places_refused
from gateway.policy.limits import Places, Slots
from gateway.policy.mapping import Mapping
from gateway.policy.rates import Bucket
from gateway.policy.reachability import TARGET_FORBIDDEN, TARGET_UNREACHED, Attempts
from gateway.policy.visitors import Addresses
from gateway.relay.deadlines import Deadlines
from gateway.wire.frames import STATUS_TEXTS

HEADER_SECONDS: Final = 5.0
FORBIDDEN: Final = STATUS_TEXTS[DeniedError.wire_status]  # by the agent's own rules
# outcomes that say something of the target, and what they say
_BLAMED: Final = {UNREACHED: TARGET_UNREACHED, DENIED: TARGET_FORBIDDEN}
_LONGEST_LOOK_SECONDS: Final = 10.0
_LOOKS: Final = 4  # in the time that a visitor may be idle


class Visit(Seam):
    """One visitor, from accept to the end of its socket."""

    @property
    def address(self) -> str:
        """Whose it is: an IPv4 address or an IPv6 /64."""

    @property
    def id(self) -> str:
        """What the log and the agent call it."""

    @property
    def visitor(self) -> str:
        """Address and port that it is from."""

    @property
    def agent(self) -> str | None:
        """The agent that it was given to."""

    @property
    def sent(self) -> int:
        """Bytes from the visitor."""

    @property
    def received(self) -> int:
        """Bytes for the visitor."""

    @property
    def started_at(self) -> float:
        """Monotonic seconds of the accept."""

    @property
    def opened_at(self) -> float | None:
        """Monotonic seconds since which the target is reached."""

    @property
    def outcome(self) -> str:
        """How it has ended, one of `gateway.metrics.tallies.OUTCOMES`."""

    @property
    def over(self) -> bool:
        """Whether only its last bytes are being flushed."""

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """Who else counts it when it is over."""

    @property
    def waits_for(self) -> str | None:
        """What its bytes wait for now; None = they pass, or there are none."""

    @property
    def transport(self) -> object | None:
        """Its socket; None before there is one."""

    @property
    def buckets(self) -> tuple[Bucket, Bucket] | None:
        """What its bytes must pass besides the mapping's, in and out."""

    def flows(self) -> Iterable[Flow]:
        """Return what waits for each of its peers."""

    def break_off(self, why: str) -> None:
        """End it at once for what it holds."""

    def close(self, why: str) -> None:
        """End it at once."""


class _Due(NamedTuple):
    """A connection that must be judged again.

    Attributes:
        edge: its port.
        visit: the connection.
        changed: the rules of the mapping have changed, not only the bans.
    """

    edge: TcpEdge
    visit: Visit
    changed: bool


class Recheck:
    """Judge connections again whose address may not be admitted any more.

    However often that is asked for, each of them waits once.
    """

    _log = Logger()

    def __init__(
        self,
        each: Callable[[Iterator[_Due], Callable[[_Due], None]], None] | None = None,
    ) -> None:
        """Nobody is to be judged yet.

        Args:
            each: takes rows and a function, and calls it with each of them, some in
                each turn of the event loop; None = all at once.
        """
        self._each = each
        self._due: dict[Visit, _Due] = {}
        self._under_way = False

    def add(self, edge: TcpEdge, *, changed: bool) -> None:
        """Judge the connections of one port; `changed` as in `_Due`."""
        due = self._due
        for visit in edge.visits:
            if changed or visit not in due:
                due[visit] = _Due(edge, visit, changed)
        if due and not self._under_way:
            self._under_way = True
            if self._each is None:
                for one in self._take():
                    self._judge(one)
            else:
                self._each(self._take(), self._judge)

    def _take(self) -> Iterator[_Due]:
        while self._due:
            yield self._due.popitem()[1]
        self._under_way = False

    def _judge(self, due: _Due) -> None:
        try:
            due.edge.recheck(due.visit, changed=due.changed)
        except Exception:  # noqa: BLE001 - a bug costs this connection only
            self._log.failure("{visit} cannot be judged again", visit=due.visit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What the visitors of all mappings share.

    Attributes:
        clock: for what takes time.
        slots: their number.
        addresses: how many come from one address.
        memory: what they hold.
        headers: those that have not said yet who they are.
        admits: tells whether an address is not banned.
        tally: what those have carried who are gone.
        rejected: visitors turned away, by the setting that is the cause.
        stalls: what bytes had to wait for.
        recheck: judges connections again when bans or rules have changed.
    """

    clock: IReactorTime
    slots: Slots
    addresses: Addresses
    memory: Budget
    headers: Deadlines
    admits: Callable[[str], bool] = lambda address: True
    tally: Tally = field(default_factory=Tally)
    rejected: Counter[str] = field(default_factory=Counter)
    stalls: Stalls = field(default_factory=Stalls)
    recheck: Recheck = field(default_factory=Recheck)

    @property
    def per_address(self) -> Places:
        """How much of `limits.connections_per_ip` is used, by who has the most."""
        limit, most = self.addresses.limit, self.addresses.most
        return Places(limit, most, 0, self.rejected["limits.connections_per_ip"])


class TcpEdge(Factory):
    """The visitors of one mapping.

    Attributes:
        mapping: what new visitors get; see `change`.
        visits: visitors whose socket is open, and where each is from.
        total: visitors ever admitted.
        rejected: visitors turned away, by the setting that is the cause.
        tally: what those have carried who are gone.
        attempts: how the latest of them fared with the target.
    """

    noisy = False

    def __init__(
        self,
        mapping: Mapping,
        crowd: Crowd,
        admit: Callable[[TcpEdge, IAddress | None], Protocol],
        refused: Callable[[IAddress | None, str], None],
    ) -> None:
        """Remember the collaborators.

        Args:
            mapping: the rule that this port serves.
            crowd: what the visitors of the whole gateway share.
            admit: returns the protocol for a visitor, which calls `enter`, and `left`
                exactly once.
            refused: told of each visitor that is turned away, and of the setting that
                is the cause.
        """
        self.mapping = mapping
        self.visits: dict[Visit, str] = {}
        self.total = 0
        self.rejected: Counter[str] = Counter()
        self.tally = Tally()
        self.attempts = Attempts()
        self._crowd = crowd
        self._admit = admit
        self._refused = refused
        self._emptied: Callable[[], None] | None = None
        self._addresses = Addresses(mapping.rules.max_connections_per_ip)
        self._shared: tuple[Bucket, Bucket] | None = None
        self._share()
        self._look: IDelayedCall | None = None
        self._idle: dict[Visit, tuple[int, float]] = {}  # bytes moved, since when

    # -- admission -----------------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Return the visitor's protocol; None (a reset) for one that may not come."""
        rules = self.mapping.rules
        announced = bool(rules.trusted_proxies) and rules.trusts(_host(addr))
        cause = None if announced else self._refusal(_host(addr))
        if cause is None and not self._crowd.slots.acquire():
            cause = "limits.connections"
        if cause is not None:
            self._turn_away(addr, cause)
            return None
        try:
            if announced:
                return HeaderReader(addr, self._crowd.headers, self._announced)
            return self._admit(self, addr)
        except BaseException:
            self._crowd.slots.release()
            raise

    def _refusal(self, host: str) -> str | None:
        """Return the setting that a visitor from there may not come for, or not now."""
        return self._objection(host) or self._shortage(host)

    def _shortage(self, host: str) -> str | None:
        """Return the setting of which too little is left for one more from there."""
        crowd, slots = self._crowd, self._crowd.slots
        if not crowd.memory.admits(host):
            return "limits.memory"
        own = crowd.addresses.count(host)
        if places_refused(slots.limit, slots.active, own):
            slots.rejected += 1
            return "limits.connections"
        return None

    def _objection(self, host: str) -> str | None:
        """Return the setting that a visitor from there may not come for."""
        rules = self.mapping.rules
        if not self._crowd.admits(host):
            return "banned"
        if not rules.admits(host):
            return "access_rule"
        if 0 < rules.max_connections <= len(self.visits):
            return "max_connections"
        if self._addresses.full(host):
            return "max_connections_per_ip"
        if self._crowd.addresses.full(host):
            return "limits.connections_per_ip"
        return None

    def _announced(self, addr: IAddress | None, fault: str | None) -> Protocol | None:
        """A balancer has said whom it forwards, or said nothing of use."""
        if not self.numPorts:  # the mapping went in the meantime
            self._crowd.slots.release()
            return None
        cause = f"trusted_proxies: {fault}" if fault else self._refusal(_host(addr))
        if cause is not None:
            self._crowd.slots.release()
            self._turn_away(addr, cause)
            return None
        return self._admit(self, addr)

    def _turn_away(self, addr: IAddress | None, cause: str) -> None:
        setting = cause.partition(":")[0]
        self.rejected[setting] += 1
        self._crowd.rejected[setting] += 1
        self._refused(addr, cause)

    def enter(self, visit: Visit, addr: IAddress | None) -> None:
        """A visitor is admitted."""
        host = _host(addr)
        self.visits[visit] = host
        self.total += 1
        self._addresses.enter(host)
        self._crowd.addresses.enter(host)
        if self.mapping.rules.idle_timeout and self._look is None:
            self._plan_look()

    @property
    def clock(self) -> IReactorTime:
        """What visits are timed by."""
        return self._crowd.clock

    def opened(self, seconds: float) -> None:
        """A visitor's target is reached, so long after its accept."""
        self.tally.latencies.observe(seconds)
        self._crowd.tally.latencies.observe(seconds)
        self.attempts.reached()

    def missed(self, outcome: str, why: str) -> None:
        """A visitor is over that has not reached its target.

        Args:
            outcome: how it ended, one of `gateway.metrics.tallies.OUTCOMES`.
            why: the reason, for people.
        """
        cause = _BLAMED.get(outcome)
        if cause is not None and FORBIDDEN in why:
            cause = TARGET_FORBIDDEN
        if cause is not None:
            self.attempts.missed(cause, why, self._crowd.clock.seconds())

    def left(self, visit: Visit) -> None:
        """A visitor's socket is gone."""
        host = self.visits.pop(visit, None)
        if host is not None:
            self._count(visit)
            self._addresses.leave(host)
            self._crowd.addresses.leave(host)
        self._idle.pop(visit, None)
        self._crowd.slots.release()
        if self.visits:
            return
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied()

    def _count(self, visit: Visit) -> None:
        seconds = self._crowd.clock.seconds() - visit.started_at
        sent, received, outcome = visit.sent, visit.received, visit.outcome
        for tally in (self.tally, self._crowd.tally, *visit.tallies):
            tally.ended(sent, received, outcome, seconds)

    # -- what changes --------------------------------------------------------------

    def change(self, mapping: Mapping) -> None:
        """Give new visitors the changed mapping, and see to those who are here.

        Who may not come any more is sent away; the others go on, at the new rate.
        """
        if mapping.targets != self.mapping.targets:
            self.attempts = Attempts()
        before, self.mapping = self.mapping.rules, mapping
        rules = mapping.rules
        if rules == before:
            return
        self._addresses.limit = rules.max_connections_per_ip
        self._share()
        self._crowd.recheck.add(self, changed=True)
        if rules.idle_timeout != before.idle_timeout:
            if self._look is not None:
                self._look.cancel()
                self._look = None
            if rules.idle_timeout and self.visits:
                self._plan_look()

    def enforce_bans(self) -> None:
        """Close the connections of addresses that are banned now, a few a turn."""
        self._crowd.recheck.add(self, changed=False)

    def recheck(self, visit: Visit, *, changed: bool) -> None:
        """Close a connection whose address is banned or not admitted by the rules.

        Args:
            visit: the connection.
            changed: the rules have changed: let its bytes pass at the new rate.
        """
        host = self.visits.get(visit)
        if host is None:
            return  # it has ended meanwhile
        if not self._crowd.admits(host):
            visit.close("its address is banned")
        elif not self.mapping.rules.admits(host):
            visit.close("its address is not admitted any more")
        elif changed:
            self.pace(visit)

    def _share(self) -> None:
        rate, now = self.mapping.rules.bandwidth_limit, self._crowd.clock.seconds()
        if not rate:
            self._shared = None
        elif self._shared is None:
            self._shared = Bucket(rate, now), Bucket(rate, now)
        else:
            for bucket in self._shared:
                bucket.rate = rate

    def pace(self, visit: Visit) -> None:
        """Let a visitor's bytes pass at the mapping's rate; it has a socket."""
        transport, clock = visit.transport, self._crowd.clock
        if not IPaced.providedBy(transport):
            return
        rate = self.mapping.rules.connection_bandwidth_limit
        ways: list[list[Bucket]] = []
        for direction in (0, 1):
            pairs = [pair for pair in (self._shared, visit.buckets) if pair]
            buckets = [pair[direction] for pair in pairs]
            if rate:
                buckets.append(Bucket(rate, clock.seconds()))
            ways.append(buckets)
        IPaced(transport).pace(clock, *ways, waited=self._waited)

    def _waited(self, seconds: float) -> None:
        self._crowd.stalls.note(RATE, seconds)

    @property
    def paced(self) -> bool:
        """Whether visitors' bytes pass at a rate."""
        rules = self.mapping.rules
        return self._shared is not None or rules.connection_bandwidth_limit > 0

    def _plan_look(self) -> None:
        seconds = self.mapping.rules.idle_timeout / _LOOKS
        self._look = self._crowd.clock.callLater(
            min(seconds, _LONGEST_LOOK_SECONDS), self._look_for_idle
        )

    def _look_for_idle(self) -> None:
        self._look = None
        patience = self.mapping.rules.idle_timeout
        now = self._crowd.clock.seconds()
        for visit in list(self.visits):
            moved = visit.sent + visit.received
            before, since = self._idle.get(visit, (-1, now))
            if moved != before:
                self._idle[visit] = moved, now
            elif now - since >= patience:
                visit.close(f"idle for {patience:g} seconds")
        if self.visits and self._look is None:
            self._plan_look()

    # -- the end -------------------------------------------------------------------

    def when_empty(self, call: Callable[[], None]) -> None:
        """Call once when the last visitor has left, or now if there is none."""
        if self.visits:
            self._emptied = call
        else:
            call()

    def close_visits(self, why: str) -> None:
        """End every visit at once."""
        for visit in list(self.visits):
            visit.close(why)


def _host(addr: IAddress | None) -> str:
    return str(getattr(addr, "host", "?"))
