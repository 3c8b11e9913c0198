"""Put a gateway together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from gateway.api.metrics_routes import MetricsRoutes
from gateway.app.api import api_edge, health_checks, metrics_routes, probe_edge
from gateway.app.live import Running, live_parts
from gateway.app.settings import (
    admission,
    api_tls,
    ban_settings,
    credential,
    forward_mapping,
    health_place,
    link_settings,
    link_tls,
    mapping_settings,
    own_listeners,
    public_ports,
    recorder_settings,
)
from gateway.app.world import IGatewayReactor, Surroundings
from gateway.config.gateway import (
    GatewayConfig,
)
from gateway.config.rules import open_warning
from gateway.edge.tcp import HEADER_SECONDS, Crowd, Recheck
from gateway.interfaces import (
    IAuditStore,
    IBanStore,
    ICredentialStore,
    IHistoryStore,
    IMappingStore,
    INetwork,
    IReservationStore,
)
from gateway.link.factory import LinkFactory
from gateway.metrics.tallies import Stalls
from gateway.net.local import is_local
from gateway.net.network import Network
from gateway.net.sockets import is_bound
from gateway.ops.activity import activity_of
from gateway.ops.certificates import CertificateWatch
from gateway.ops.events import Events
from gateway.ops.levels import Levels
from gateway.ops.log_settings import gateway_log_settings
from gateway.ops.process_log import ProcessLog
from gateway.ops.refusals import RefusalLog
from gateway.ops.reloading import Load, Reloader
from gateway.ops.repeating import Repeating
from gateway.ops.slices import JUDGE, Slices
from gateway.ops.vitals import LoopLag
from gateway.policy.access import OwnPorts, TargetRules
from gateway.policy.budget import Budget
from gateway.policy.hops import Hops
from gateway.policy.limits import Slots
from gateway.policy.visitors import Addresses
from gateway.relay.deadlines import Deadlines
from gateway.relay.dial import Dialer
from gateway.relay.memory import MemoryWatch
from gateway.relay.upstream import DirectUpstream
from gateway.server.bans import BanTable
from gateway.server.connection import ConnectionContext
from gateway.server.credentials import Credentials
from gateway.server.kept_ports import KeptPorts
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.own import OwnPlaces
from gateway.server.reachability import Reachability
from gateway.server.recorder import Recorder
from gateway.server.register import Registrations
from gateway.server.routing import Router
from gateway.server.sampling import Sampler
from gateway.server.service import GatewayParts, GatewayService
from gateway.server.traffic import Traffic
from gateway.server.upstreams import AgentUpstream
from gateway.server.visit_log import VisitLog
from gateway.store.sqlite import SQLiteMappingStore
from gateway.texts import Language, Texts

BAN_LOOK_SECONDS: Final = 5.0  # how late it is told that a ban is over


def build_gateway(
    config: GatewayConfig,
    reactor: IGatewayReactor,
    language: Language,
    fatal: Callable[[str], None],
    *,
    connections: int | None = None,
    world: Surroundings | None = None,
    network: INetwork | None = None,
    store: IMappingStore | None = None,
    log: ProcessLog | None = None,
    load: Load | None = None,
) -> GatewayService:
    """Return the gateway as a stopped service.

    Args:
        config: its settings.
        reactor: runs it.
        language: of messages and documented log phrases.
        fatal: called with the reason when it cannot start.
        connections: visitors at once, where fewer than configured are possible.
        world: clocks and randomness; None = the real ones.
        network: its sockets; None = those of `reactor`.
        store: where mappings are kept; None = the configured file.
        log: of this process; None = one that goes nowhere.
        load: reads the configuration again; None = it cannot change.
    """
    world = world or Surroundings()
    log = log or ProcessLog(
        gateway_log_settings(config), Levels(config.log_level), None
    )
    texts = Texts(language)
    network = network or Network(
        reactor,
        read_size=config.buffers.read_size,
        splice=config.direct.splice == "auto",
    )
    memory = Budget(config.limits.memory)
    network.count_by(memory)
    api_memory = Budget(config.limits.api_memory)
    slices = Slices(reactor)
    stalls = Stalls()
    events = Events(reactor, world.wall_clock, world.random_bytes(4).hex())
    store = store or SQLiteMappingStore(
        config.database.path, reactor=reactor, wall_now=world.wall_clock
    )
    kept = KeptPorts(
        reactor,
        cast(IReservationStore, store),
        world.wall_clock,
        config.limits.reservation,
    )
    registrations = Registrations(
        reactor, texts, lambda mapping: f"tcp://:{mapping.port}", kept
    )
    bans = BanTable(
        cast(IBanStore, store),
        ban_settings(config),
        world.wall_clock,
        events.emit,
    )
    credentials = Credentials(
        cast(ICredentialStore, store),
        [credential(one, int(world.wall_clock())) for one in config.tunnel.agents],
        world.random_bytes,
        world.wall_clock,
        legacy_allowed=config.tunnel.allow_legacy is True,
    )
    links = Links(
        reactor,
        admission(config, memory),
        texts,
        registrations,
        world.random_bytes,
        world.wall_clock,
        credentials,
        bans,
        events.emit,
    )
    link_factory = LinkFactory(
        reactor,
        link_settings(config, memory, stalls),
        links.admission,
        world.random_bytes,
    )
    for_links = link_tls(config, links.note_refused, bans.admits)
    api_refusals = RefusalLog(reactor, emit=events.emit)
    for_api = api_tls(config, api_refusals.note, bans.admits)
    both = {"the link port": for_links, "the API": for_api}
    sealed = {name: tls for name, tls in both.items() if tls is not None}
    watch = CertificateWatch(
        reactor,
        {name: tls.read_again for name, tls in sealed.items()},
        events.emit,
    )
    reloader = Reloader(config, load, watch.look, events.emit, log.hide)
    own = OwnPlaces(OwnPorts(own_listeners(config)), is_local)
    dialer = Dialer(
        network,
        reactor,
        TargetRules.parse(config.direct.allow_targets),
        own_ports=own.refusal,
        timeout_seconds=config.direct.dial_timeout,
    )
    hops = Hops(is_bound)
    agents = AgentUpstream(
        reactor, network, links, own, texts, config.tunnel.open_timeout
    )
    router = Router(
        ConnectionContext(VisitLog(texts, log.access), hops, links.linger, events.emit),
        agents,
        DirectUpstream(dialer, hops, links.linger),
        world.random_bytes(4).hex(),
    )
    mappings = Mappings(
        reactor,
        network,
        store,
        public_ports(config),
        router,
        crowd := Crowd(
            clock=reactor,
            slots=Slots(
                config.limits.connections if connections is None else connections
            ),
            addresses=Addresses(config.limits.connections_per_ip),
            memory=memory,
            headers=Deadlines(reactor, HEADER_SECONDS),
            admits=bans.admits,
            stalls=stalls,
            recheck=Recheck(lambda rows, act: slices.each(rows, JUDGE, act)),
        ),
        mapping_settings(config, dialer),
        texts,
        world.wall_clock,
        world.randrange,
        events.emit,
        Reachability(links, reactor, world.wall_clock).obstacle,
    )
    traffic = Traffic(mappings, links, slices)
    sampler = Sampler(reactor, traffic, world.wall_clock)
    recorder = Recorder(
        reactor,
        cast(IHistoryStore, store),
        traffic,
        world.wall_clock,
        recorder_settings(config),
    )
    mappings.tell_departed(recorder.departed)
    registrations.mappings = mappings
    mappings.book.is_kept = kept.is_kept
    own.public_place = mappings.public_place
    lag = LoopLag(reactor)
    health = health_checks(
        config, reactor, world, store, mappings, links, memory, lag, slices
    )

    def metrics(draining: Callable[[], bool]) -> MetricsRoutes | None:
        return metrics_routes(
            config.metrics,
            mappings=mappings,
            links=links,
            traffic=traffic,
            lag=lag,
            bans=bans,
            sealed=sealed,
            refusals=api_refusals,
            draining=draining,
            api_memory=api_memory,
            slices=slices,
            activity=lambda: activity_of(reactor),
        )

    service = GatewayService(
        GatewayParts(
            clock=reactor,
            network=network,
            store=store,
            links=links,
            credentials=credentials,
            bans=bans,
            link_factory=link_factory,
            mappings=mappings,
            memory=MemoryWatch(reactor, memory, mappings.visits),
            registrations=registrations,
            kept=kept,
            configured=[
                forward_mapping(one, int(world.wall_clock())) for one in config.forwards
            ],
            make_api=lambda draining: api_edge(
                config,
                reactor,
                language,
                mappings,
                links,
                credentials,
                bans,
                cast(IAuditStore, store),
                sealed,
                reloader,
                health,
                events,
                api_refusals,
                world,
                draining,
                traffic,
                sampler,
                log,
                recorder,
                lag,
                metrics(draining),
                api_memory,
                slices,
            ),
            sampler=sampler,
            recorder=recorder,
            make_health=lambda draining: probe_edge(
                config,
                reactor,
                language,
                links,
                health,
                draining,
                metrics(draining),
                slices,
            ),
            events=events,
            watches=(lag, Repeating(reactor, BAN_LOOK_SECONDS, bans.lift)),
            fatal=fatal,
            open_warning=open_warning(config),
            certificates=watch,
            reload=reloader.reload_and_log,
            link_tls=for_links,
            api_tls=for_api,
        ),
        link_place=(config.tunnel.bind, config.tunnel.listen_port)
        if config.tunnel.enabled
        else None,
        api_place=(config.api.bind, config.api.listen_port),
        health_place=health_place(config),
        shutdown_timeout=config.shutdown_timeout,
    )
    reloader.add(
        *live_parts(
            Running(
                log=log,
                links=links,
                link_factory=link_factory,
                agents=agents,
                credentials=credentials,
                bans=bans,
                dialer=dialer,
                mappings=mappings,
                crowd=crowd,
                recorder=recorder,
                memory=memory,
                stalls=stalls,
                link_tls=for_links,
                api_tls=for_api,
                wall_clock=world.wall_clock,
                set_patience=service.set_patience,
            )
        )
    )
    return service
