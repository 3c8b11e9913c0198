"""Divide what is scarce between the addresses that ask for it.

An address is an IPv4 address or an IPv6 /64, as everywhere callers are counted.
While there is plenty nobody is limited; what is nearly used up is divided, so that
whoever uses most is refused first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.policy.addresses import holder_of

NEWCOMER_BYTES: Final = 1 << 14  # what a new connection is expected to hold soon
_SCARCE: Final = 7  # eighths of a limit above which places are divided
_NEWCOMERS: Final = 16  # part of the limit that newcomers may take between two looks


def places_refused(limit: int, used: int, own: int) -> bool:
    """Return whether an address must leave the free places to others.

    Above seven eighths of the limit an address may have as many places as are free,
    so the last eighth is never used up by few addresses.

    Args:
        limit: places in all; 0 = unlimited.
        used: places taken.
        own: places that the address has.
    """
    return (
        bool(limit) and used * 8 >= limit * _SCARCE and own > 0 and own >= limit - used
    )


class MemoryShares:
    """Bytes that each address uses, as of the last look.

    Attributes:
        limit: bytes for all; 0 = unlimited.
    """

    __slots__ = ("_charged", "_newcomers", "_uses", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._uses: Mapping[str, int] = {}
        self._newcomers: dict[str, int] = {}
        self._charged = 0

    @property
    def share(self) -> int:
        """Bytes that one address may use while memory is scarce.

        The limit divided by the addresses that use anything, and one more.
        """
        return self.limit // (len(self._uses) + 1)

    def use_of(self, holder: str) -> int:
        """Return the bytes of one address at the last look."""
        return self._uses.get(holder, 0)

    def update(self, uses: Mapping[str, int]) -> None:
        """Take the bytes of all addresses; what newcomers were charged is in them."""
        self._uses = uses
        self._newcomers.clear()
        self._charged = 0

    def admits(self, address: str) -> bool:
        """Charge a new connection to its address; False if that has its share.

        Between two looks newcomers are charged one sixteenth of the limit at most,
        and one address no more of it than is left for all others.
        """
        holder = holder_of(address)
        own = self._newcomers.get(holder, 0)
        left = self.limit // _NEWCOMERS - self._charged
        if own + NEWCOMER_BYTES > left or self.use_of(holder) + own >= self.share:
            return False
        self._newcomers[holder] = own + NEWCOMER_BYTES
        self._charged += NEWCOMER_BYTES
        return True
