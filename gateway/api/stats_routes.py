"""Routes of what passes, and has passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from twisted.web.iweb import IRequest

from gateway import __version__
from gateway.api.exchange import Endpoint, Exchange
from gateway.api.listing import around, array
from gateway.api.replies import encode
from gateway.api.stat_rows import (
    ActiveConnection,
    ActiveConnections,
    Bytes,
    ConnectionCounts,
    DescriptorUse,
    LifetimeCounts,
    MappingConnections,
    MappingCounts,
    MemoryUse,
    PortTraffic,
    Rates,
    Recent,
    Stats,
    TrafficRow,
    WireTraffic,
    sample_row,
)
from gateway.edge.tcp import TcpEdge
from gateway.ops.slices import VIEW, Shared
from gateway.ops.usage import ProcessUsage
from gateway.ops.vitals import LoopLag
from gateway.policy.addresses import join_host_port
from gateway.policy.mapping import Mapping
from gateway.server.agents import AgentView
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.recorder import Recorder
from gateway.server.sampling import STEP_SECONDS, Sampler
from gateway.server.traffic import Traffic

MOST_CONNECTIONS: Final = 1000  # of one mapping in one answer


class StatsRoutes:
    """Show numbers."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        mappings: Mappings,
        links: Links,
        traffic: Traffic,
        sampler: Sampler,
        recorder: Recorder,
        wall_clock: Callable[[], float],
        draining: Callable[[], bool],
        lag: LoopLag,
        usage: Callable[[], ProcessUsage],
    ) -> None:
        self._exchange = exchange
        self._mappings = mappings
        self._links = links
        self._traffic = traffic
        self._sampler = sampler
        self._recorder = recorder
        self._wall_clock = wall_clock
        self._draining = draining
        self._usage = usage
        self._lag = lag
        self._found: Shared[Stats] = Shared()

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("GET", "/api/stats", self._stats),
            Endpoint("GET", "/api/stats/recent", self._recent),
            Endpoint("GET", "/api/stats/traffic", self._traffic_row),
            Endpoint("GET", "/api/stats/connections", self._connections),
        ]

    async def _stats(self, request: IRequest) -> bytes:
        row = await self._found.join(None, self._all)
        return self._exchange.reply(request, "stats_found", row)

    async def _all(self) -> Stats:
        slices, sampler, links = self._exchange.slices, self._sampler, self._links
        agents: list[AgentView] = []
        async for piece in slices.pieces(links.each(), VIEW):
            agents += piece
        mappings = await self._mapping_counts()
        last = sampler.samples[-1] if sampler.samples else None
        usage, memory = self._usage(), self._mappings.crowd.memory
        total = await self._traffic.total()
        ever = self._recorder.lifetime(total)
        return Stats(
            version=__version__,
            started_at_unix=sampler.started_at,
            uptime_seconds=round(sampler.uptime, 3),
            draining=self._draining(),
            connections=ConnectionCounts(
                active=total.active,
                pending=total.pending,
                total=total.connections,
                rejected=total.rejected,
                errors=total.errors,
            ),
            bytes=Bytes(sent=total.sent, received=total.received),
            lifetime=LifetimeCounts(
                connections=ever.connections,
                errors=ever.errors,
                bytes_sent=ever.sent,
                bytes_received=ever.received,
            ),
            rate=Rates(
                sent=round(last.sent, 1) if last else 0.0,
                received=round(last.received, 1) if last else 0.0,
                connections=round(last.connections, 2) if last else 0.0,
            ),
            mappings=mappings,
            agents=len(agents),
            links=sum(agent.links for agent in agents),
            links_total=links.made,
            streams=sum(agent.streams for agent in agents),
            tunnel_enabled=self._exchange.settings.tunnel_enabled,
            tunnel_connected=links.connected,
            open_to_all=links.open_to_all,
            memory=MemoryUse(
                resident=usage.resident, held=memory.used, limit=memory.limit
            ),
            descriptors=DescriptorUse(
                open=usage.descriptors, limit=usage.descriptor_limit
            ),
            cpu_seconds=round(usage.cpu_seconds, 3),
            loop_lag_seconds=round(self._lag.mean_seconds, 6),
        )

    async def _mapping_counts(self) -> MappingCounts:
        states: Counter[str] = Counter()
        tunnel = 0
        views = self._mappings.each()
        async for piece in self._exchange.slices.pieces(views, VIEW):
            states.update(view.state for view in piece)
            tunnel += sum(view.mapping.use_tunnel for view in piece)
        total = states.total()
        return MappingCounts(
            total=total,
            listening=states["listening"],
            unreachable=states["unreachable"],
            error=states["error"],
            disabled=states["disabled"],
            tunnel=tunnel,
            direct=total - tunnel,
        )

    async def _recent(self, request: IRequest) -> bytes:
        return await self._exchange.reply_list(
            request,
            "stats_found",
            lambda _: Recent(step_seconds=STEP_SECONDS, samples=[]),
            "samples",
            array(map(sample_row, list(self._sampler.samples))),
        )

    async def _traffic_row(self, request: IRequest) -> bytes:
        ports, total = await self._traffic.by_port(), await self._traffic.total()
        now = int(self._wall_clock())
        sent, received = self._traffic.wire()
        row = TrafficRow(
            tunnel=WireTraffic(
                bytes_sent=sent, bytes_received=received, last_update=now
            ),
            mappings=[],
            total_sent=sent + sum(carried.sent for _, carried in ports),
            total_received=received + sum(carried.received for _, carried in ports),
            payload_sent=total.sent,
            payload_received=total.received,
            timestamp=now,
        )
        elements = array(
            PortTraffic(
                port=edge.mapping.port,
                bytes_sent=carried.sent,
                bytes_received=carried.received,
                last_update=now,
            )
            for edge, carried in ports
        )
        return await self._exchange.reply_list(
            request, "traffic_found", lambda _: row, "mappings", elements
        )

    async def _connections(self, request: IRequest) -> bytes:
        now = self._wall_clock()
        return await self._exchange.reply_list(
            request,
            "connections_listed",
            lambda _: ActiveConnections(mappings=[], timestamp=int(now)),
            "mappings",
            _visitors(self._mappings.served_edges(), now),
        )


def _visitors(edges: Iterable[TcpEdge], wall_now: float) -> Iterator[bytes]:
    """Return mappings and their visitors as elements of an array, bit by bit."""
    comma = b""
    for edge in edges:
        visits = list(edge.visits)
        head, tail = around(encode(_mapping(edge, len(visits))), "active_connections")
        yield comma + head
        since = wall_now - edge.clock.seconds()
        target = _target(edge.mapping)
        yield from array(
            ActiveConnection(
                id=visit.id,
                client_addr=visit.visitor,
                target_addr=target,
                bytes_sent=visit.sent,
                bytes_received=visit.received,
                connected_at=int(since + visit.started_at),
            )
            for visit in visits[:MOST_CONNECTIONS]
        )
        yield tail
        comma = b","


def _mapping(edge: TcpEdge, count: int) -> dict[str, object]:
    mapping = edge.mapping
    return MappingConnections(
        source_port=mapping.port,
        target_host=mapping.target_host,
        target_port=mapping.target_port,
        use_tunnel=mapping.use_tunnel,
        active_connections=[],
        total_connections=count,
        bandwidth_limit=mapping.rules.bandwidth_limit,
        access_rule=mapping.rules.access_rule,
        access_ips=list(mapping.rules.access_ips),
    ).model_dump(mode="json")


def _target(mapping: Mapping) -> str:
    host, port = mapping.target_host, mapping.target_port
    return join_host_port(host, port) if host else f":{port}"
