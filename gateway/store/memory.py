"""A store that forgets everything with its process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zope.interface import implementer

from gateway.errors import PortMappedError, StoreError
from gateway.interfaces import (
    AuditEntry,
    IAuditStore,
    IBanStore,
    ICredentialStore,
    IHistoryStore,
    IMappingStore,
    IReservationStore,
    StoredCredentials,
    StoredMappings,
)
from gateway.policy.bans import Ban
from gateway.policy.credentials import (
    AgentCredential,
    credential_document,
    credential_of_document,
)
from gateway.policy.history import (
    DAY,
    FINE_SECONDS,
    HOUR,
    HOURLY_SECONDS,
    History,
    Lifetime,
    TrafficRecord,
    coarser,
    step_for,
    sum_up,
)
from gateway.policy.mapping import Mapping, Match
from gateway.policy.reservations import Owner, Reservation
from gateway.store.table import mapping_of, row_of


@implementer(
    IMappingStore,
    ICredentialStore,
    IBanStore,
    IAuditStore,
    IHistoryStore,
    IReservationStore,
)
class MemoryMappingStore:
    """Mappings and keys in dictionaries; for the simulation and for embedding.

    What was stored outlives `close`, so that opening the same object again is a
    restart.
    """

    def __init__(self) -> None:
        self._by_id: dict[int, Mapping] = {}
        self._keys: dict[str, AgentCredential] = {}
        self._reservations: dict[Owner, Reservation] = {}
        self._bans: dict[str, Ban] = {}
        self._audit: list[AuditEntry] = []
        self._last_entry = 0
        self._history: list[TrafficRecord] = []
        self._lifetime = Lifetime()
        self._last_id = 0
        self._is_open = False

    async def open(self) -> None:
        """Make the store ready."""
        if self._is_open:
            raise StoreError("the memory store is open already")
        self._is_open = True

    async def close(self) -> None:
        """Refuse every call from now on."""
        self._is_open = False

    async def load(self) -> StoredMappings:
        """Return all mappings, ordered by protocol and port; there are no faults."""
        self._check_open()
        ordered = sorted(self._by_id.values(), key=lambda m: (m.protocol, m.port))
        return StoredMappings(ordered, [])

    async def insert(self, mapping: Mapping) -> Mapping:
        """Store a new mapping and return it with its `id`.

        Raises:
            PortMappedError: its protocol and port are taken.
            BadRequestError: a value is none that can be stored.
        """
        self._check_open()
        kept = mapping_of(row_of(mapping))
        self._check_free(kept, 0)
        self._last_id += 1
        kept = replace(kept, id=self._last_id)
        self._by_id[kept.id] = kept
        return kept

    async def update(self, mapping: Mapping) -> bool:
        """Replace the mapping with the id of `mapping`; False if there is none.

        Raises:
            PortMappedError: its protocol and port are another mapping's.
            BadRequestError: a value is none that can be stored.
        """
        self._check_open()
        kept = mapping_of(row_of(mapping))
        if kept.id not in self._by_id:
            return False
        self._check_free(kept, kept.id)
        self._by_id[kept.id] = kept
        return True

    async def delete(self, match: Match) -> bool:
        """Remove a mapping; False if there was none."""
        self._check_open()
        for mapping in self._by_id.values():
            if mapping.match == match:
                del self._by_id[mapping.id]
                return True
        return False

    async def load_credentials(self) -> StoredCredentials:
        """Return all agents' keys, ordered by name; there are no faults."""
        self._check_open()
        return StoredCredentials([self._keys[name] for name in sorted(self._keys)], [])

    async def put_credential(self, credential: AgentCredential) -> None:
        """Store a credential in the place of what has its name."""
        self._check_open()
        document = credential_document(credential)
        kept = credential_of_document(credential.name, document)
        self._keys[credential.name] = kept

    async def delete_credential(self, name: str) -> bool:
        """Remove a credential; False if there was none."""
        self._check_open()
        return self._keys.pop(name, None) is not None

    async def load_bans(self) -> list[Ban]:
        """Return the operator's bans."""
        self._check_open()
        return [self._bans[network] for network in sorted(self._bans)]

    async def put_ban(self, ban: Ban) -> None:
        """Store a ban in the place of that of the same network."""
        self._check_open()
        self._bans[ban.network] = ban

    async def delete_ban(self, network: str) -> bool:
        """Remove a ban; False if there was none."""
        self._check_open()
        return self._bans.pop(network, None) is not None

    async def load_reservations(self) -> list[Reservation]:
        """Return the ports that are kept for agents, the oldest first."""
        self._check_open()
        return list(self._reservations.values())

    async def write_reservations(
        self, put: Sequence[Reservation], gone: Sequence[Owner]
    ) -> None:
        """Store some, each in the place of its owner's, and remove others."""
        self._check_open()
        for owner in [*gone, *(kept.owner for kept in put)]:
            self._reservations.pop(owner, None)
        self._reservations.update((kept.owner, kept) for kept in put)

    async def note(self, entry: AuditEntry, oldest: int, most: int) -> None:
        """Add an entry to the audit log; older and further ones go."""
        self._check_open()
        self._last_entry += 1
        kept = [one for one in self._audit if one.at >= oldest]
        self._audit = [*kept, entry._replace(id=self._last_entry)][-most:]

    async def load_audit(self, before: int | None, count: int) -> list[AuditEntry]:
        """Return the newest entries with an id below `before`, newest first."""
        self._check_open()
        found = [one for one in self._audit if before is None or one.id < before]
        return found[::-1][:count]

    async def record(
        self, records: Sequence[TrafficRecord], more: Lifetime
    ) -> Lifetime:
        """Write what passed of late; return what passed ever."""
        self._check_open()
        self._history += records
        self._lifetime = self._lifetime.plus(more)
        return self._lifetime

    async def load_lifetime(self) -> Lifetime:
        """Return what passed ever."""
        self._check_open()
        return self._lifetime

    async def load_history(
        self, port: int, is_tunnel: bool, since: int, until: int, limit: int
    ) -> History:
        """Return what passed in a span of time, in at most `limit` points."""
        self._check_open()
        found = [
            one
            for one in self._history
            if (one.port, one.is_tunnel) == (port, is_tunnel)
            and since < one.recorded_at <= until
        ]
        coarsest = max((one.step for one in found), default=1)
        step = step_for(since, until, limit, coarsest)
        return History(step, sum_up(found, step))

    async def tidy_history(self, now: int, oldest: int, most: int) -> None:
        """Sum up what is old, and remove what is too old or too much."""
        self._check_open()
        kept = [one for one in self._history if one.recorded_at > oldest]
        for age, step in ((FINE_SECONDS, HOUR), (HOURLY_SECONDS, DAY)):
            kept = coarser(kept, (now - age) // step * step, step)
        kept.sort(key=lambda one: one.recorded_at)
        if len(kept) > most:
            last = kept[-most - 1].recorded_at
            kept = [one for one in kept if one.recorded_at > last]
        self._history = kept

    async def ping(self) -> None:
        """Return if the store is open."""
        self._check_open()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("the memory store is not open")

    def _check_free(self, wanted: Mapping, but: int) -> None:
        for mapping in self._by_id.values():
            if mapping.id != but and mapping.match == wanted.match:
                raise PortMappedError(port=wanted.port)
