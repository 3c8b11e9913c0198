"""A public TCP port: admit visitors and hand each to whoever routes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Seam

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
from gateway.policy.mapping import Mapping


class Visit(Seam):
    """One visitor, from accept to the end of its socket."""

    @property
    def holder(self) -> object | None:
        """What holds its bytes in this process; None before there is anything."""

    def close(self, why: str) -> None:
        """End it at once."""


class TcpEdge(Factory):
    """The visitors of one mapping.

    Attributes:
        mapping: what new visitors get; replaced when the mapping is updated.
        visits: visitors whose socket is open.
    """

    noisy = False

    def __init__(
        self,
        mapping: Mapping,
        slots: Slots,
        memory: Budget,
        admit: Callable[[TcpEdge, IAddress | None], Protocol],
        full: Callable[[IAddress | None, str], None],
    ) -> None:
        """Remember the collaborators.

        Args:
            mapping: the rule that this port serves.
            slots: counted visitors of the whole gateway.
            memory: what all visitors of the gateway share.
            admit: returns the protocol for a visitor, which adds itself to
                `visits` and calls `left` exactly once.
            full: told of each visitor that is turned away, and of the setting that
                is the cause.
        """
        self.mapping = mapping
        self.visits: set[Visit] = set()
        self._slots = slots
        self._memory = memory
        self._admit = admit
        self._full = full
        self._emptied: Callable[[], None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Return the visitor's protocol; None (a reset) when over the limit."""
        if not self._memory.admits():
            self._full(addr, "limits.memory")
            return None
        if not self._slots.acquire():
            self._full(addr, "limits.connections")
            return None
        try:
            return self._admit(self, addr)
        except BaseException:
            self._slots.release()
            raise

    def left(self, visit: Visit) -> None:
        """A visitor's socket is gone."""
        self.visits.discard(visit)
        self._slots.release()
        if not self.visits and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied()

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
