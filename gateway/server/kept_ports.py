"""Keep the ports of agents that are away, also over a restart of the gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gateway.errors import StoreError
from gateway.interfaces import IReservationStore
from gateway.policy.addresses import PORTS
from gateway.policy.reservations import Reservation, Reservations

WRITE_SECONDS: Final = 1.0  # between two writes; changes meanwhile are one
RETRY_SECONDS: Final = 60.0  # after the store failed


class KeptPorts:
    """Ports that were given to agents without being asked for, by agent and entry.

    A port is kept while it is in use and for some time after.  The store follows at
    once, and then once a second at most, whatever agents do; a port whose use was
    under way when the process was killed counts as left at the next start.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IReservationStore,
        wall_clock: Callable[[], float],
        seconds: int,
    ) -> None:
        """Keep nothing yet.

        Args:
            clock: for the time between two writes.
            store: where they survive a restart.
            wall_clock: Unix seconds.
            seconds: how long a port is kept after its use; 0 = not at all.
        """
        self._clock = clock
        self._store = store
        self._wall_clock = wall_clock
        self._seconds = seconds
        self._table = Reservations()
        self._call: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._stopped = False
        self._ready = False

    async def restore(self) -> None:
        """Read what is stored.

        Raises:
            StoreError: the store cannot be read at all.
        """
        now = self._wall_clock()
        most = int(now) + self._seconds
        for kept in await self._store.load_reservations():
            if kept.port not in PORTS:
                self.log.error(
                    "stored port {port} of agent {agent!r} passed over: no such port",
                    port=kept.port,
                    agent=kept.agent,
                )
                continue
            until = most if kept.until is None else min(kept.until, most)
            self._table.put(kept._replace(until=until), now)
        self._ready = True
        self._write_soon()

    def port_of(self, agent: str, entry: str) -> int | None:
        """Return the port that is kept for an entry of an agent, or None."""
        return self._table.port_of((agent, entry), self._wall_clock())

    def is_kept(self, port: int) -> bool:
        """Return whether a port is kept for anybody."""
        return self._table.is_kept(port, self._wall_clock())

    def use(self, agent: str, entry: str, port: int) -> None:
        """Keep a port that is in use from now on."""
        if self._seconds:
            self._table.put(Reservation(agent, entry, port), self._wall_clock())
            self._write_soon()

    def leave(self, agent: str, entry: str) -> None:
        """Keep a port that is not in use any more for some time."""
        now = self._wall_clock()
        self._table.leave((agent, entry), int(now) + self._seconds, now)
        self._write_soon()

    def forget(self, agent: str, entry: str) -> None:
        """Keep nothing for an entry of an agent."""
        self._table.forget((agent, entry))
        self._write_soon()

    # -- the store -------------------------------------------------------------------

    def _write_soon(self) -> None:
        if self._ready and self._call is None and self._writing is None:
            self._write()

    def _write(self) -> None:
        """Store what has changed, and look again a little later."""
        self._call = None
        changes = self._table.take_changes()
        if not changes:
            return
        put = [kept for kept in changes.values() if kept is not None]
        gone = [owner for owner, kept in changes.items() if kept is None]

        async def write() -> None:
            delay = WRITE_SECONDS
            try:
                await self._store.write_reservations(put, gone)
            except StoreError as fault:
                self._table.give_back(changes)
                delay = RETRY_SECONDS
                self.log.error(
                    "kept ports cannot be stored; tried again in {delay:g} seconds: "
                    "{fault}",
                    delay=delay,
                    fault=fault,
                )
            self._writing = None
            if not self._stopped:
                self._call = self._clock.callLater(delay, self._write)

        writing = Deferred.fromCoroutine(write())
        if not writing.called:
            self._writing = writing

    async def stop(self) -> None:
        """Store what has changed, and plan nothing more; may be called twice."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._writing is not None:
            await self._writing
        if self._ready:
            self._write()
            if self._writing is not None:
                await self._writing
