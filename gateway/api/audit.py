"""Who changed what, when: the log that outlives the process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateway.api.tokens import Caller
from gateway.errors import StoreError
from gateway.interfaces import AuditEntry, IAuditStore
from gateway.policy.mapping import Mapping
from gateway.policy.visitors import rules_document

T = TypeVar("T")


class Act(NamedTuple):
    """What somebody is about to do.

    Attributes:
        caller: who.
        action: what, such as `mapping.create`.
        subject: to what; may be a first guess.
    """

    caller: Caller
    action: str
    subject: str


class Outcome(NamedTuple):
    """What a change has made of its subject.

    Attributes:
        subject: what was changed.
        before: as it was right before the change, as JSON has it; None = there was
            nothing.
        after: as it is now; None = there is nothing any more.
    """

    subject: str
    before: object = None
    after: object = None


class AuditLog:
    """Notes changes once they are made."""

    log: Final = Logger()

    def __init__(
        self,
        store: IAuditStore,
        wall_clock: Callable[[], float],
        retention_seconds: float,
        most: int,
    ) -> None:
        """Remember the limits.

        Args:
            store: where entries are kept.
            wall_clock: Unix seconds.
            retention_seconds: for how long.
            most: how many.
        """
        self._store = store
        self._wall_clock = wall_clock
        self._retention_seconds = retention_seconds
        self._most = most

    def configure(self, retention_seconds: float, most: int) -> None:
        """Keep entries within other limits from now on."""
        self._retention_seconds = retention_seconds
        self._most = most

    async def noted(
        self,
        act: Act,
        change: Coroutine[Deferred[Any], Any, T],
        outcome_of: Callable[[T], Outcome],
    ) -> T:
        """Make a change and note it; one that fails is not noted.

        A note that cannot be written is told in the log, and the change stands.

        Args:
            act: who does what.
            change: does it.
            outcome_of: returns what it has made, from its result.
        """
        result = await change
        outcome = outcome_of(result)
        now = int(self._wall_clock())
        entry = AuditEntry(
            id=0,
            at=now,
            who=act.caller.name,
            address=act.caller.address,
            action=act.action,
            subject=outcome.subject,
            before=outcome.before,
            after=outcome.after,
        )
        self.log.info(
            "{action} {subject} by {who} at {address}",
            action=act.action,
            subject=outcome.subject,
            who=act.caller.name,
            address=act.caller.address,
        )
        try:
            await self._store.note(
                entry, now - int(self._retention_seconds), self._most
            )
        except StoreError as fault:
            self.log.error(
                "{action} {subject} is not in the audit log: {fault}",
                action=act.action,
                subject=outcome.subject,
                fault=fault,
            )
        return result

    async def entries(self, before: int | None, count: int) -> list[AuditEntry]:
        """Return the newest entries with an id below `before`, newest first.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self._store.load_audit(before, count)


def mapping_facts(mapping: Mapping) -> dict[str, object]:
    """Return what an operator decides of a mapping."""
    return {
        "port": mapping.port,
        "protocol": mapping.protocol,
        "listen": mapping.listen,
        "target_host": mapping.target_host,
        "target_port": mapping.target_port,
        "use_tunnel": mapping.use_tunnel,
        "agent": mapping.agent,
        "name": mapping.name,
        "labels": dict(mapping.labels),
        "expires_at": mapping.expires_at,
        "enabled": mapping.enabled,
        "expected": mapping.expected,
        **rules_document(mapping.rules),
    }
