"""Routes of what passes, and has passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from twisted.web.iweb import IRequest

from gateway import __version__
from gateway.api.exchange import Endpoint, Exchange
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
from gateway.ops.usage import ProcessUsage
from gateway.ops.vitals import LoopLag
from gateway.policy.addresses import join_host_port
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

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("GET", "/api/stats", self._stats),
            Endpoint("GET", "/api/stats/recent", self._recent),
            Endpoint("GET", "/api/stats/traffic", self._traffic_row),
            Endpoint("GET", "/api/stats/connections", self._connections),
        ]

    def _stats(self, request: IRequest) -> bytes:
        total, sampler, links = self._traffic.total(), self._sampler, self._links
        last = sampler.samples[-1] if sampler.samples else None
        usage, memory = self._usage(), self._mappings.crowd.memory
        agents, ever = links.views(), self._recorder.lifetime
        row = Stats(
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
            mappings=self._mapping_counts(),
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
        return self._exchange.reply(request, "stats_found", row)

    def _mapping_counts(self) -> MappingCounts:
        views = self._mappings.views()
        states = Counter(view.state for view in views)
        tunnel = sum(view.mapping.use_tunnel for view in views)
        return MappingCounts(
            total=len(views),
            listening=states["listening"],
            error=states["error"],
            disabled=states["disabled"],
            tunnel=tunnel,
            direct=len(views) - tunnel,
        )

    def _recent(self, request: IRequest) -> bytes:
        samples = [sample_row(sample) for sample in self._sampler.samples]
        row = Recent(step_seconds=STEP_SECONDS, samples=samples)
        return self._exchange.reply(request, "stats_found", row)

    def _traffic_row(self, request: IRequest) -> bytes:
        now = int(self._wall_clock())
        sent, received = self._traffic.wire()
        ports = [
            PortTraffic(
                port=edge.mapping.port,
                bytes_sent=carried.sent,
                bytes_received=carried.received,
                last_update=now,
            )
            for edge, carried in self._traffic.by_port()
        ]
        total = self._traffic.total()
        row = TrafficRow(
            tunnel=WireTraffic(
                bytes_sent=sent, bytes_received=received, last_update=now
            ),
            mappings=ports,
            total_sent=sent + sum(port.bytes_sent for port in ports),
            total_received=received + sum(port.bytes_received for port in ports),
            payload_sent=total.sent,
            payload_received=total.received,
            timestamp=now,
        )
        return self._exchange.reply(request, "traffic_found", row)

    def _connections(self, request: IRequest) -> bytes:
        now = self._wall_clock()
        rows = [self._visitors(edge, now) for edge, _ in self._traffic.by_port()]
        found = ActiveConnections(mappings=rows, timestamp=int(now))
        return self._exchange.reply(request, "connections_listed", found)

    def _visitors(self, edge: TcpEdge, wall_now: float) -> MappingConnections:
        mapping, now = edge.mapping, edge.clock.seconds()
        host = mapping.target_host
        target = (
            (join_host_port(host, mapping.target_port))
            if host
            else (f":{mapping.target_port}")
        )
        visits = list(edge.visits)
        return MappingConnections(
            source_port=mapping.port,
            target_host=host,
            target_port=mapping.target_port,
            use_tunnel=mapping.use_tunnel,
            active_connections=[
                ActiveConnection(
                    id=visit.id,
                    client_addr=visit.visitor,
                    target_addr=target,
                    bytes_sent=visit.sent,
                    bytes_received=visit.received,
                    connected_at=int(wall_now - now + visit.started_at),
                )
                for visit in visits[:MOST_CONNECTIONS]
            ],
            total_connections=len(visits),
            bandwidth_limit=mapping.rules.bandwidth_limit,
            access_rule=mapping.rules.access_rule,
            access_ips=list(mapping.rules.access_ips),
        )
