"""Public ports that agents were given, kept for them while they are away."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.policy.expiry import Expiries

MOST_PER_AGENT: Final = 100
MOST_RESERVATIONS: Final = 10_000

Owner = tuple[str, str]  # the agent's name, and its word for the port


class Reservation(NamedTuple):
    """A port that an agent was given without asking for that one.

    Attributes:
        agent: its name.
        entry: the agent's own word for the port.
        port: the public port.
        until: Unix seconds from which on it is free again; None = it is in use.
    """

    agent: str
    entry: str
    port: int
    until: int | None = None

    @property
    def owner(self) -> Owner:
        """Return what the port is kept for."""
        return self.agent, self.entry


class Reservations:
    """Which port is kept for whom; a port is kept for one owner, and the other way.

    At most 100 are kept for one agent and 10,000 in all; the one that ends first makes
    room for a new one.  Those in use are bounded by the number of mappings.
    """

    __slots__ = ("_by_owner", "_by_port", "_changed", "_expiries", "_of_agent")

    def __init__(self) -> None:
        self._by_owner: dict[Owner, Reservation] = {}
        self._by_port: dict[int, Owner] = {}
        self._of_agent: dict[str, dict[Owner, None]] = {}
        self._expiries = Expiries()  # by port, as text
        self._changed: dict[Owner, Reservation | None] = {}

    def __len__(self) -> int:
        return len(self._by_owner)

    def port_of(self, owner: Owner, now: float) -> int | None:
        """Return the port that is kept for an owner, or None."""
        self._expire(now)
        found = self._by_owner.get(owner)
        return None if found is None else found.port

    def is_kept(self, port: int, now: float) -> bool:
        """Return whether a port is kept for anybody."""
        self._expire(now)
        return port in self._by_port

    def put(self, kept: Reservation, now: float) -> None:
        """Keep a port for its owner, in place of what was kept of either."""
        self._expire(now)
        if self._by_owner.get(kept.owner) == kept:
            return
        self._drop(kept.owner)
        before = self._by_port.get(kept.port)
        if before is not None:
            self._drop(before)
        if kept.until is not None and kept.until <= now:
            self._changed[kept.owner] = None
            return
        self._make_room(kept.agent)
        self._by_owner[kept.owner] = kept
        self._by_port[kept.port] = kept.owner
        self._of_agent.setdefault(kept.agent, {})[kept.owner] = None
        self._expiries.put(str(kept.port), kept.until)
        self._changed[kept.owner] = kept

    def leave(self, owner: Owner, until: int, now: float) -> None:
        """Keep a port that is in use until then; no error if there is none."""
        kept = self._by_owner.get(owner)
        if kept is not None:
            self.put(kept._replace(until=until), now)

    def forget(self, owner: Owner) -> None:
        """Keep nothing for an owner; no error if nothing was kept."""
        self._drop(owner)

    def take_changes(self) -> dict[Owner, Reservation | None]:
        """Return what has changed since the last call; None = it is gone."""
        changed, self._changed = self._changed, {}
        return changed

    def give_back(self, changes: dict[Owner, Reservation | None]) -> None:
        """Take changes back that could not be stored; newer ones stand above them."""
        self._changed = {**changes, **self._changed}

    def _drop(self, owner: Owner) -> None:
        kept = self._by_owner.pop(owner, None)
        if kept is None:
            return
        del self._by_port[kept.port]
        siblings = self._of_agent[kept.agent]
        del siblings[owner]
        if not siblings:
            del self._of_agent[kept.agent]
        self._expiries.discard(str(kept.port))
        self._changed[owner] = None

    def _expire(self, now: float) -> None:
        for port in self._expiries.due(now):
            self._drop(self._by_port[int(port)])

    def _make_room(self, agent: str) -> None:
        """Drop what ends first, of the agent or of all; what is in use stays."""
        siblings = self._of_agent.get(agent, {})
        if len(siblings) >= MOST_PER_AGENT:
            idle = [kept for owner in siblings if (kept := self._by_owner[owner]).until]
            if idle:
                self._drop(min(idle, key=lambda kept: kept.until or 0).owner)
        if len(self._by_owner) >= MOST_RESERVATIONS:
            at = self._expiries.next_name()
            if at is not None:
                self._drop(self._by_port[int(at)])
