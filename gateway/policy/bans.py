"""Who is kept out for a while: by the operator, or for wrong credentials."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gateway.policy.access import Network, parse_network
from gateway.policy.addresses import Address, holder_of, without_scope
from gateway.policy.networks import NetworkTable

MOST_BANS: Final = 1000  # of the operator's
MOST_ADDRESSES: Final = 4096  # that are watched, and as many that are kept out
BY_FAILURES: Final = "wrong credentials"


@dataclass(frozen=True, slots=True)
class Ban:
    """Who is kept out.

    Attributes:
        network: a network or an address.
        until: Unix seconds; None = for good.
        reason: for people.
        stored: whether it survives a restart.
    """

    network: str
    until: int | None
    reason: str
    stored: bool


class BanSettings(NamedTuple):
    """When an address that shows wrong credentials is kept out.

    Attributes:
        failures: so many; 0 = never.
        window: within so many seconds.
        duration: for so many seconds.
        exempt: networks that are never kept out for this.
    """

    failures: int
    window: float
    duration: float
    exempt: tuple[Network, ...]


class Bans:
    """The bans of one gateway.

    Attributes:
        rejected: how often somebody was kept out.
    """

    __slots__ = ("_failed", "_kept_out", "_listed", "_settings", "rejected")

    def __init__(self, settings: BanSettings) -> None:
        self._settings = settings
        self._listed: NetworkTable[Ban] = NetworkTable()  # the operator's
        self._kept_out: OrderedDict[str, Ban] = OrderedDict()
        # by address: failures, and since when they are counted
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self.rejected = 0

    def configure(self, settings: BanSettings) -> None:
        """Decide by other settings; bans that are on stay, unless they are exempt."""
        self._settings = settings

    def admits(self, address: str, now: float) -> bool:
        """Tell whether an address may come.

        Args:
            address: a literal one.
            now: Unix seconds.
        """
        if not self._listed and not self._kept_out:
            return True
        banned = self._find(address, now) is not None
        self.rejected += banned
        return not banned

    def _find(self, address: str, now: float) -> Ban | None:
        parsed = without_scope(address)
        if parsed is None:
            return None
        found = self._kept_out.get(holder_of(address))
        if found is not None and _is_on(found, now) and not self._is_exempt(parsed):
            return found
        on = (ban for ban in self._listed.covering(parsed) if _is_on(ban, now))
        return next(on, None)

    def failed(self, address: str, now: float) -> Ban | None:
        """Note wrong credentials; return the ban if they were too many."""
        settings = self._settings
        parsed = without_scope(address)
        if not settings.failures or parsed is None:
            return None
        if self._is_exempt(parsed):
            return None
        holder = holder_of(address)
        count, since = self._failed.pop(holder, (0, now))
        if now - since > settings.window:
            count, since = 0, now
        if count + 1 < settings.failures:
            self._failed[holder] = count + 1, since
            _bound(self._failed)
            return None
        until = int(now + settings.duration)
        ban = Ban(holder, until, BY_FAILURES, stored=False)
        self._kept_out[holder] = ban
        self._kept_out.move_to_end(holder)
        _bound(self._kept_out)
        return ban

    def _is_exempt(self, address: Address) -> bool:
        """Tell whether nobody's failures keep it out, a neighbour's included."""
        return any(address in network for network in self._settings.exempt)

    def put(self, ban: Ban) -> None:
        """Keep a network out.

        Raises:
            ValueError: it is no network, or there are too many bans.
        """
        network = parse_network(ban.network)
        if network not in self._listed and len(self._listed) >= MOST_BANS:
            raise ValueError(f"there are {MOST_BANS} bans already; remove some")
        self._listed.put(network, ban)

    def remove(self, text: str) -> Ban | None:
        """Let a network come again; return the ban it had, or None.

        Where both the operator and wrong credentials kept an address out, both end.

        Raises:
            ValueError: it is no network.
        """
        network = parse_network(text)
        listed, kept_out = self._listed.pop(network), None
        holder = holder_of(str(network.network_address))
        if network.num_addresses == 1 or str(network) == holder:
            self._failed.pop(holder, None)
            kept_out = self._kept_out.pop(holder, None)
        return listed or kept_out

    def views(self, now: float) -> list[Ban]:
        """Return those that are on, the operator's first."""
        every = (*self._listed.values(), *self._kept_out.values())
        return [ban for ban in every if _is_on(ban, now)]

    def lift(self, now: float) -> list[Ban]:
        """Forget those whose time is over; return them."""
        over = [ban for ban in self._listed.values() if not _is_on(ban, now)]
        passed = [ban for ban in self._kept_out.values() if not _is_on(ban, now)]
        for ban in over:
            self._listed.pop(parse_network(ban.network))
        for ban in passed:
            del self._kept_out[ban.network]
        return over + passed


def _is_on(ban: Ban, now: float) -> bool:
    return ban.until is None or now < ban.until


def _bound(table: OrderedDict[str, Any]) -> None:
    if len(table) > MOST_ADDRESSES:
        table.popitem(last=False)
