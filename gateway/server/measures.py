"""Read the numbers of the whole gateway for whoever scrapes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from gateway import __version__
from gateway.edge.tcp import TcpEdge
from gateway.metrics.catalogue import Readings
from gateway.metrics.tallies import CAUSES, OUTCOMES
from gateway.ops.activity import Activity
from gateway.ops.refusals import RefusalLog
from gateway.ops.slices import LOOK, VIEW, Slices
from gateway.ops.vitals import LoopLag
from gateway.policy.addresses import join_host_port
from gateway.policy.budget import Budget
from gateway.policy.limits import Counted
from gateway.server.agents import AgentTally, AgentView
from gateway.server.bans import BanTable
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.traffic import Carried, Served, Traffic

_SEVERAL: Final = 12  # cost of the numbers of one mapping or agent
OTHER: Final = "other"  # stands for all that are too many to be told apart


class Measures:
    """Sums up what the parts of a gateway have counted.

    Labels are bounded: the first `most` mappings by port and the first `most` agents
    by name have their own, the others share one.
    """

    def __init__(
        self,
        *,
        mappings: Mappings,
        links: Links,
        traffic: Traffic,
        lag: LoopLag,
        bans: BanTable,
        handshakes: Mapping[str, Counted],
        refusals: Mapping[str, RefusalLog],
        draining: Callable[[], bool],
        most: int,
        api_memory: Budget,
        slices: Slices,
        activity: Callable[[], Activity],
    ) -> None:
        self._mappings = mappings
        self._links = links
        self._traffic = traffic
        self._lag = lag
        self._bans = bans
        self._handshakes = handshakes
        self._refusals = refusals
        self._draining = draining
        self._most = most
        self._api_memory = api_memory
        self._slices = slices
        self._activity = activity

    async def read(self, into: Readings) -> None:
        """Note everything, in as many turns of the event loop as it takes."""
        into.put("build", 1, version=__version__)
        sums = await self._traffic.sums()
        self._read_total(into, sums.total)
        await self._note_waits()
        self._read_waits(into)
        agents: dict[str, AgentView] = {}
        async for piece in self._slices.pieces(self._links.each(), VIEW):
            agents.update((agent.name, agent) for agent in piece)
        self._read_links(into, agents)
        await self._read_agents(into, agents, sums.agents)
        await self._read_mappings(into)
        self._read_limits(into)
        into.put("event_loop_lag_seconds", self._lag.mean_seconds)
        into.put("event_loop_lag_max_seconds", self._lag.worst_seconds)
        into.put_histogram("event_loop_delay_seconds", self._lag.delays)
        into.put("draining", self._draining())
        self._read_activity(into)

    def _read_activity(self, into: Readings) -> None:
        now = self._activity()
        tasks = self._mappings.visitors + self._links.slots.active
        into.put("tasks_running", tasks)
        into.put("reactor_readers", now.readers)
        into.put("delayed_calls", now.delayed_calls)
        into.put("threads", now.threads)
        for kind, count in sorted(self._links.faults.items()):
            into.put("protocol_faults_total", count, kind=kind)

    def _read_total(self, into: Readings, total: Carried) -> None:
        crowd = self._mappings.crowd
        into.put("tunnel_connected", self._links.connected)
        into.put("active_connections", total.active + total.pending)
        into.put("connections_total", total.connections)
        into.put("connections_active", total.active)
        into.put("connections_pending", total.pending)
        into.put("bytes_sent_total", total.sent)
        into.put("bytes_received_total", total.received)
        into.put("errors_total", total.errors)
        for outcome in OUTCOMES:
            into.put("outcomes_total", crowd.tally.outcomes[outcome], outcome=outcome)
        for reason, count in sorted(crowd.rejected.items()):
            into.put("rejected_total", count, reason=reason)
        into.put_histogram("connection_duration_seconds", crowd.tally.durations)
        into.put_histogram("forward_latency_seconds", crowd.tally.latencies)

    async def _note_waits(self) -> None:
        """Count the waits that last still."""
        waiting = list(self._mappings.crowd.stalls.waiting)
        async for piece in self._slices.pieces(waiting, LOOK):
            for one in piece:
                one.note_waits()

    def _read_waits(self, into: Readings) -> None:
        stalls = self._mappings.crowd.stalls
        into.put("backpressure_pauses_total", sum(stalls.counts.values()))
        into.put("backpressure_yield_time_seconds_total", sum(stalls.seconds.values()))
        for cause in CAUSES:
            into.put("stalls_total", stalls.counts[cause], cause=cause)
        for cause in CAUSES:
            into.put("stall_seconds_total", stalls.seconds[cause], cause=cause)

    def _read_links(self, into: Readings, agents: dict[str, AgentView]) -> None:
        links = self._links
        up = sum(agent.links for agent in agents.values())
        into.put("pool_connections_active", up)
        into.put("pool_connections_total", links.given)
        into.put("pool_connections_created_total", links.made)
        into.put("pool_connections_closed_total", links.made - up)
        into.put("pool_connections_reused_total", links.given_again)
        into.put_histogram("pool_wait_duration_seconds", links.waits)
        sent, received = self._traffic.wire()
        into.put("link_bytes_total", sent, direction="sent")
        into.put("link_bytes_total", received, direction="received")

    async def _read_agents(
        self,
        into: Readings,
        views: dict[str, AgentView],
        carried: dict[str, Served],
    ) -> None:
        tallies = self._links.tallies()
        names = sorted(tallies, key=lambda name: (name not in views, name))
        async for piece in self._slices.pieces(names[: self._most], _SEVERAL):
            for name in piece:
                served = carried.get(name, Served())
                _put_agent(into, name, views.get(name), tallies[name], served)

    async def _read_mappings(self, into: Readings) -> None:
        states: Counter[str] = Counter()
        stuck: list[tuple[str, str]] = []
        async for views in self._slices.pieces(self._mappings.each(), VIEW):
            states.update(view.state for view in views)
            stuck += [
                (str(view.mapping.port), view.cause) for view in views if view.cause
            ]
            del stuck[self._most :]
        for state in ("listening", "unreachable", "disabled", "error"):
            into.put("mappings", states[state], state=state)
        for port, cause in stuck:
            into.put("mapping_unreachable", 1, port=port, cause=cause)
        edges = await self._traffic.by_port()
        async for piece in self._slices.pieces(edges[: self._most], _SEVERAL):
            for edge, carried in piece:
                self._read_mapping(into, edge, carried)
        rest = [carried for _, carried in edges[self._most :]]
        if rest:
            _put_carried(into, OTHER, Carried(*map(sum, zip(*rest, strict=True))))

    def _read_mapping(self, into: Readings, edge: TcpEdge, carried: Carried) -> None:
        mapping = edge.mapping
        port = str(mapping.port)
        into.put(
            "mapping",
            1,
            port=port,
            mapping_name=mapping.name,
            agent=mapping.agent or "",
            target=join_host_port(mapping.target_host, mapping.target_port),
            way="tunnel" if mapping.use_tunnel else "direct",
        )
        _put_carried(into, port, carried)
        for reason, count in sorted(edge.rejected.items()):
            into.put("mapping_rejected_total", count, port=port, reason=reason)

    def _read_limits(self, into: Readings) -> None:
        crowd = self._mappings.crowd
        limits: dict[str, Counted] = {
            "limits.connections": crowd.slots,
            "limits.tunnels": self._links.slots,
            "limits.connections_per_ip": crowd.per_address,
            "limits.mappings": self._mappings.places,
            **{
                f"limits.handshakes of {port}": counted
                for port, counted in self._handshakes.items()
            },
        }
        for name, counted in limits.items():
            into.put("limit", counted.limit, limit=name)
            into.put("limit_used", counted.active, limit=name)
            into.put("limit_rejected_total", counted.rejected, limit=name)
        memory, api = crowd.memory, self._api_memory
        for name, budget, rejected in (
            ("limits.memory", memory, memory.refused),
            ("limits.api_memory", api, api.broken),
        ):
            into.put("limit", budget.limit, limit=name)
            into.put("limit_used", budget.used, limit=name)
            into.put("limit_rejected_total", rejected, limit=name)
        into.put("memory_broken_total", memory.broken)
        into.put("memory_kernel_bytes", memory.kernel)
        into.put("memory_stalled_connections", memory.stalled)
        into.put("banned_total", self._bans.rejected)
        into.put("bans", len(self._bans.views()))
        for where, log in self._refusals.items():
            into.put("refusals_total", log.total, where=where)


def _put_agent(
    into: Readings,
    name: str,
    view: AgentView | None,
    tally: AgentTally,
    served: Served,
) -> None:
    into.put("agent_up", view is not None, agent=name)
    into.put("agent_links", view.links if view else 0, agent=name)
    into.put("agent_streams", view.streams if view else 0, agent=name)
    if view is not None and view.rtt_seconds is not None:
        into.put("agent_round_trip_seconds", view.rtt_seconds, agent=name)
    into.put("agent_links_made_total", tally.links, agent=name)
    into.put("agent_bytes_total", served.sent, agent=name, direction="sent")
    into.put("agent_bytes_total", served.received, agent=name, direction="received")
    into.put("agent_connections_total", served.visits, agent=name)
    into.put("agent_errors_total", tally.errors, agent=name)


def _put_carried(into: Readings, port: str, carried: Carried) -> None:
    into.put("mapping_connections_total", carried.connections, port=port)
    into.put("mapping_connections_active", carried.active, port=port, state="active")
    into.put("mapping_connections_active", carried.pending, port=port, state="pending")
    into.put("mapping_bytes_total", carried.sent, port=port, direction="sent")
    into.put("mapping_bytes_total", carried.received, port=port, direction="received")
    into.put("mapping_errors_total", carried.errors, port=port)


def summary(total: Carried, links: Links) -> dict[str, int]:
    """Return the few numbers of the JSON form, under the names that it has."""
    return {
        "ActiveTunnels": links.slots.active,
        "TotalTunnels": links.made,
        "ActiveConns": total.active + total.pending,
        "TotalConns": total.connections,
        "BytesIn": total.sent,
        "BytesOut": total.received,
    }
