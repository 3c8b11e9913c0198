"""Composition root: a configuration and a reactor become one stopped service."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from collections.abc import Mapping as Mapping_
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorThreads,
)
from twisted.internet.threads import deferToThreadPool

from gateway.agent.expose import Exposures
from gateway.agent.greeting import client_tls, greeting_of, key_of
from gateway.agent.service import (
    AgentParts,
    AgentService,
    AgentSettings,
    GatheredNetwork,
)
from gateway.agent.targets import Targets
from gateway.api.app import Api
from gateway.api.audit import AuditLog
from gateway.api.health_app import HealthApi
from gateway.api.health_routes import HealthRoutes
from gateway.api.metrics_routes import LEFT_OUT, MetricsRoutes
from gateway.api.settings import ApiSettings
from gateway.api.site import make_site
from gateway.api.tokens import PublicKeyError, TokenJudge
from gateway.config.agent import AgentConfig
from gateway.config.gateway import (
    ApiSecurity,
    CertificateConfig,
    Forward,
    GatewayConfig,
    KnownAgent,
    MetricsConfig,
)
from gateway.config.rules import open_warning
from gateway.edge.tcp import HEADER_SECONDS, Crowd
from gateway.errors import OperatorError
from gateway.interfaces import (
    IAuditStore,
    IBanStore,
    ICredentialStore,
    IHistoryStore,
    IMappingStore,
    INetwork,
)
from gateway.link.protocol import LinkSettings
from gateway.metrics.tallies import Stalls
from gateway.mux.core import SessionSettings
from gateway.net.certificates import CertificateFiles
from gateway.net.local import is_local
from gateway.net.network import INetworkReactor, Network
from gateway.net.tls import ServerTLS
from gateway.ops.certificates import CertificateWatch
from gateway.ops.events import Events
from gateway.ops.health import CheckResult, HealthChecks
from gateway.ops.levels import Levels
from gateway.ops.log_settings import gateway_log_settings
from gateway.ops.process import IProcessReactor
from gateway.ops.process_log import ProcessLog
from gateway.ops.refusals import RefusalLog
from gateway.ops.repeating import Repeating
from gateway.ops.vitals import LoopLag, check_descriptors, disk_check
from gateway.policy.access import OwnPorts, TargetRules
from gateway.policy.backoff import Backoff
from gateway.policy.bans import BanSettings
from gateway.policy.budget import Budget
from gateway.policy.credentials import (
    AgentCredential,
    AgentScope,
    Verifier,
)
from gateway.policy.limits import Slots
from gateway.policy.mapping import Mapping
from gateway.policy.ports import PublicPorts
from gateway.policy.visitors import Addresses
from gateway.relay.deadlines import Deadlines
from gateway.relay.dial import Dialer
from gateway.relay.linger import Linger
from gateway.relay.memory import Holder, MemoryWatch
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.fitness import (
    check_links,
    check_listeners,
    check_memory,
    check_store,
)
from gateway.server.links import AdmissionSettings, LinkFactory, Links
from gateway.server.mappings import Mappings, MappingSettings
from gateway.server.measures import Measures
from gateway.server.own import OwnPlaces
from gateway.server.recorder import Recorder, RecorderSettings
from gateway.server.register import Registrations
from gateway.server.routing import Router
from gateway.server.sampling import Sampler
from gateway.server.service import ApiEdge, GatewayParts, GatewayService, Place
from gateway.server.traffic import Traffic
from gateway.store.sqlite import SQLiteMappingStore
from gateway.texts import Language, Texts
from gateway.wire.hello import Register

BAN_LOOK_SECONDS: Final = 5.0  # how late it is told that a ban is over
_RANDOM: Final = SystemRandom()


class IGatewayReactor(INetworkReactor, IReactorThreads, IProcessReactor):
    """What a whole process needs of the reactor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a process takes from the outside world.

    Attributes:
        wall_clock: Unix seconds.
        random_bytes: unguessable bytes.
        random: 0.0 up to 1.0, for jitter.
        randrange: 0 up to below its argument.
    """

    wall_clock: Callable[[], float] = time.time
    random_bytes: Callable[[int], bytes] = os.urandom
    random: Callable[[], float] = _RANDOM.random
    randrange: Callable[[int], int] = _RANDOM.randrange


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
    stalls = Stalls()
    events = Events(reactor, world.wall_clock, world.random_bytes(4).hex())
    store = store or SQLiteMappingStore(
        config.database.path, reactor=reactor, wall_now=world.wall_clock
    )
    registrations = Registrations(
        reactor, texts, lambda mapping: f"tcp://:{mapping.port}"
    )
    rules = config.security.bans
    bans = BanTable(
        cast(IBanStore, store),
        BanSettings(rules.failures, rules.window, rules.duration, rules.exempt),
        world.wall_clock,
        events.emit,
    )
    credentials = Credentials(
        cast(ICredentialStore, store),
        [_credential(one, int(world.wall_clock())) for one in config.tunnel.agents],
        world.random_bytes,
        world.wall_clock,
        legacy_allowed=config.tunnel.allow_legacy is True,
    )
    links = Links(
        reactor,
        _admission(config, memory, stalls),
        texts,
        registrations,
        world.random_bytes,
        world.wall_clock,
        credentials,
        bans,
        events.emit,
    )
    link_tls = _link_tls(config, links.note_refused, bans.admits)
    api_refusals = RefusalLog(reactor, emit=events.emit)
    api_tls = _api_tls(config, api_refusals.note, bans.admits)
    both = {"the link port": link_tls, "the API": api_tls}
    sealed = {name: tls for name, tls in both.items() if tls is not None}
    watch = CertificateWatch(
        reactor,
        {name: tls.read_again for name, tls in sealed.items()},
        events.emit,
    )
    own = OwnPlaces(OwnPorts(_own_listeners(config)), is_local)
    dialer = Dialer(
        network,
        reactor,
        TargetRules.parse(config.direct.allow_targets),
        own_ports=own.refusal,
        timeout_seconds=config.direct.dial_timeout,
    )
    router = Router(
        reactor,
        links,
        dialer,
        own,
        texts,
        config.tunnel.open_timeout,
        world.random_bytes(4).hex(),
        log.access,
        events.emit,
    )
    mappings = Mappings(
        reactor,
        network,
        store,
        _public_ports(config),
        router,
        Crowd(
            clock=reactor,
            slots=Slots(
                config.limits.connections if connections is None else connections
            ),
            addresses=Addresses(config.limits.connections_per_ip),
            memory=memory,
            headers=Deadlines(reactor, HEADER_SECONDS),
            admits=bans.admits,
            stalls=stalls,
        ),
        MappingSettings(
            tunnel_enabled=config.tunnel.enabled,
            port_offset=config.tunnel.port_offset,
            max_mappings=config.limits.mappings,
            refusal=dialer.refusal,
        ),
        texts,
        world.wall_clock,
        world.randrange,
        events.emit,
    )
    traffic = Traffic(mappings, links)
    sampler = Sampler(reactor, traffic, world.wall_clock)
    recorder = Recorder(
        reactor,
        cast(IHistoryStore, store),
        traffic,
        world.wall_clock,
        RecorderSettings(
            enabled=config.stats.enabled,
            interval_seconds=config.stats.record_interval,
            retention_seconds=config.stats.retention_days * 86400,
            most=config.stats.max_records,
        ),
    )
    registrations.mappings = mappings
    own.public_place = mappings.public_place
    lag = LoopLag(reactor)
    health = _health(config, reactor, world, store, mappings, links, memory, lag)
    return GatewayService(
        GatewayParts(
            clock=reactor,
            network=network,
            store=store,
            links=links,
            credentials=credentials,
            bans=bans,
            link_factory=LinkFactory(links),
            mappings=mappings,
            memory=MemoryWatch(reactor, memory, lambda: _holders(mappings)),
            registrations=registrations,
            configured=[
                _forward(one, int(world.wall_clock())) for one in config.forwards
            ],
            make_api=lambda draining: _api(
                config,
                reactor,
                language,
                mappings,
                links,
                credentials,
                bans,
                cast(IAuditStore, store),
                sealed,
                watch.look,
                health,
                events,
                api_refusals,
                world,
                draining,
                traffic,
                sampler,
                log,
                recorder,
            ),
            sampler=sampler,
            recorder=recorder,
            make_health=lambda draining: _probes(
                config, reactor, language, links, health, draining
            ),
            events=events,
            watches=(lag, Repeating(reactor, BAN_LOOK_SECONDS, bans.lift)),
            fatal=fatal,
            open_warning=open_warning(config),
            certificates=watch,
            link_tls=link_tls,
            api_tls=api_tls,
        ),
        link_place=(config.tunnel.bind, config.tunnel.listen_port)
        if config.tunnel.enabled
        else None,
        api_place=(config.api.bind, config.api.listen_port),
        health_place=_health_place(config),
        shutdown_timeout=config.shutdown_timeout,
    )


def _holders(mappings: Mappings) -> Iterator[Holder]:
    for visit in mappings.visits():
        if visit.holder is not None:
            yield cast(Holder, visit.holder)


def _admission(
    config: GatewayConfig, memory: Budget, stalls: Stalls
) -> AdmissionSettings:
    tunnel = config.tunnel
    token = tunnel.auth_token
    allow_legacy = (
        not config.asks_credential
        if tunnel.allow_legacy == "auto"
        else bool(tunnel.allow_legacy)
    )
    return AdmissionSettings(
        token=None if token is None else token.get_secret_value(),
        max_links=config.limits.tunnels,
        streams_per_link=config.limits.streams_per_tunnel,
        open_timeout=tunnel.open_timeout,
        session=SessionSettings(
            gateway=True,
            window=tunnel.window,
            max_window=config.flow.max_stream_window,
            memory=memory,
            max_frame=tunnel.max_frame,
            heartbeat_seconds=tunnel.heartbeat_interval,
            hello_seconds=tunnel.hello_timeout,
            allow_legacy=allow_legacy,
            connect_request=tunnel.connect_request,
        ),
        link=LinkSettings(
            window=tunnel.window,
            write_timeout=tunnel.write_timeout,
            legacy_high_water=tunnel.legacy_high_water,
            legacy_low_water=tunnel.legacy_low_water,
            memory=memory,
            stalls=stalls,
        ),
        by_certificate=config.asks_certificate,
    )


def _link_tls(
    config: GatewayConfig,
    refused: Callable[[str, str], None],
    admits: Callable[[str], bool],
) -> ServerTLS | None:
    tunnel, security = config.tunnel, config.security
    if not (tunnel.enabled and security.tunnel.enable_tls):
        return None
    return _server_tls(security.tunnel, config, refused, admits)


def _api_tls(
    config: GatewayConfig,
    refused: Callable[[str, str], None],
    admits: Callable[[str], bool],
) -> ServerTLS | None:
    files = config.api.tls
    return _server_tls(files, config, refused, admits) if files.enabled else None


def _server_tls(
    files: CertificateConfig,
    config: GatewayConfig,
    refused: Callable[[str, str], None],
    admits: Callable[[str], bool],
) -> ServerTLS:
    return ServerTLS(
        CertificateFiles(
            cert_file=files.cert_file,
            key_file=files.key_file,
            ca_file=files.client_ca,
            allow_readable_key="readable_keys" in config.security.allow_unsafe,
        ),
        limit=config.limits.handshakes,
        seconds=config.security.handshake_timeout,
        refused=refused,
        admits=admits,
    )


def _credential(agent: KnownAgent, now: int) -> AgentCredential:
    return AgentCredential(
        name=agent.name,
        verifiers=tuple(Verifier.parse(text) for text in agent.verifiers),
        scope=AgentScope(
            ports=agent.ports,
            targets=agent.targets,
            max_links=agent.max_links,
            max_streams=agent.max_streams,
            bandwidth_limit=agent.bandwidth_limit,
        ),
        created_at=now,
        updated_at=now,
    )


def _own_listeners(config: GatewayConfig) -> list[tuple[str, int]]:
    own = [(config.api.bind, config.api.listen_port)]
    if (health := _health_place(config)) is not None:
        own.append(health)
    if config.tunnel.enabled:
        own.append((config.tunnel.bind, config.tunnel.listen_port))
    if config.debug.enabled:
        own.append((config.debug.bind, config.debug.listen_port))
    return own


def _health_place(config: GatewayConfig) -> Place | None:
    port = config.health.listen_port
    return None if port is None else (config.health.bind, port)


def _public_ports(config: GatewayConfig) -> PublicPorts:
    return PublicPorts(
        config.port_range.first,
        config.port_range.last,
        frozenset(config.security.port_range.blacklist),
        frozenset(port for _, port in _own_listeners(config)),
    )


def _forward(forward: Forward, now: int) -> Mapping:
    return Mapping(
        port=forward.listen.port,
        listen=forward.listen.host,
        target_host=forward.target.host,
        target_port=forward.target.port,
        use_tunnel=False,
        created_at=now,
        updated_at=now,
    )


def _health(
    config: GatewayConfig,
    reactor: IGatewayReactor,
    world: Surroundings,
    store: IMappingStore,
    mappings: Mappings,
    links: Links,
    memory: Budget,
    lag: LoopLag,
) -> HealthChecks:
    folders = {"database": str(Path(config.database.path).absolute().parent)}
    if config.log.file is not None:
        folders["log"] = str(Path(config.log.file).absolute().parent)

    def in_thread(look: Callable[[], CheckResult]) -> Awaitable[CheckResult]:
        if not IReactorThreads.providedBy(cast(object, reactor)):
            return succeed(look())  # the simulation has no threads
        pool = reactor.getThreadPool()
        return deferToThreadPool(reactor, pool, look)

    health = HealthChecks(reactor, world.wall_clock, config.health.timeout)
    health.register("store", lambda: check_store(store))
    health.register("listeners", lambda: check_listeners(mappings))
    health.register(
        "links", lambda: check_links(links, tunnel_enabled=config.tunnel.enabled)
    )
    health.register("memory", lambda: check_memory(memory))
    health.register("loop", lag.check)
    health.register("disk", disk_check(folders, in_thread))
    health.register("descriptors", check_descriptors)
    return health


def _token_judge(
    security: ApiSecurity, wall_clock: Callable[[], float]
) -> TokenJudge | None:
    secret, file = security.jwt_secret, security.jwt_public_key_file
    if secret is None and file is None:
        return None
    try:
        return TokenJudge(
            None if secret is None else secret.get_secret_value(),
            None if file is None else Path(file).read_bytes(),
            security.jwt_audience,
            wall_clock,
        )
    except OSError as fault:
        raise OperatorError(
            f"security.api.jwt_public_key_file: {file}: {fault.strerror or fault}"
        ) from None
    except PublicKeyError as fault:
        raise OperatorError(
            f"security.api.jwt_public_key_file: {file}: {fault}"
        ) from None


def _api(
    config: GatewayConfig,
    reactor: IGatewayReactor,
    language: Language,
    mappings: Mappings,
    links: Links,
    credentials: Credentials,
    bans: BanTable,
    audit: IAuditStore,
    sealed: Mapping_[str, ServerTLS],
    reload: Callable[[], list[str]],
    health: HealthChecks,
    events: Events,
    refusals: RefusalLog,
    world: Surroundings,
    draining: Callable[[], bool],
    traffic: Traffic,
    sampler: Sampler,
    log: ProcessLog,
    recorder: Recorder,
) -> ApiEdge:
    security = config.security.api
    rate = security.rate_limit
    measures = Measures(
        mappings=mappings,
        links=links,
        traffic=traffic,
        sampler=sampler,
        bans=bans,
        handshakes=sealed,
        refusals={**links.refusals, "api": refusals},
        draining=draining,
        most=config.metrics.most_labels,
    )
    api = Api(
        mappings=mappings,
        links=links,
        credentials=credentials,
        bans=bans,
        audit=AuditLog(
            audit,
            world.wall_clock,
            config.audit.retention_days * 86400,
            config.audit.max_entries,
        ),
        connections=Slots(config.limits.api_connections),
        handshakes=sealed,
        reload=reload,
        health=health,
        events=events,
        settings=ApiSettings(
            api_key=security.api_key,
            api_key_in_query=security.api_key_in_query,
            tokens=_token_judge(security, world.wall_clock),
            allowed_ips=security.allowed_ips,
            trusted_proxies=security.trusted_proxies,
            rate_limit=(rate.requests, rate.per) if rate.requests else None,
            language=language,
            tunnel_enabled=config.tunnel.enabled,
            request_timeout_seconds=config.api.request_timeout,
        ),
        clock=reactor,
        refusals=refusals,
        traffic=traffic,
        sampler=sampler,
        recorder=recorder,
        wall_clock=world.wall_clock,
        metrics=_metrics(config.metrics, measures, traffic, links),
        recent=log.recent,
        levels=log.levels,
        draining=draining,
    )
    site = make_site(api, reactor)

    def close() -> None:
        api.close()  # first, so that event streams end in order
        site.abort_connections()

    return ApiEdge(site=site, close=close)


def _metrics(
    config: MetricsConfig, measures: Measures, traffic: Traffic, links: Links
) -> MetricsRoutes | None:
    if not config.enabled:
        return None
    left_out = frozenset(
        name
        for switch, names in LEFT_OUT.items()
        for name in names
        if not getattr(config, switch)
    )
    return MetricsRoutes(measures, traffic, links, config.namespace, left_out)


def _probes(
    config: GatewayConfig,
    reactor: IGatewayReactor,
    language: Language,
    links: Links,
    health: HealthChecks,
    draining: Callable[[], bool],
) -> ApiEdge:
    routes = HealthRoutes(health, links, draining, tunnel_enabled=config.tunnel.enabled)
    settings = ApiSettings(
        language=language, request_timeout_seconds=config.api.request_timeout
    )
    site = make_site(HealthApi([routes], settings), reactor)
    return ApiEdge(site=site, close=site.abort_connections)


def build_agent(
    config: AgentConfig,
    reactor: IGatewayReactor,
    language: Language,
    gave_up: Callable[[], None],
    announce: Callable[[str], None],
    *,
    streams: int | None = None,
    world: Surroundings | None = None,
    network: INetwork | None = None,
) -> AgentService:
    """Return the agent as a stopped service.

    Args:
        config: its settings.
        reactor: runs it.
        language: of the documented log phrases.
        gave_up: called when the number of tries is used up.
        announce: called with each public address that is granted.
        streams: visitors at once, where fewer than configured are possible.
        world: clocks and randomness; None = the real ones.
        network: its sockets; None = those of `reactor`.
    """
    world = world or Surroundings()
    texts = Texts(language)
    network = network or Network(reactor, read_size=config.buffers.read_size)
    memory = Budget(config.limits.memory)
    network.count_by(memory)
    targets = Targets(
        reactor,
        Dialer(
            network,
            reactor,
            TargetRules.parse(config.allow_targets),
            own_ports=_agents_own(config),
            timeout_seconds=config.dial_timeout,
        ),
        Slots(config.limits.streams if streams is None else streams),
        memory,
        config.default_host,
        config.dial_timeout,
        texts,
    )
    parts = AgentParts(
        clock=reactor,
        dial=_gateway_dial(config, reactor, network),
        targets=targets,
        memory=memory,
        exposures=Exposures(reactor, _wishes(config), announce),
        backoff=Backoff(
            initial=config.reconnect.initial,
            multiplier=config.reconnect.multiplier,
            maximum=config.reconnect.max,
            jitter=config.reconnect.jitter,
            max_attempts=config.reconnect.max_attempts,
        ),
        texts=texts,
        random_bytes=world.random_bytes,
        random=world.random,
        linger=Linger(reactor),
    )
    settings = AgentSettings(
        servers=tuple((one.host, one.port) for one in config.server),
        connections=config.connections,
        key=key_of(config),
        greeting=greeting_of(config, world.random_bytes(8).hex()),
        session=SessionSettings(
            gateway=False,
            window=config.window,
            max_window=config.flow.max_stream_window,
            memory=memory,
            max_frame=config.max_frame,
            heartbeat_seconds=config.heartbeat_interval,
        ),
        link=LinkSettings(
            window=config.window,
            write_timeout=config.write_timeout,
            legacy_high_water=config.legacy_high_water,
            legacy_low_water=config.legacy_low_water,
            memory=memory,
        ),
        dial_seconds=config.dial_timeout,
    )
    return AgentService(settings, parts, gave_up, config.shutdown_timeout)


def _agents_own(config: AgentConfig) -> Callable[[str, int], str | None] | None:
    """Return what no visitor may be taken to: the debug site, where there is one."""
    debug = config.debug
    if not debug.enabled:
        return None
    return OwnPlaces(OwnPorts([(debug.bind, debug.listen_port)]), is_local).refusal


def _gateway_dial(
    config: AgentConfig, reactor: IGatewayReactor, network: INetwork
) -> Callable[[str, int, IProtocolFactory, float], Deferred[IProtocol]]:
    """Return how gateways are reached, each known by its own name."""
    dialers = {}
    for host in {server.host for server in config.server}:
        tls = client_tls(config.tls, host) if config.tls.enabled else None
        if tls is not None:
            tls.check()
        dialers[host] = Dialer(
            GatheredNetwork(network, tls),
            reactor,
            TargetRules.parse(None),
            own_ports=None,
            timeout_seconds=10.0,
        )

    def dial(
        host: str, port: int, factory: IProtocolFactory, seconds: float
    ) -> Deferred[IProtocol]:
        return dialers[host].dial(host, port, factory, seconds)

    return dial


def _wishes(config: AgentConfig) -> list[Register]:
    return [
        Register(
            id=expose.name or f"{expose.protocol}-{expose.local.port}",
            protocol=expose.protocol,
            port=expose.port,
            host=expose.local.host,
            local=expose.local.port,
        )
        for expose in config.expose
    ]
