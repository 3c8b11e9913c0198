"""Every metric: its name, kind, labels and meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

from gateway.metrics.tallies import Histogram


class Meaning(NamedTuple):
    """What the catalogue says of a metric.

    Attributes:
        kind: "counter" (its name ends in `_total`), "gauge", "histogram" or "info".
        text: its help.
        labels: their names.
        bare: whether its name has no namespace before it.
    """

    kind: Literal["counter", "gauge", "histogram", "info"]
    text: str
    labels: tuple[str, ...] = ()
    bare: bool = False


CATALOGUE: Final[Mapping[str, Meaning]] = {
    # the two names that alert rules of old ask for
    "tunnel_connected": Meaning("gauge", "1 if any agent is connected.", bare=True),
    "active_connections": Meaning(
        "gauge", "Visitors who are connected, waiting ones included.", bare=True
    ),
    # the whole gateway
    "build": Meaning("info", "Version of this program.", ("version",)),
    "connections_total": Meaning("counter", "Visitors ever admitted."),
    "connections_active": Meaning("gauge", "Visitors whose target is reached."),
    "connections_pending": Meaning("gauge", "Visitors who wait for their target."),
    "bytes_sent_total": Meaning("counter", "Payload from visitors to targets."),
    "bytes_received_total": Meaning("counter", "Payload from targets to visitors."),
    "errors_total": Meaning(
        "counter", "Visitors whose target was not reached, or whose connection broke."
    ),
    "outcomes_total": Meaning("counter", "Visitors by how it ended.", ("outcome",)),
    "rejected_total": Meaning(
        "counter",
        "Visitors turned away at once, by the setting that was the cause.",
        ("reason",),
    ),
    "connection_duration_seconds": Meaning(
        "histogram", "From the accept of a visitor to the end of its socket."
    ),
    "forward_latency_seconds": Meaning(
        "histogram", "From the accept of a visitor until its target was reached."
    ),
    "backpressure_pauses_total": Meaning(
        "counter", "How often bytes had to wait, for whatever cause."
    ),
    "backpressure_yield_time_seconds_total": Meaning(
        "counter", "For how long they had to, summed over all streams."
    ),
    "stalls_total": Meaning(
        "counter",
        "How often bytes had to wait: for a slow visitor or target, for credit under "
        "way (window), room on the link, memory, or a limit on bandwidth (rate).",
        ("cause",),
    ),
    "stall_seconds_total": Meaning("counter", "For how long they had to.", ("cause",)),
    # links are the connections that are kept open and used again
    "pool_connections_active": Meaning("gauge", "Links to agents that are up."),
    "pool_connections_total": Meaning(
        "counter", "How often a visitor was given a link."
    ),
    "pool_connections_created_total": Meaning("counter", "Links ever made."),
    "pool_connections_closed_total": Meaning("counter", "Links that are gone."),
    "pool_connections_reused_total": Meaning(
        "counter", "Visitors who were given a link that had served others before."
    ),
    "pool_wait_duration_seconds": Meaning(
        "histogram", "How long visitors of agents waited for their target."
    ),
    "link_bytes_total": Meaning(
        "counter", "What links carried, frames and all.", ("direction",)
    ),
    # by mapping
    "mapping": Meaning(
        "info", "What leads where.", ("port", "mapping_name", "agent", "target", "way")
    ),
    "mappings": Meaning("gauge", "Mappings by state.", ("state",)),
    "mapping_unreachable": Meaning(
        "gauge", "1 while a mapping listens and cannot serve.", ("port", "cause")
    ),
    "mapping_connections_total": Meaning("counter", "Visitors admitted.", ("port",)),
    "mapping_connections_active": Meaning(
        "gauge", "Visitors who are connected, by state.", ("port", "state")
    ),
    "mapping_bytes_total": Meaning("counter", "Payload.", ("port", "direction")),
    "mapping_errors_total": Meaning(
        "counter", "Targets not reached and connections broken.", ("port",)
    ),
    "mapping_rejected_total": Meaning(
        "counter", "Visitors turned away.", ("port", "reason")
    ),
    # by agent
    "agent_up": Meaning("gauge", "1 if the agent is connected.", ("agent",)),
    "agent_links": Meaning("gauge", "Links that are up.", ("agent",)),
    "agent_streams": Meaning("gauge", "Visitors whom it serves.", ("agent",)),
    "agent_round_trip_seconds": Meaning("gauge", "The last one measured.", ("agent",)),
    "agent_links_made_total": Meaning(
        "counter", "Links ever made; each reconnection makes new ones.", ("agent",)
    ),
    "agent_bytes_total": Meaning("counter", "Payload.", ("agent", "direction")),
    "agent_connections_total": Meaning(
        "counter", "Visitors whom it ever served.", ("agent",)
    ),
    "agent_errors_total": Meaning(
        "counter", "Targets not reached and connections broken.", ("agent",)
    ),
    # limits and what is behind them
    "limit": Meaning("gauge", "An upper limit; 0 = unlimited.", ("limit",)),
    "limit_used": Meaning("gauge", "How much of it is used.", ("limit",)),
    "limit_rejected_total": Meaning(
        "counter", "How often there was no room.", ("limit",)
    ),
    "memory_broken_total": Meaning(
        "counter", "Streams broken off because limits.memory was reached."
    ),
    "memory_kernel_bytes": Meaning(
        "gauge", "What the kernel holds for visitors and targets that read too slowly."
    ),
    "memory_stalled_connections": Meaning(
        "gauge", "Connections whose visitor or target reads nothing."
    ),
    "banned_total": Meaning("counter", "How often a banned address was turned away."),
    "bans": Meaning("gauge", "Networks and addresses that are kept out."),
    "refusals_total": Meaning(
        "counter", "Callers turned away for their credentials.", ("where",)
    ),
    # the process
    "event_loop_lag_seconds": Meaning(
        "gauge", "How late timers were, on average over ten seconds."
    ),
    "event_loop_lag_max_seconds": Meaning(
        "gauge", "The worst of the last ten seconds."
    ),
    "event_loop_delay_seconds": Meaning(
        "histogram", "How late timers were, two of them a second, since the start."
    ),
    "tasks_running": Meaning(
        "gauge", "Visitors and links of agents that are served now."
    ),
    "reactor_readers": Meaning("gauge", "Descriptors that are watched."),
    "delayed_calls": Meaning("gauge", "Timers that are set."),
    "threads": Meaning("gauge", "Threads of the process."),
    "protocol_faults_total": Meaning(
        "counter", "Links dropped because the other end broke the protocol.", ("kind",)
    ),
    "draining": Meaning("gauge", "1 while the gateway is being stopped."),
}


class Readings:
    """What all metrics read now, as prometheus_client takes it."""

    def __init__(self, namespace: str, left_out: frozenset[str] = frozenset()) -> None:
        """Nothing is read yet.

        Args:
            namespace: what names begin with; empty = nothing.
            left_out: names of the catalogue that are not wanted.
        """
        self._prefix = f"{namespace}_" if namespace else ""
        self._left_out = left_out
        self._found: dict[str, Metric] = {}

    def put(self, name: str, value: float, **labels: str) -> None:
        """Note a value of a metric of the catalogue."""
        if name in self._left_out:
            return
        family, full = self._family(name)
        family.add_sample(full, labels, value)

    def put_histogram(self, name: str, histogram: Histogram) -> None:
        """Note a whole histogram."""
        if name in self._left_out:
            return
        family, full = self._family(name)
        count = 0
        for bound, count in histogram.cumulated():
            family.add_sample(f"{full}_bucket", {"le": floatToGoString(bound)}, count)
        family.add_sample(f"{full}_count", {}, count)
        family.add_sample(f"{full}_sum", {}, histogram.sum)

    def collect(self) -> Iterator[Metric]:
        """Return the families, in the order in which they were first noted."""
        return iter(self._found.values())

    def _family(self, name: str) -> tuple[Metric, str]:
        meaning = CATALOGUE[name]
        full = name if meaning.bare else self._prefix + name
        found = self._found.get(name)
        if found is None:
            # the library adds the ends of these names by itself
            plain = full.removesuffix("_total") if meaning.kind == "counter" else full
            found = Metric(plain, meaning.text, meaning.kind)
            self._found[name] = found
        return found, f"{full}_info" if meaning.kind == "info" else full
