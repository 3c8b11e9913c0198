"""Every connection to the link port, from its first byte to its last."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from gateway.interfaces import ILink
from gateway.ops.refusals import RefusalLog
from gateway.policy.shares import Shares
from gateway.server.bans import BanTable
from gateway.wire import frames

MAX_UNDECIDED: Final = 200
_CROWDED: Final = "too many connections have not said who they are"


class LinkConnections:
    """The connections that there are, and those of them that nobody knows.

    Attributes:
        live: all of them, in the order of arrival.
    """

    def __init__(
        self, clock: IReactorTime, bans: BanTable, refusals: RefusalLog
    ) -> None:
        self.live: dict[ILink, None] = {}
        self._clock = clock
        self._bans = bans
        self._refusals = refusals
        self._unproven: Shares[ILink] = Shares()  # those without a name
        self._leaving = False
        self._empty: list[Deferred[None]] = []

    def admits(self, host: str) -> bool:
        """Return whether one more connection of an address may come.

        When too many connections have not said who they are, the oldest of the
        address with the most of them makes room. An agent says HELLO at once, so
        neither a scan nor a flood from another address keeps it out.
        """
        if self._leaving:
            return False
        if not self._bans.admits(host):
            self._refusals.note(host, "it is banned")
            return False
        if len(self._unproven) >= MAX_UNDECIDED and not self._make_room(host):
            self._refusals.note(host, _CROWDED)
            return False
        return True

    def _make_room(self, host: str) -> bool:
        """Drop a connection that must give way to one from `host`, if any must."""
        victim = self._unproven.victim(host, self._clock.seconds())
        if victim is None:
            return False
        self._unproven.discard(victim)
        self._refusals.note(victim.host, _CROWDED)
        victim.abort(_CROWDED)
        return True

    def add(self, link: ILink) -> None:
        """Count a new connection; it is nobody's until it is decided."""
        self.live[link] = None
        self.disown(link)

    def disown(self, link: ILink) -> None:
        """Note that a connection belongs to no agent, or to none any more."""
        self._unproven.add(link, link.host, self._clock.seconds())

    def own(self, link: ILink) -> None:
        """Note that a connection belongs to an agent."""
        self._unproven.discard(link)

    def closed(self, link: ILink) -> None:
        """Forget a connection that is gone."""
        self.live.pop(link, None)
        self._unproven.discard(link)
        if not self.live:
            waiting, self._empty = self._empty, []
            for waiter in waiting:
                waiter.callback(None)

    # -- leaving -----------------------------------------------------------------

    def leave(self, text: str) -> None:
        """Tell every agent that the gateway stops; admit nobody any more."""
        self._leaving = True
        for link in list(self.live):
            link.leave(frames.STOPPING, text)

    def gone(self) -> Deferred[None]:
        """Return a Deferred that fires when no connection is left."""
        if not self.live:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._forget_waiter)
        self._empty.append(waiter)
        return waiter

    def _forget_waiter(self, waiter: Deferred[None]) -> None:
        self._empty.remove(waiter)

    def part(self, text: str) -> None:
        """Close every connection behind what was said last."""
        for link in list(self.live):
            link.close_after_last_words(text)

    def abort(self, why: str) -> None:
        """Close every connection at once; may be called twice."""
        self._leaving = True
        for link in list(self.live):
            link.abort(why)
