"""What the API says of traffic and connections."""

from __future__ import annotations

from gateway.api.answers import Row
from gateway.server.connections import Connection
from gateway.server.sampling import Sample


class ConnectionCounts(Row):
    """Visitors, counted."""

    active: int
    """Those whose target is reached."""
    pending: int
    """Those who wait for it."""
    total: int
    """Those who were ever admitted since the gateway started."""
    rejected: int
    """Those who were turned away since then."""
    errors: int
    """Those whose target was not reached, or whose connection broke, since then."""


class Bytes(Row):
    """Payload, without what frames and TLS add."""

    sent: int
    """From visitors to targets."""
    received: int
    """From targets to visitors."""


class LifetimeCounts(Row):
    """What passed since the gateway was first started with this database."""

    connections: int
    """Visitors who were ever admitted."""
    errors: int
    """Those whose target was not reached, or whose connection broke."""
    bytes_sent: int
    """From visitors to targets."""
    bytes_received: int
    """From targets to visitors."""


class Rates(Row):
    """What passes in a second."""

    sent: float
    """Bytes from visitors to targets."""
    received: float
    """Bytes from targets to visitors."""
    connections: float
    """Visitors who come."""


class MappingCounts(Row):
    """Mappings, counted."""

    total: int
    listening: int
    unreachable: int
    error: int
    disabled: int
    tunnel: int
    direct: int


class MemoryUse(Row):
    """Memory, in bytes."""

    resident: int
    """What the process has."""
    held: int
    """What waits in it, and what grown windows may bring."""
    limit: int
    """`limits.memory`; 0 = unlimited."""


class DescriptorUse(Row):
    """Open files and sockets."""

    open: int
    limit: int


class Stats(Row):
    """How the whole gateway fares."""

    version: str
    started_at_unix: float
    uptime_seconds: float
    draining: bool
    """Whether it is being stopped."""
    connections: ConnectionCounts
    bytes: Bytes
    lifetime: LifetimeCounts
    rate: Rates
    mappings: MappingCounts
    agents: int
    """Agents that are connected."""
    links: int
    """Their links."""
    links_total: int
    """Links ever since the gateway started; agents that come again have new ones."""
    streams: int
    """Visitors who are on a link."""
    tunnel_enabled: bool
    tunnel_connected: bool
    """Whether any agent is connected."""
    open_to_all: bool
    """Whether agents need no credential of any kind."""
    memory: MemoryUse
    descriptors: DescriptorUse
    cpu_seconds: float
    """Spent since the start."""
    loop_lag_seconds: float
    """How late timers were, on average over ten seconds."""


class SampleRow(Row):
    """One second, or a few where there are very many visitors."""

    at_unix: float
    """End of it."""
    sent: float
    """Bytes a second to targets."""
    received: float
    """Bytes a second to visitors."""
    connections: float
    """Visitors who came, in a second."""
    active: int
    """Visitors who were there at its end."""


class Recent(Row):
    """The last five minutes."""

    step_seconds: float
    """How far apart samples usually are."""
    samples: list[SampleRow]
    """The newest last."""


class HistoryPoint(Row):
    """One step of the past."""

    at_unix: int
    """End of it."""
    bytes_sent: int
    """From visitors to targets; with `links`, to agents."""
    bytes_received: int
    """From targets to visitors; with `links`, from agents."""
    connections: int
    """Visitors who came."""
    active: int
    """The most visitors who were there at the end of a record."""


class HistoryRow(Row):
    """What passed in a span of time."""

    port: int | None
    """Public port; null = all together."""
    step_seconds: int
    """What each point covers."""
    points: list[HistoryPoint]
    """Ordered; steps in which nothing was recorded are left out."""


class WireTraffic(Row):
    """What links have carried, frames and all."""

    bytes_sent: int
    """To agents."""
    bytes_received: int
    """From agents."""
    last_update: int
    """Unix seconds at which this was so."""


