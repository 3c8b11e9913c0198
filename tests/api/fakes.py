"""Doubles of what the API is built on; they behave like the real ones in memory."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from gateway.api.app import Api
from gateway.api.audit import AuditLog
from gateway.api.metrics_routes import MetricsRoutes
from gateway.api.settings import ApiSettings
from gateway.edge.tcp import Crowd, TcpEdge
from gateway.errors import (
    MappingMissingError,
    PortMappedError,
    PortRangeError,
    TunnelDisabledError,
)
from gateway.metrics.tallies import Stalls, Tally
from gateway.ops.events import Events
from gateway.ops.health import HealthChecks
from gateway.ops.levels import Levels
from gateway.ops.recent import RecentLines
from gateway.ops.refusals import RefusalLog
from gateway.ops.reloading import Reloaded
from gateway.ops.slices import Slices
from gateway.ops.usage import ProcessUsage
from gateway.ops.vitals import LoopLag
from gateway.policy.bans import BanSettings
from gateway.policy.budget import Budget
from gateway.policy.limits import Places, Slots
from gateway.policy.mapping import (
    Mapping,
    MappingChanges,
    Target,
    changed,
    resolve_target_port,
    wants_tunnel,
)
from gateway.policy.visitors import Addresses
from gateway.relay.deadlines import Deadlines
from gateway.server.agents import AgentTally, AgentView
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.mappings import MappingView
from gateway.server.recorder import Recorder, RecorderSettings
from gateway.server.sampling import Sampler
from gateway.server.traffic import Traffic
from gateway.store.memory import MemoryMappingStore

NOON = 1704110400  # 2024-01-01 12:00:00 UTC


class FakeMappings:
    """A mapping service without sockets and store.

    Attributes:
        held: a Deferred that every change waits for, or None.
        fault: what every call raises, or None.
        drains: ports removed, with the patience asked for.
        busy: edges with visitors.
    """

    def __init__(self, *, tunnel_enabled=True, last_port=40000):
        self.tunnel_enabled = tunnel_enabled
        self.last_port = last_port
        self.held = None
        self.fault = None
        self.drains = []
        self.busy = []
        self._rows = {}
        self._next_id = 1

    def hold(self):
        """Make changes wait, and return the Deferred that lets them go on."""
        self.held = Deferred()
        return self.held

    def put(self, view):
        """Have a mapping as a test wants it."""
        self._rows[view.mapping.port] = view

    async def _begin(self):
        if self.fault is not None:
            raise self.fault
        if self.held is not None:
            await self.held

    def enforce_bans(self):
        """Nobody is here."""

    @property
    def crowd(self):
        """What visitors would share."""
        return SimpleNamespace(
            slots=Slots(10000),
            memory=Budget(268435456),
            tally=Tally(),
            rejected=Counter(),
            stalls=Stalls(),
            per_address=Places(0, 0, 0, 0),
        )

    @property
    def places(self):
        return Places(10000, len(self._rows), 0, 0)

    def edges(self):
        return list(self.busy)

    served_edges = edges

    async def create(self, wish):
        await self._begin()
        port = wish.port or next(p for p in range(10000, 20001) if p not in self._rows)
        if not 10000 <= port <= self.last_port:
            raise PortRangeError(port=port, first=10000, last=self.last_port)
        if port in self._rows:
            raise PortMappedError(port=port)
        use_tunnel = wants_tunnel(wish, tunnel_enabled=self.tunnel_enabled)
        if use_tunnel and not self.tunnel_enabled:
            raise TunnelDisabledError
        wish = replace(wish, port=port)
        mapping = Mapping(
            id=self._next_id,
            port=port,
            listen=wish.listen,
            targets=(
                Target(
                    host=wish.target_host or "",
                    port=resolve_target_port(wish, use_tunnel=use_tunnel, offset=10000),
                    use_tunnel=use_tunnel,
                    agent=wish.agent,
                ),
            ),
            name=wish.name,
            labels=dict(wish.labels),
            rules=wish.rules,
            expected=wish.expected,
            expires_at=wish.expires_in and NOON + wish.expires_in,
            created_at=NOON,
            updated_at=NOON,
        )
        self._next_id += 1
        self._rows[port] = MappingView(mapping, "listening", None, 0, "stored")
        return self._rows[port]

    async def remove(self, port, protocol="tcp", drain_seconds=0.0):
        await self._begin()
        view = self.get(port)
        del self._rows[port]
        self.drains.append((port, drain_seconds))
        return view

    async def update(self, port, changes, protocol="tcp"):
        await self._begin()
        view = self.get(port)
        mapping = changed(view.mapping, changes, NOON + 60)
        state = "listening" if mapping.enabled else "disabled"
        self._rows[port] = view._replace(mapping=mapping, state=state)
        return self._rows[port]

    async def reload(self, port, protocol="tcp"):
        await self._begin()
        return self.get(port)

    async def disable(self, port, protocol="tcp", *, close=False):
        return await self.update(port, MappingChanges(enabled=False), protocol)

    def get(self, port, protocol="tcp"):
        if self.fault is not None:
            raise self.fault
        try:
            return self._rows[port]
        except KeyError:
            raise MappingMissingError(port=port) from None

    def views(self):
        if self.fault is not None:
            raise self.fault
        return [self._rows[port] for port in sorted(self._rows)]

    def each(self):
        return iter(self.views())


class FakeVisit:
    """Somebody who is here until sent away."""

    id, visitor, agent, over, waits_for = (
        "5c1e-1",
        "198.51.100.7:50122",
        "default",
        False,
        None,
    )
    outcome, tallies, holder, transport, buckets = "finished", (), None, None, None
    sent, received = 1024, 65536
    started_at = opened_at = 0.0

    def __init__(self, edge):
        self._edge = edge
        edge.enter(self, IPv4Address("TCP", "198.51.100.7", 50122))

    def close(self, why):
        self._edge.left(self)


def busy_edge(clock, mapping):
    """Return an edge of a mapping, with one visitor."""
    crowd = Crowd(
        clock=clock,
        slots=Slots(0),
        addresses=Addresses(0),
        memory=Budget(0),
        headers=Deadlines(clock, 5.0),
    )
    crowd.slots.acquire()
    edge = TcpEdge(
        mapping, crowd, lambda edge, addr: Protocol(), lambda addr, why: None
    )
    FakeVisit(edge)
    return edge


NO_BANS = BanSettings(0, 60.0, 600.0, ())


class FakeLinks:
    """A table of links that a test fills."""

    def __init__(self):
        self.agents: list[AgentView] = []
        self.open_to_all = False
        self.slots = Slots(1000)
        self.stream_places = Slots(10000)

    @property
    def connected(self):
        return bool(self.agents)

    def reachable(self, name):
        names = [agent.name for agent in self.agents]
        if name is None:
            return "default" in names or len(names) == 1
        return name in names

    def views(self):
        return list(self.agents)

    def each(self):
        return iter(self.views())

    def tallies(self):
        return {agent.name: AgentTally() for agent in self.agents}

    made = 1
    wire_bytes = (1048576, 2097152)

    def has(self, name):
        return any(agent.name == name for agent in self.agents)

    def disconnect(self, name, why):
        """End its links; it is back at once."""
        return sum(agent.links for agent in self.agents if agent.name == name)


def keys(clock, store):
    """Return a table of keys that are all zeros."""
    return Credentials(
        store, (), bytes, lambda: NOON + clock.seconds(), legacy_allowed=False
    )


async def nothing_read(into):
    """Read no numbers."""


def build_api(clock, **given):
    """Return an API over fakes, but for what is given to its constructor."""
    settings = given.get("settings") or ApiSettings()
    store = MemoryMappingStore()
    Deferred.fromCoroutine(store.open())
    mappings: Any = given.get("mappings") or FakeMappings(
        tunnel_enabled=settings.tunnel_enabled
    )
    links: Any = given.get("links") or FakeLinks()
    slices = Slices(clock)
    traffic = Traffic(mappings, links, slices)
    sampler = Sampler(clock, traffic, lambda: NOON + clock.seconds())
    sampler.started_at = float(NOON)
    measures: Any = SimpleNamespace(read=nothing_read)
    parts: dict[str, Any] = {
        "mappings": mappings,
        "links": links,
        "traffic": traffic,
        "sampler": sampler,
        "lag": LoopLag(clock),
        "recorder": Recorder(
            clock,
            store,
            traffic,
            lambda: NOON + clock.seconds(),
            RecorderSettings(True, 60.0, 604800.0, 1000),
        ),
        "wall_clock": lambda: NOON + clock.seconds(),
        "metrics": MetricsRoutes(
            measures, traffic, links, "gotunnel", frozenset(), slices
        ),
        "usage": lambda: ProcessUsage(41943040, 28, 20000, 1.5),
        "credentials": keys(clock, store),
        "bans": BanTable(store, NO_BANS, lambda: NOON + clock.seconds()),
        "audit": AuditLog(store, lambda: NOON + clock.seconds(), 86400.0, 1000),
        "connections": Slots(200),
        "memory": Budget(33554432),
        "slices": slices,
        "handshakes": {},
        "reload": lambda: Reloaded([], [], []),
        "health": HealthChecks(clock, lambda: NOON),
        "events": Events(clock, lambda: NOON + clock.seconds(), "feed"),
        "refusals": RefusalLog(clock),
        "recent": RecentLines("gotunnel", "5c1e"),
        "levels": Levels("info", {"gateway.net": "warn"}, clock),
        **given,
        "settings": settings,
    }
    return Api(clock=clock, **parts)
