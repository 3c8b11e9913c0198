"""Bans: the operator's are stored, those for wrong credentials pass by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gateway.errors import (
    BadRequestError,
    BanMissingError,
    StoreError,
    StoreFailedError,
)
from gateway.interfaces import IBanStore
from gateway.ops.events import Emit, unheard
from gateway.policy.access import parse_network
from gateway.policy.bans import Ban, Bans, BanSettings


class BanTable:
    """Whom the gateway keeps out; the store and this table always agree."""

    log: Final = Logger()

    def __init__(
        self,
        store: IBanStore,
        settings: BanSettings,
        wall_clock: Callable[[], float],
        emit: Emit = unheard,
    ) -> None:
        """Keep nobody out yet.

        Args:
            store: where the operator's bans survive a restart.
            settings: when wrong credentials lead to a ban.
            wall_clock: Unix seconds.
            emit: told of bans that begin and end.
        """
        self._emit = emit
        self._store = store
        self._bans = Bans(settings)
        self._wall_clock = wall_clock

    def configure(self, settings: BanSettings) -> None:
        """Ban by other settings from now on; see `Bans.configure`."""
        self._bans.configure(settings)

    async def restore(self) -> None:
        """Read what is stored; what cannot be read does not stop the rest.

        Raises:
            StoreError: the store cannot be read at all.
        """
        now = self._wall_clock()
        for ban in await self._store.load_bans():
            if ban.until is not None and ban.until <= now:
                await self._forget(ban)
                continue
            try:
                self._bans.put(ban)
            except ValueError as fault:
                self.log.error(
                    "stored ban of {network!r} passed over: {fault}",
                    network=ban.network,
                    fault=fault,
                )

    @property
    def rejected(self) -> int:
        """How often somebody was kept out."""
        return self._bans.rejected

    def admits(self, address: str) -> bool:
        """Tell whether an address may come."""
        return self._bans.admits(address, self._wall_clock())

    def failed(self, address: str) -> None:
        """Note that an address showed wrong credentials."""
        ban = self._bans.failed(address, self._wall_clock())
        if ban is not None:
            self.log.warn(
                "Unauthorized: {address} is kept out until {until}: {reason}",
                address=address,
                until=ban.until,
                reason=ban.reason,
            )
            self._tell("added", ban)

    def _tell(self, action: str, ban: Ban) -> None:
        self._emit(
            "ban", action, network=ban.network, until_unix=ban.until, reason=ban.reason
        )

    def lift(self) -> None:
        """Forget the bans whose time is over."""
        for ban in self._bans.lift(self._wall_clock()):
            self._tell("lifted", ban)
            if ban.stored:
                Deferred.fromCoroutine(self._forget(ban))

    async def _forget(self, ban: Ban) -> None:
        """Take a ban out of the store; if that fails, the next start does it."""
        try:
            await self._store.delete_ban(ban.network)
        except StoreError as fault:
            self.log.warn(
                "the ban of {network} is over and stays in the store: {fault}",
                network=ban.network,
                fault=fault,
            )

    def views(self) -> list[Ban]:
        """Return the bans that are on."""
        return self._bans.views(self._wall_clock())

    async def add(self, network: str, seconds: int | None, reason: str) -> Ban:
        """Keep a network out, for a while or for good.

        Raises:
            BadRequestError: it is no network, or there are too many bans.
            StoreFailedError: nothing is changed.
        """
        until = None if seconds is None else int(self._wall_clock()) + seconds
        try:
            ban = Ban(str(parse_network(network)), until, reason, stored=True)
            before = {one.network: one for one in self.views()}.get(ban.network)
            self._bans.put(ban)
        except ValueError as fault:
            raise BadRequestError(detail=str(fault)) from None
        try:
            await self._store.put_ban(ban)
        except StoreError as fault:
            self._bans.remove(ban.network)
            if before is not None and before.stored:
                self._bans.put(before)
            raise StoreFailedError(detail=str(fault)) from fault
        self._tell("added", ban)
        return ban

    async def remove(self, network: str) -> Ban:
        """Let a network come again.

        Raises:
            BadRequestError: it is no network.
            BanMissingError: it is not kept out.
            StoreFailedError: it is kept out as before.
        """
        try:
            plain = str(parse_network(network))
        except ValueError as fault:
            raise BadRequestError(detail=str(fault)) from None
        found = self._bans.remove(plain)
        if found is None:
            raise BanMissingError(network=network)
        if found.stored:
            try:
                await self._store.delete_ban(plain)
            except StoreError as fault:
                self._bans.put(found)
                raise StoreFailedError(detail=str(fault)) from fault
        self._tell("removed", found)
        return found