class PortTraffic(Row):
    """What one mapping has carried."""

    port: int
    bytes_sent: int
    """From visitors to targets."""
    bytes_received: int
    """From targets to visitors."""
    last_update: int
    """Unix seconds at which this was so."""


class TrafficRow(Row):
    """What has been carried since the start."""

    tunnel: WireTraffic
    mappings: list[PortTraffic]
    """Ordered by port."""
    total_sent: int
    """`tunnel` and `mappings` together: what goes through an agent counts twice."""
    total_received: int
    """The same, the other way."""
    payload_sent: int
    """From visitors to targets, each byte once, those of removed mappings included."""
    payload_received: int
    """The same, the other way."""
    timestamp: int
    """Unix seconds."""


class ActiveConnection(Row):
    """A visitor of a mapping."""

    id: str
    """What the log calls it, and what ends it."""
    client_addr: str
    target_addr: str
    bytes_sent: int
    bytes_received: int
    connected_at: int
    """Unix seconds."""


class MappingConnections(Row):
    """A mapping and its visitors."""

    source_port: int
    target_host: str
    target_port: int
    use_tunnel: bool
    active_connections: list[ActiveConnection]
    """At most 1000."""
    total_connections: int
    """How many there are."""
    bandwidth_limit: int
    access_rule: str
    access_ips: list[str]


class ActiveConnections(Row):
    """All mappings and their visitors, ordered by port."""

    mappings: list[MappingConnections]
    timestamp: int
    """Unix seconds."""


class ConnectionRow(Row):
    """A visitor who is here."""

    id: str
    """What the log calls it, and what ends it."""
    visitor: str
    """Where it is from."""
    port: int
    """Public port."""
    mapping_name: str
    use_tunnel: bool
    agent: str | None
    """The agent that it was given to; null = none, or none yet."""
    target: str
    """Host and port; without a host it is the agent's own machine."""
    state: str
    """`pending`, `active` or `closing`."""
    waits_for: str | None
    """What its bytes wait for now: `target_answer`, a slow `visitor` or `target`, the
    `window`, the `link`, `memory` or a `rate`; null = nothing."""
    age_seconds: float
    started_at_unix: float
    bytes_sent: int
    bytes_received: int
    rate_sent: float
    """Bytes a second to the target, of late."""
    rate_received: float
    """Bytes a second to the visitor, of late."""


class ConnectionList(Row):
    """Some of the connections."""

    connections: list[ConnectionRow]
    total: int
    """How many there are of the wanted kind."""
    offset: int
    """How many of them come before these."""
    count: int
    """How many these are."""


class EndedConnection(Row):
    """A connection that is ended."""

    id: str
    port: int
    visitor: str


class DisconnectedAgent(Row):
    """An agent whose links are ended; it comes again by itself."""

    name: str
    links: int
    """How many they were."""


def sample_row(sample: Sample) -> SampleRow:
    """Return the row of a sample."""
    return SampleRow(
        at_unix=sample.at,
        sent=round(sample.sent, 1),
        received=round(sample.received, 1),
        connections=round(sample.connections, 2),
        active=sample.active,
    )


def connection_row(one: Connection, wall_now: float) -> ConnectionRow:
    """Return the row of a connection."""
    visit = one.visit
    return ConnectionRow(
        id=visit.id,
        visitor=visit.visitor,
        port=one.mapping.port,
        mapping_name=one.mapping.name,
        use_tunnel=one.mapping.use_tunnel,
        agent=visit.agent,
        target=one.target,
        state=one.state,
        waits_for=visit.waits_for,
        age_seconds=round(one.age, 3),
        started_at_unix=round(wall_now - one.age, 3),
        bytes_sent=visit.sent,
        bytes_received=visit.received,
        rate_sent=round(one.rate_sent, 1),
        rate_received=round(one.rate_received, 1),
    )
