"""The keys of agents: those of the configuration, and those made at run time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from gateway.errors import (
    AgentKeyExistsError,
    AgentKeyMissingError,
    AgentKeyUnusedError,
    ConfiguredKeyError,
    LegacyAllowedError,
    StoreError,
    StoreFailedError,
)
from gateway.interfaces import ICredentialStore
from gateway.link.proof import make_verifier
from gateway.policy.credentials import (
    MOST_KEYS,
    AgentCredential,
    AgentScope,
    Verifier,
    make_key,
)
from gateway.policy.mapping import UNSET, Unset

Changed = Callable[[str, AgentCredential | None], None]


class KeyChange(NamedTuple):
    """What a change has made of an agent's keys.

    Attributes:
        credential: what the gateway keeps now; of a revoked agent, what it kept.
        before: what it kept right before; None = nothing.
        secret: what the agent is configured with, if a key was made; it is shown once
            and kept nowhere.
    """

    credential: AgentCredential
    before: AgentCredential | None
    secret: str = ""


def _is_same(one: AgentCredential, other: AgentCredential) -> bool:
    return (one.verifiers, one.scope) == (other.verifiers, other.scope)


class Credentials:
    """Whom the gateway knows, by name; the store and this table always agree.

    Attributes:
        changed: told of each name whose credential changed, and of what it is now;
            None = it is revoked.
    """

    log: Final = Logger()

    def __init__(
        self,
        store: ICredentialStore,
        configured: Iterable[AgentCredential],
        random_bytes: Callable[[int], bytes],
        wall_clock: Callable[[], float],
        *,
        legacy_allowed: bool,
    ) -> None:
        """Remember the collaborators.

        Args:
            store: where keys survive a restart.
            configured: what the configuration holds.
            random_bytes: unguessable bytes.
            wall_clock: Unix seconds.
            legacy_allowed: agents without any credential are to be served, so there
                must be none.
        """
        self._store = store
        self._random = random_bytes
        self._wall_clock = wall_clock
        self._legacy_allowed = legacy_allowed
        self._configured = {one.name: one for one in configured}
        self._stored: dict[str, AgentCredential] = {}  # revoked ones have no verifier
        self._unreadable = False  # something is stored that is no credential
        self._lock = DeferredLock()
        self.changed: Changed = lambda name, credential: None

    def __bool__(self) -> bool:
        """Whether agents need a key.

        That does not end with the last key: who loses one must not get in without any.
        """
        if self._configured or any(one.verifiers for one in self._stored.values()):
            return True
        return bool(self._stored or self._unreadable) and not self._legacy_allowed

    def configure(
        self, configured: Iterable[AgentCredential], *, legacy_allowed: bool
    ) -> None:
        """Take what the configuration holds now; links of others end.

        A stored key is not used while the configuration has one of the same name, as
        at the start.
        """
        before = self._configured
        self._configured = {one.name: one for one in configured}
        self._legacy_allowed = legacy_allowed
        for name in before.keys() | self._configured.keys():
            now, old = self._configured.get(name), before.get(name)
            if now is None:
                stored = self._stored.get(name)
                now = stored if stored is not None and stored.verifiers else None
            if now is None or old is None or not _is_same(now, old):
                self.changed(name, now)

    async def restore(self) -> None:
        """Read what is stored; what cannot be read does not stop the rest.

        Raises:
            StoreError: the store cannot be read at all.
        """
        found, faults = await self._store.load_credentials()
        self._unreadable = bool(faults)
        for fault in faults:
            self.log.error("stored agent key passed over: {fault}", fault=fault)
        for credential in found:
            self._stored[credential.name] = credential
            if credential.name in self._configured:
                self.log.error(
                    "stored key of agent {name} passed over: the configuration has one",
                    name=credential.name,
                )

    # -- questions ---------------------------------------------------------------

    def get(self, name: str) -> AgentCredential | None:
        """Return the credential of an agent that is good now, or None."""
        found = self._configured.get(name) or self._stored.get(name)
        if found is None or self._expired(found):
            return None
        return found

    def _expired(self, credential: AgentCredential) -> bool:
        expires_at = credential.expires_at
        return expires_at is not None and expires_at <= self._wall_clock()

    def name_of(self, name: str, key_id: str) -> str:
        """Return the name that an agent proves a key under.

        Args:
            name: as the agent has it; empty = the name of the key.
            key_id: of the key; empty is returned unless one agent alone has it.
        """
        if name:
            return name
        tables = (self._configured, self._stored)
        names = {
            one.name
            for table in tables
            for one in table.values()
            if one.verifier(key_id) is not None
        }
        return names.pop() if len(names) == 1 else ""

    def verifier(self, name: str, key_id: str) -> Verifier | None:
        """Return what an agent's key is checked by, or None; see `name_of`."""
        found = self.get(self.name_of(name, key_id))
        return None if found is None else found.verifier(key_id)

    def views(self) -> list[tuple[AgentCredential, str, bool]]:
        """Return all, ordered by name: where each is from, and whether it expired."""
        both = [(one, "config") for one in self._configured.values()]
        both += [
            (one, "stored")
            for name, one in self._stored.items()
            if one.verifiers and name not in self._configured
        ]
        return sorted(
            ((one, source, self._expired(one)) for one, source in both),
            key=lambda row: row[0].name,
        )

    def note_used(self, name: str, key_id: str) -> None:
        """Remember that an agent has proved a key; only the first time is stored."""
        found = self._stored.get(name)
        if found is None or key_id in found.used or found.verifier(key_id) is None:
            return
        if name in self._configured:
            return
        outcome = self._one_by_one(self._note_used, name, key_id)
        outcome.addErrback(
            lambda failure: self.log.error(
                "that agent {name} has used key {key_id} is not stored: {fault}",
                name=name,
                key_id=key_id,
                fault=failure.getErrorMessage(),
            )
        )

    async def _note_used(self, name: str, key_id: str) -> None:
        found = self._stored.get(name)
        if found is None or key_id in found.used or found.verifier(key_id) is None:
            return  # several links prove it at the same time, or it is gone
        good = [one.key_id for one in found.verifiers]
        used = tuple(one for one in good if one in found.used or one == key_id)
        credential = replace(found, used=used)
        # known at once, so that a store that fails is not tried by every link
        self._stored[name] = credential
        self.log.info("agent {name} uses key {key_id}", name=name, key_id=key_id)
        await self._store.put_credential(credential)

    # -- changes -----------------------------------------------------------------

    async def create(
        self, name: str, scope: AgentScope, expires_in: int | None
    ) -> KeyChange:
        """Make a key for an agent that has none.

        Raises:
            AgentKeyExistsError: it has one.
            LegacyAllowedError: agents without a key are to be served.
            StoreFailedError: nothing is changed.
        """
        made: KeyChange = await self._one_by_one(self._create, name, scope, expires_in)
        return made

    async def _create(
        self, name: str, scope: AgentScope, expires_in: int | None
    ) -> KeyChange:
        if self._legacy_allowed:
            raise LegacyAllowedError()
        stored = self._stored.get(name)
        if name in self._configured or (stored is not None and stored.verifiers):
            raise AgentKeyExistsError(name=name)
        now = int(self._wall_clock())
        key = make_key(self._random)
        credential = AgentCredential(
            name=name,
            verifiers=(make_verifier(key, self._random),),
            scope=scope,
            expires_at=None if expires_in is None else now + expires_in,
            created_at=now,
            updated_at=now,
        )
        await self._keep(credential)
        return KeyChange(credential, None, key.secret)

    async def rotate(self, name: str) -> KeyChange:
        """Make a second key; the older one stays good until it is retired.

        A third one takes the place of a second one that the agent has never used,
        else that of the oldest.

        Raises:
            AgentKeyMissingError: the agent has none.
            ConfiguredKeyError: the configuration has it.
            StoreFailedError: nothing is changed.
        """
        made: KeyChange = await self._one_by_one(self._rotate, name)
        return made

    async def _rotate(self, name: str) -> KeyChange:
        before = self._own(name)
        key = make_key(self._random)
        kept = before.verifiers[:-1] if before.newest_unused else before.verifiers
        verifiers = (*kept, make_verifier(key, self._random))
        credential = replace(
            before,
            verifiers=verifiers[-MOST_KEYS:],
            updated_at=int(self._wall_clock()),
        )
        await self._keep(credential)
        return KeyChange(credential, before, key.secret)

    async def update(
        self,
        name: str,
        limits: Mapping[str, Any],
        expires_in: int | Unset | None = UNSET,
    ) -> KeyChange:
        """Change what an agent may do, and until when; its links go on.

        Args:
            name: the agent's.
            limits: fields of `AgentScope`; what is absent stays.
            expires_in: seconds from now; None = for good.

        Raises:
            AgentKeyMissingError: the agent has none.
            ConfiguredKeyError: the configuration has it.
            StoreFailedError: nothing is changed.
        """
        made: KeyChange = await self._one_by_one(self._update, name, limits, expires_in)
        return made

    async def _update(
        self, name: str, limits: Mapping[str, Any], expires_in: int | Unset | None
    ) -> KeyChange:
        before = self._own(name)
        now = int(self._wall_clock())
        expires_at = before.expires_at
        if not isinstance(expires_in, Unset):
            expires_at = None if expires_in is None else now + expires_in
        credential = replace(
            before,
            scope=replace(before.scope, **limits),
            expires_at=expires_at,
            updated_at=now,
        )
        await self._keep(credential)
        return KeyChange(credential, before)

    async def retire(self, name: str, *, force: bool = False) -> KeyChange:
        """Let only the newest key be good; links go on.

        Args:
            name: the agent's.
            force: do it although the agent has never used the newest key.

        Raises:
            AgentKeyMissingError: the agent has none.
            AgentKeyUnusedError: it has never used the newest one.
            ConfiguredKeyError: the configuration has it.
            StoreFailedError: nothing is changed.
        """
        made: KeyChange = await self._one_by_one(self._retire, name, force)
        return made

    async def _retire(self, name: str, force: bool) -> KeyChange:
        before = self._own(name)
        if before.newest_unused and not force:
            newest = before.verifiers[-1].key_id
            raise AgentKeyUnusedError(name=name, key_id=newest)
        credential = replace(
            before,
            verifiers=before.verifiers[-1:],
            updated_at=int(self._wall_clock()),
        )
        await self._keep(credential)
        return KeyChange(credential, before)

    async def revoke(self, name: str) -> KeyChange:
        """Forget an agent's keys and end its links at once.

        Raises:
            AgentKeyMissingError: the agent has none.
            ConfiguredKeyError: the configuration has it.
            StoreFailedError: nothing is changed.
        """
        made: KeyChange = await self._one_by_one(self._revoke, name)
        return made

    async def _revoke(self, name: str) -> KeyChange:
        before = self._own(name)
        last = not self._configured and len(self.views()) == 1
        try:
            if last:
                await self._store.put_credential(replace(before, verifiers=()))
            else:
                await self._store.delete_credential(name)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        del self._stored[name]
        if last:
            self._stored[name] = replace(before, verifiers=())
        self.log.warn("key of agent {name} is revoked", name=name)
        if last:
            self.log.warn("that was the last key; agents need one all the same")
        self.changed(name, None)
        return KeyChange(before, before)

    def _own(self, name: str) -> AgentCredential:
        if name in self._configured:
            raise ConfiguredKeyError(name=name)
        found = self._stored.get(name)
        if found is None or not found.verifiers:
            raise AgentKeyMissingError(name=name)
        return found

    async def _keep(self, credential: AgentCredential) -> None:
        try:
            await self._store.put_credential(credential)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        self._stored[credential.name] = credential
        self.changed(credential.name, credential)

    def _one_by_one(
        self, change: Callable[..., Coroutine[Any, Any, Any]], *given: object
    ) -> Deferred[Any]:
        outcome: Deferred[Any] = Deferred()
        self._lock.run(change, *given).chainDeferred(outcome)
        return outcome
