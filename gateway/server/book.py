"""The mappings that should be served: check, store, and tell of every change.

Whoever wants a mapping (the API, the configuration, agents) writes to the book.  It
opens no ports: that is the reconciler's work, which follows the changes.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar
from typing import Protocol as Seam

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.errors import (
    AgentMappingError,
    BadTargetError,
    CallerError,
    ConfiguredMappingError,
    MappingMissingError,
    NoFreePortError,
    NotAvailableError,
    PortForbiddenError,
    PortInUseError,
    PortMappedError,
    PortPrivilegedError,
    StoppingError,
    StoreError,
    StoreFailedError,
    TargetDeniedError,
    TooManyMappingsError,
    TunnelDisabledError,
    UnresolvableError,
)
from gateway.interfaces import IMappingStore
from gateway.policy.credentials import AgentScope
from gateway.policy.expiry import Expiries
from gateway.policy.limits import Places
from gateway.policy.mapping import (
    Mapping,
    MappingChanges,
    MappingWish,
    Match,
    Target,
    changed,
    derived_id,
    resolve_target_port,
    wants_tunnel,
)
from gateway.policy.ports import PublicPorts
from gateway.wire.plain import cleaned, is_plain

LONGEST_TEXT: Final = 255  # characters of a stored name, agent or label
LOOK_UP_SECONDS: Final = 5.0
_LONGEST_WAIT_SECONDS: Final = 600.0  # the wall clock may be set meanwhile
_RETRY_SECONDS: Final = 60.0  # after the store failed
_MOST_TRIES: Final = 3  # of a change that others overtake

STORED: Final = "stored"
BY_AGENT: Final = "agent"
CONFIGURED: Final = "config"

RESTORED: Final = "restored"
CREATED: Final = "created"
UPDATED: Final = "updated"
ENABLED: Final = "enabled"
DISABLED: Final = "disabled"
REMOVED: Final = "removed"
EXPIRED: Final = "expired"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSettings:
    """What the mapping rules need to know.

    Attributes:
        tunnel_enabled: whether the tunnel service is on.
        port_offset: public port less target port of tunnel mappings.
        max_mappings: mappings of every source together.
        refusal: returns why (host, address, port) may not be dialled, or None.
    """

    tunnel_enabled: bool
    port_offset: int
    max_mappings: int
    refusal: Callable[[str, str, int], str | None]


class Entry(NamedTuple):
    """A mapping in the book.

    Attributes:
        mapping: as it is.
        source: "stored", "agent" for one that an agent asked for, "config" for one of
            the configuration.
        version: number of the change that made it so.
    """

    mapping: Mapping
    source: str
    version: int


class Change(NamedTuple):
    """One change of the book.

    Attributes:
        version: 1, 2, 3, ... in the life of this process.
        action: "restored", "created", "updated", "enabled", "disabled", "removed" or
            "expired".
        before: the entry before; None = there was none.
        after: the entry now; None = it is removed.
        drain_seconds: how long connections of a removed mapping may stay.
    """

    version: int
    action: str
    before: Entry | None
    after: Entry | None
    drain_seconds: float = 0.0


def _plain(mapping: Mapping) -> Mapping:
    """Return a stored mapping with texts that can be shown.

    Older releases, and whoever writes into the database, accept more than we do.
    """
    places = [(one.host, one.agent or "") for one in mapping.targets]
    texts = chain([mapping.name], *places, *mapping.labels.items())
    if all(map(is_plain, texts)):
        return mapping
    return replace(
        mapping,
        name=cleaned(mapping.name, LONGEST_TEXT),
        targets=tuple(
            replace(
                one,
                host=cleaned(one.host, LONGEST_TEXT),
                agent=one.agent and cleaned(one.agent, LONGEST_TEXT),
            )
            for one in mapping.targets
        ),
        labels={
            cleaned(key, LONGEST_TEXT): cleaned(text, LONGEST_TEXT)
            for key, text in mapping.labels.items()
        },
    )


class Reserver(Seam):
    """Holds ports for mappings that are about to be stored."""

    def reserve(self, mapping: Mapping) -> None:
        """Bind the port of a mapping; the change that creates it takes it over.

        Raises:
            CallerError: it cannot be had.
        """

    def release(self, match: Match) -> None:
        """Give up a port that no change will take over."""


class _MovedError(Exception):
    """A mapping leads elsewhere than when its target was looked up."""


class MappingBook:
    """All mappings of this gateway, whether they can be served or not.

    Attributes:
        version: number of the latest change.
        is_kept: returns whether a port is kept for an agent that is away.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IMappingStore,
        ports: PublicPorts,
        reserver: Reserver,
        resolve: Callable[[str], Deferred[list[str]]],
        settings: MappingSettings,
        wall_clock: Callable[[], float],
        randrange: Callable[[int], int],
    ) -> None:
        """Remember the collaborators; the book is empty.

        Args:
            clock: for time limits and expiry.
            store: where the mappings of the API survive a restart.
            ports: which public ports may be mapped.
            reserver: binds ports before their mappings are stored.
            resolve: looks a name up.
            settings: what the rules need to know.
            wall_clock: Unix seconds.
            randrange: chooses a free port.
        """
        self.version = 0
        self.is_kept: Callable[[int], bool] = lambda port: False
        self._clock = clock
        self._store = store
        self._ports = ports
        self._reserver = reserver
        self._resolve = resolve
        self._settings = settings
        self._wall_clock = wall_clock
        self._randrange = randrange
        self._entries: dict[Match, Entry] = {}
        self._reserved: set[Match] = set()  # about to be stored
        self._followers: list[Callable[[Change], None]] = []
        self._lock = DeferredLock()
        self._expiries = Expiries()  # by match, as text
        self._expiry: IDelayedCall | None = None
        self._refused = 0  # for which there was no room
        self._stopping = False

    # -- questions ---------------------------------------------------------------

    def matches(self) -> list[Match]:
        """Return what all mappings match, ordered by port."""
        return sorted(self._entries, key=lambda match: (match.port, match.protocol))

    def find(self, match: Match) -> Entry | None:
        """Return one entry, or None."""
        return self._entries.get(match)

    def get(self, match: Match) -> Entry:
        """Return one entry.

        Raises:
            MappingMissingError: there is none.
        """
        entry = self._entries.get(match)
        if entry is None:
            raise MappingMissingError(port=match.port)
        return entry

    def own(self, match: Match) -> Entry:
        """Return an entry that callers of the API may change.

        Raises:
            MappingMissingError: there is none.
            AgentMappingError: an agent asked for it.
            ConfiguredMappingError: the configuration has it.
        """
        entry = self.get(match)
        if entry.source == BY_AGENT:
            raise AgentMappingError(port=match.port, agent=entry.mapping.agent)
        if entry.source == CONFIGURED:
            raise ConfiguredMappingError(port=match.port)
        return entry

    def follow(self, call: Callable[[Change], None]) -> None:
        """Call with every change from now on, before it is answered."""
        self._followers.append(call)

    def _publish(
        self,
        action: str,
        match: Match,
        mapping: Mapping | None,
        source: str = STORED,
        drain_seconds: float = 0.0,
    ) -> Change:
        """Make a change, give it its number, and tell every follower."""
        self.version += 1
        before, after = self._entries.pop(match, None), None
        self._reserved.discard(match)
        if mapping is not None:
            after = self._entries[match] = Entry(mapping, source, self.version)
        if source == STORED:
            self._expiries.put(
                str(match), None if mapping is None else mapping.expires_at
            )
            self._plan_expiry()
        change = Change(self.version, action, before, after, drain_seconds)
        for call in self._followers:
            call(change)
        return change

    # -- start and stop ------------------------------------------------------------

    async def restore(self) -> None:
        """Take over what is stored; a row that cannot be read does not stop the others.

        Raises:
            StoreError: the store cannot be read at all.
        """
        stored = await self._store.load()
        for fault in stored.faults:
            self.log.error("stored mapping passed over: {fault}", fault=fault)
        for mapping in map(_plain, stored.mappings):
            if mapping.match in self._entries:
                self.log.error(
                    "stored mapping on port {port} passed over: the configuration "
                    "uses its port",
                    port=mapping.port,
                )
                continue
            self._publish(RESTORED, mapping.match, mapping)

    def add_configured(self, mapping: Mapping) -> None:
        """Take over a mapping of the configuration."""
        mapping = replace(mapping, id=derived_id(CONFIGURED, str(mapping.match)))
        self._publish(RESTORED, mapping.match, mapping, CONFIGURED)

    def check_configured(self, mappings: Iterable[Mapping]) -> None:
        """Return if the configuration may have these mappings.

        Raises:
            PortMappedError: another source has a mapping on one of the ports.
        """
        for mapping in mappings:
            match = mapping.match
            entry = self._entries.get(match)
            other = entry is not None and entry.source != CONFIGURED
            if other or match in self._reserved:
                raise PortMappedError(port=match.port)

    def configure_mappings(self, mappings: Iterable[Mapping]) -> None:
        """Let the configuration have these mappings and no others.

        Connections of those that are removed end; those of changed ones stay.
        """
        wanted = {one.match: one for one in mappings}
        for match, entry in list(self._entries.items()):
            if entry.source == CONFIGURED and match not in wanted:
                self._publish(REMOVED, match, None, CONFIGURED)
        for match, mapping in wanted.items():
            before = self._entries.get(match)
            number = derived_id(CONFIGURED, str(match))
            mapping = replace(mapping, id=number)
            if before is None:
                self._publish(CREATED, match, mapping, CONFIGURED)
                continue
            old = before.mapping
            if (old.targets, old.listen) != (mapping.targets, mapping.listen):
                mapping = replace(mapping, created_at=old.created_at)
                self._publish(UPDATED, match, mapping, CONFIGURED)

    def configure(self, ports: PublicPorts, settings: MappingSettings) -> None:
        """Judge new mappings by other rules; those that exist stay as they are."""
        self._ports = ports
        self._settings = settings

    def stop(self) -> None:
        """Accept no new mapping, and let none expire any more."""
        self._stopping = True
        self._stop_expiry()

    # -- changes by callers of the API -----------------------------------------------

    def _whole(
        self, change: Callable[..., Coroutine[Any, Any, T]], *given: object
    ) -> Deferred[T]:
        """Make one change after another, each of them to its end.

        Cancelling ends only the waiting: a store may carry out a call that was
        cancelled, and would then not agree with the book.
        """
        outcome: Deferred[T] = Deferred()
        self._lock.run(change, *given).chainDeferred(outcome)
        return outcome

    async def create(self, wish: MappingWish) -> Change:
        """Make a mapping: reserve the port, store it, then let it be served.

        Raises:
            CallerError: why not; nothing is left of the attempt.
        """
        use_tunnel = self._check_wish(wish)
        addresses = None if use_tunnel else await self._look_up(wish.target_host or "")
        return await self._whole(self._create, wish, addresses)

    async def _create(self, wish: MappingWish, addresses: list[str] | None) -> Change:
        """Make a mapping to a target with these addresses; None = by an agent."""
        use_tunnel = self._check(wish)
        mapping = self._reserve(wish, use_tunnel)
        try:
            if addresses is not None:
                self._judge(mapping, addresses)
            stored = await self._store.insert(mapping)
        except BaseException as fault:
            self._reserved.discard(mapping.match)
            self._reserver.release(mapping.match)
            if isinstance(fault, StoreError):
                raise StoreFailedError(detail=str(fault)) from fault
            raise
        return self._publish(CREATED, stored.match, stored)

    async def _look_up(self, host: str) -> list[str]:
        """Return the addresses of a direct target.

        Never called by a change that others wait for: a name server may be silent.

        Raises:
            BadTargetError: there is no target, or its name has no address.
        """
        if not host:
            raise BadTargetError(detail="a direct mapping needs a target host")
        look_up = self._resolve(host).addTimeout(LOOK_UP_SECONDS, self._clock)
        try:
            return await look_up
        except UnresolvableError as fault:
            why = str(fault)
        except DeferredTimeoutError:
            why = f"no answer from the name server within {LOOK_UP_SECONDS:g} seconds"
        raise BadTargetError(detail=f"{host!r} does not resolve: {why}")

    def _judge(self, mapping: Mapping, addresses: list[str]) -> None:
        """Judge the target of a direct mapping; it is judged again at each dial.

        Raises:
            TargetDeniedError: none of its addresses may be dialled.
        """
        host, port = mapping.target_host, mapping.target_port
        refusals = [self._settings.refusal(host, one, port) for one in addresses]
        if refusals and None not in refusals:
            raise TargetDeniedError(host=host, port=port, detail=refusals[0])

    def _check(self, wish: MappingWish) -> bool:
        """Judge what can be judged before a port is touched."""
        use_tunnel = self._check_wish(wish)
        match = Match(wish.protocol, wish.port)
        if wish.port and self._is_taken(match):
            raise PortMappedError(port=wish.port)
        self._check_room()
        return use_tunnel

    def _is_taken(self, match: Match) -> bool:
        return match in self._entries or match in self._reserved

    def _check_room(self) -> None:
        most = self._settings.max_mappings
        if len(self._entries) + len(self._reserved) >= most:
            self._refused += 1
            raise TooManyMappingsError(limit=most)

    @property
    def places(self) -> Places:
        """How many mappings there may be, and are."""
        limit = self._settings.max_mappings
        return Places(limit, len(self._entries), 0, self._refused)

    def _check_wish(self, wish: MappingWish) -> bool:
        """Judge a wish, whatever mappings there are; return whether it is by tunnel."""
        if self._stopping:
            raise StoppingError()
        if wish.protocol != "tcp":
            raise NotAvailableError(feature=f"protocol {wish.protocol}")
        use_tunnel = wants_tunnel(wish, tunnel_enabled=self._settings.tunnel_enabled)
        if use_tunnel and not self._settings.tunnel_enabled:
            raise TunnelDisabledError()
        if wish.port:
            self._ports.check(wish.port)
        return use_tunnel

    def _reserve(
        self, wish: MappingWish, use_tunnel: bool, scope: AgentScope | None = None
    ) -> Mapping:
        """Reserve the wished port, or the first free one that can be had."""
        if wish.port:
            if scope is not None and not scope.has_port(wish.port):
                raise PortForbiddenError(port=wish.port, ports=scope.ports)
            return self._reserve_port(wish, use_tunnel)
        for port in self._free_ports(scope):
            try:
                return self._reserve_port(replace(wish, port=port), use_tunnel)
            except (PortInUseError, PortPrivilegedError):
                continue
        raise NoFreePortError(first=self._ports.first, last=self._ports.last)

    def _free_ports(self, scope: AgentScope | None) -> Iterator[int]:
        """Yield the ports that may be free; those kept for agents come last."""
        taken = {port for _, port in (*self._entries, *self._reserved)}
        kept = []
        for port in self._ports.pick(taken, self._randrange):
            if scope is not None and not scope.has_port(port):
                continue
            if self.is_kept(port):
                kept.append(port)
            else:
                yield port
        yield from kept

    def _reserve_port(self, wish: MappingWish, use_tunnel: bool) -> Mapping:
        now = int(self._wall_clock())
        port = resolve_target_port(
            wish, use_tunnel=use_tunnel, offset=self._settings.port_offset
        )
        target = Target(
            host=wish.target_host or "",
            port=port,
            use_tunnel=use_tunnel,
            agent=wish.agent,
        )
        mapping = Mapping(
            protocol=wish.protocol,
            port=wish.port,
            listen=wish.listen,
            targets=(target,),
            name=wish.name,
            labels=dict(wish.labels),
            rules=wish.rules,
            enabled=wish.enabled,
            expected=wish.expected,
            expires_at=None if wish.expires_in is None else now + wish.expires_in,
            created_at=now,
            updated_at=now,
        )
        self._reserver.reserve(mapping)
        self._reserved.add(mapping.match)
        return mapping

    async def remove(self, match: Match, drain_seconds: float = 0.0) -> Change:
        """Forget a mapping.

        Args:
            match: which one.
            drain_seconds: how long its connections may stay; 0 = not at all.

        Raises:
            MappingMissingError: there is none.
            AgentMappingError: an agent asked for it.
            StoreFailedError: it is still stored, and still served.
        """
        return await self._whole(self._remove, match, drain_seconds)

    async def _remove(self, match: Match, drain_seconds: float) -> Change:
        self.own(match)
        try:
            await self._store.delete(match)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        return self._publish(REMOVED, match, None, drain_seconds=drain_seconds)

    async def update(self, match: Match, changes: MappingChanges) -> Change:
        """Change a mapping for new connections; those under way stay.

        Raises:
            CallerError: why not; the mapping is as it was.
        """
        found: dict[str, list[str]] = {}
        for _ in range(_MOST_TRIES):
            after = self._changed(match, changes)
            host = after.target_host
            if self._must_judge(after) and host not in found:
                found[host] = await self._look_up(host)
            try:
                return await self._whole(self._update, match, changes, found)
            except _MovedError:
                continue
        raise BadTargetError(detail="others change this mapping now; try again")

    def _changed(self, match: Match, changes: MappingChanges) -> Mapping:
        before = self.own(match).mapping
        after = changed(before, changes, int(self._wall_clock()))
        if after.use_tunnel and not self._settings.tunnel_enabled:
            raise TunnelDisabledError()
        return after

    def _must_judge(self, after: Mapping) -> bool:
        before = self.own(after.match).mapping
        return not after.use_tunnel and after.targets != before.targets

    async def _update(
        self, match: Match, changes: MappingChanges, found: dict[str, list[str]]
    ) -> Change:
        """Change a mapping; `found` has the addresses of the host it leads to.

        Raises:
            _MovedError: it has not, because another change came before this one.
        """
        after = self._changed(match, changes)
        if self._must_judge(after):
            if after.target_host not in found:
                raise _MovedError
            self._judge(after, found[after.target_host])
        try:
            kept = await self._store.update(after)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        if not kept:
            raise StoreFailedError(detail="the mapping is not in it any more")
        return self._replace(after)

    def _replace(self, after: Mapping) -> Change:
        before = self.get(after.match).mapping
        switched = ENABLED if after.enabled else DISABLED
        action = UPDATED if after.enabled == before.enabled else switched
        return self._publish(action, after.match, after)

    async def reload(self, match: Match) -> Change:
        """Read one mapping from the store again, and let it be what is there.

        One that is stored and not in the book yet is added; one that is not stored any
        more is removed.

        Raises:
            MappingMissingError: it is not in the store.
            StoreFailedError: it cannot be read; everything is as it was.
            CallerError: it is none of those that are stored.
        """
        return await self._whole(self._reload, match)

    async def _reload(self, match: Match) -> Change:
        if self._stopping:
            raise StoppingError()
        known = match in self._entries
        if known:
            self.own(match)
        try:
            stored = await self._store.load()
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        for unreadable in stored.faults:
            if unreadable.match == str(match):
                raise StoreFailedError(detail=unreadable.text)
        found = next((one for one in stored.mappings if one.match == match), None)
        if found is None:
            if known:
                self._publish(REMOVED, match, None)
            raise MappingMissingError(port=match.port)
        found = _plain(found)
        if known:
            return self._replace(found)
        self._check_room()
        return self._publish(UPDATED, match, found)

    # -- expiry ------------------------------------------------------------------------

    def _plan_expiry(self) -> None:
        self._stop_expiry()
        at = self._expiries.next_at()
        if at is not None and not self._stopping:
            left = max(0.0, at - self._wall_clock())
            self._expiry = self._clock.callLater(
                min(left, _LONGEST_WAIT_SECONDS), self._end_expired
            )

    def _stop_expiry(self) -> None:
        expiry, self._expiry = self._expiry, None
        if expiry is not None and expiry.active():
            expiry.cancel()

    def _end_expired(self) -> None:
        self._expiry = None
        for text in self._expiries.due(self._wall_clock()):
            protocol, _, port = text.rpartition(":")
            match = Match(protocol, int(port))
            self._whole(self._expire, match).addErrback(self._not_expired, match)
        self._plan_expiry()

    async def _expire(self, match: Match) -> None:
        entry = self._entries.get(match)
        if entry is None or entry.mapping.expires_at is None:
            return
        if entry.mapping.expires_at <= self._wall_clock():
            await self._store.delete(match)
            self.log.info("mapping on port {port} has expired", port=match.port)
            self._publish(EXPIRED, match, None)

    def _not_expired(self, failure: Failure, match: Match) -> None:
        self.log.error(
            "mapping on port {port} has expired and cannot be removed yet: {fault}",
            port=match.port,
            fault=failure.getErrorMessage(),
        )
        self._expiries.put(str(match), self._wall_clock() + _RETRY_SECONDS)
        self._plan_expiry()

    # -- what agents ask for -----------------------------------------------------------

    def open_for_agent(
        self, wish: MappingWish, scope: AgentScope | None = None
    ) -> Mapping:
        """Add a mapping that lives with its agent and is not stored.

        Args:
            wish: the mapping; port 0 = any that the agent may have.
            scope: what it may have; None = all.

        Raises:
            CallerError: why not.
        """
        self._check(wish)
        mapping = self._reserve(wish, True, scope)
        number = derived_id(BY_AGENT, wish.agent or "", wish.name)
        mapping = replace(mapping, id=number)
        self._publish(CREATED, mapping.match, mapping, BY_AGENT)
        return mapping

    def close_for_agent(self, mapping: Mapping) -> None:
        """Remove such a mapping; its connections are closed."""
        entry = self._entries.get(mapping.match)
        if entry is not None and entry.source == BY_AGENT:
            self._publish(REMOVED, mapping.match, None, BY_AGENT)

    def objection(self, entry: Entry) -> CallerError | None:
        """Return why an enabled mapping may not be served now, or None."""
        try:
            if entry.source == STORED:
                self._ports.check(entry.mapping.port)  # the rules may have changed
        except CallerError as fault:
            return fault
        if entry.mapping.use_tunnel and not self._settings.tunnel_enabled:
            return TunnelDisabledError()
        return None
