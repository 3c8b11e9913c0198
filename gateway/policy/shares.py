"""Share few places fairly between the addresses that callers come from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from gateway.policy.addresses import holder_of

HOLD_SECONDS: Final = 1.0  # four round trips of 250 ms: TLS, HELLO and its proof

_Member = TypeVar("_Member")


class Shares(Generic[_Member]):
    """The members of a table that strangers fill, by address.

    IPv6 addresses count as their network of 64 bits. The owner of the table has the
    limit: when it is reached, `victim` says who gives way to a newcomer. That is the
    oldest member of the address with the most members, so a flood from one address
    displaces nobody else. A newcomer whose own address would have the most displaces
    only members that are at least `HOLD_SECONDS` old: a flood cannot displace its
    neighbours behind the same address before they could prove themselves, and costs
    little more than its accepts, because most of it is rejected.

    Every operation takes the same time however many members there are.
    """

    __slots__ = ("_by_count", "_holders", "_members", "_most")

    def __init__(self) -> None:
        self._holders: dict[_Member, str] = {}
        # of each holder: its members, oldest first, and since when each is here
        self._members: dict[str, OrderedDict[_Member, float]] = {}
        self._by_count: dict[int, OrderedDict[str, None]] = {}
        self._most = 0  # members of the holder that has the most

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._holders)

    def __iter__(self) -> Iterator[_Member]:
        """Return the members, in the order of arrival."""
        return iter(self._holders)

    def __contains__(self, member: object) -> bool:
        """Return whether `member` is in the table."""
        return member in self._holders

    def add(self, member: _Member, address: str, now: float) -> None:
        """Add a member, or make one the newest that is in the table already.

        Args:
            member: the member; hashable.
            address: literal address that it comes from.
            now: monotonic seconds.
        """
        self.discard(member)
        holder = holder_of(address)
        self._holders[member] = holder
        members = self._members.get(holder)
        if members is None:
            members = self._members[holder] = OrderedDict()
        members[member] = now
        self._move(holder, len(members) - 1, len(members))

    def discard(self, member: _Member) -> None:
        """Remove a member; no error if it is not in the table."""
        holder = self._holders.pop(member, None)
        if holder is None:
            return
        members = self._members[holder]
        del members[member]
        self._move(holder, len(members) + 1, len(members))
        if not members:
            del self._members[holder]

    def _move(self, holder: str, before: int, count: int) -> None:
        if before:
            peers = self._by_count[before]
            del peers[holder]
            if not peers:
                del self._by_count[before]
        if count:
            self._by_count.setdefault(count, OrderedDict())[holder] = None
        if count > self._most or self._most not in self._by_count:
            self._most = count

    def victim(self, address: str, now: float) -> _Member | None:
        """Return who must give way to a newcomer; None = the newcomer is rejected.

        Args:
            address: literal address of the newcomer.
            now: monotonic seconds.
        """
        own = self._members.get(holder_of(address))
        count = 1 if own is None else len(own) + 1
        if not self._most:
            return None
        if own is None or self._most > count:
            members = self._members[next(iter(self._by_count[self._most]))]
        else:
            members = own
        member, since = next(iter(members.items()))
        if self._most > count or now - since >= HOLD_SECONDS:
            return member
        return None
