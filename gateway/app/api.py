"""Put together what answers over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Mapping as Mapping_
from pathlib import Path
from typing import Final, cast

from twisted.internet.defer import succeed
from twisted.internet.interfaces import (
    IReactorThreads,
)
from twisted.internet.threads import deferToThreadPool

from gateway.api.app import Api, RouteGroup
from gateway.api.audit import AuditLog
from gateway.api.health_app import HealthApi
from gateway.api.health_routes import HealthRoutes
from gateway.api.metrics_routes import LEFT_OUT, MetricsRoutes
from gateway.api.settings import ApiSettings, OpenTo
from gateway.api.site import make_site
from gateway.api.tokens import PublicKeyError, TokenJudge
from gateway.app.world import IGatewayReactor, Surroundings
from gateway.config.gateway import (
    ApiSecurity,
    GatewayConfig,
    MetricsConfig,
)
from gateway.errors import OperatorError
from gateway.interfaces import (
    IAuditStore,
    IMappingStore,
)
from gateway.net.tls import ServerTLS
from gateway.ops.activity import Activity
from gateway.ops.events import Events
from gateway.ops.health import CheckResult, HealthChecks
from gateway.ops.process_log import ProcessLog
from gateway.ops.refusals import RefusalLog
from gateway.ops.reloading import Part, Reloader
from gateway.ops.slices import Slices
from gateway.ops.vitals import LoopLag, check_descriptors, disk_check
from gateway.policy.addresses import is_loopback
from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.fitness import (
    check_links,
    check_listeners,
    check_mappings,
    check_memory,
    check_store,
)
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.measures import Measures
from gateway.server.recorder import Recorder
from gateway.server.sampling import Sampler
from gateway.server.service import ApiEdge
from gateway.server.traffic import Traffic
from gateway.texts import Language

PROBE_MEMORY: Final = 8 << 20  # bytes that callers of the port for probes may hold


def health_checks(
    config: GatewayConfig,
    reactor: IGatewayReactor,
    world: Surroundings,
    store: IMappingStore,
    mappings: Mappings,
    links: Links,
    memory: Budget,
    lag: LoopLag,
    slices: Slices,
) -> HealthChecks:
    """Return the checks by their names."""
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
    health.register("listeners", lambda: check_listeners(mappings, slices))
    health.register("mappings", lambda: check_mappings(mappings, slices))
    health.register(
        "links", lambda: check_links(links, tunnel_enabled=config.tunnel.enabled)
    )
    health.register("memory", lambda: check_memory(memory))
    health.register("loop", lag.check)
    health.register("disk", disk_check(folders, in_thread))
    health.register("descriptors", check_descriptors)
    return health


def token_judge(
    security: ApiSecurity, wall_clock: Callable[[], float]
) -> TokenJudge | None:
    """Return what judges tokens; None = there are none.

    Raises:
        OperatorError: the public key cannot be used.
    """
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


def _api_settings(
    config: GatewayConfig, language: Language, world: Surroundings
) -> ApiSettings:
    security = config.security.api
    rate = security.rate_limit
    return ApiSettings(
        api_key=security.api_key,
        api_key_in_query=security.api_key_in_query,
        tokens=token_judge(security, world.wall_clock),
        allowed_ips=security.allowed_ips,
        trusted_proxies=security.trusted_proxies,
        open_metrics=_open_metrics(config),
        rate_limit=(rate.requests, rate.per) if rate.requests else None,
        language=language,
        tunnel_enabled=config.tunnel.enabled,
        request_timeout_seconds=config.api.request_timeout,
    )


def _open_metrics(config: GatewayConfig) -> OpenTo:
    """Return who may read `/metrics` without a credential."""
    required = config.metrics.require_auth
    if required is None:
        return "local" if is_loopback(config.api.bind) else "nobody"
    return "nobody" if required else "all"


def api_edge(
    config: GatewayConfig,
    reactor: IGatewayReactor,
    language: Language,
    mappings: Mappings,
    links: Links,
    credentials: Credentials,
    bans: BanTable,
    audit: IAuditStore,
    sealed: Mapping_[str, ServerTLS],
    reloader: Reloader,
    health: HealthChecks,
    events: Events,
    refusals: RefusalLog,
    world: Surroundings,
    draining: Callable[[], bool],
    traffic: Traffic,
    sampler: Sampler,
    log: ProcessLog,
    recorder: Recorder,
    lag: LoopLag,
    metrics: MetricsRoutes | None,
    memory: Budget,
    slices: Slices,
) -> ApiEdge:
    """Return the API; called once the gateway can tell whether it drains."""
    api = Api(
        mappings=mappings,
        links=links,
        credentials=credentials,
        bans=bans,
        audit=(
            audit_log := AuditLog(
                audit,
                world.wall_clock,
                config.audit.retention_days * 86400,
                config.audit.max_entries,
            )
        ),
        connections=(connections := Slots(config.limits.api_connections)),
        memory=memory,
        slices=slices,
        handshakes=sealed,
        reload=reloader.reload,
        health=health,
        events=events,
        settings=_api_settings(config, language, world),
        clock=reactor,
        refusals=refusals,
        traffic=traffic,
        sampler=sampler,
        lag=lag,
        recorder=recorder,
        wall_clock=world.wall_clock,
        metrics=metrics,
        recent=log.recent,
        levels=log.levels,
        draining=draining,
    )
    site = make_site(api, reactor, memory, slices)

    def change_callers(new: GatewayConfig) -> Callable[[], object]:
        settings = _api_settings(new, language, world)
        return lambda: api.configure(settings)

    def change_limits(new: GatewayConfig) -> Callable[[], object]:
        def commit() -> None:
            connections.limit = new.limits.api_connections
            audit_log.configure(new.audit.retention_days * 86400, new.audit.max_entries)

        return commit

    reloader.add(
        # the public key is in a file that may have changed
        Part(("security.api.", "metrics.require_auth"), change_callers, always=True),
        Part(("limits.api_connections", "audit."), change_limits),
    )

    def close() -> None:
        api.close()  # first, so that event streams end in order
        site.abort_connections()

    return ApiEdge(site=site, close=close, memory=memory)


def metrics_routes(
    config: MetricsConfig,
    *,
    mappings: Mappings,
    links: Links,
    traffic: Traffic,
    lag: LoopLag,
    bans: BanTable,
    sealed: Mapping_[str, ServerTLS],
    refusals: RefusalLog,
    draining: Callable[[], bool],
    api_memory: Budget,
    slices: Slices,
    activity: Callable[[], Activity],
) -> MetricsRoutes | None:
    """Return what Prometheus asks; None if it is switched off."""
    if not config.enabled:
        return None
    measures = Measures(
        mappings=mappings,
        links=links,
        traffic=traffic,
        lag=lag,
        bans=bans,
        handshakes=sealed,
        refusals={**links.refusals, "api": refusals},
        draining=draining,
        most=config.most_labels,
        api_memory=api_memory,
        slices=slices,
        activity=activity,
    )
    left_out = frozenset(
        name
        for switch, names in LEFT_OUT.items()
        for name in names
        if not getattr(config, switch)
    )
    return MetricsRoutes(measures, traffic, links, config.namespace, left_out, slices)


def probe_edge(
    config: GatewayConfig,
    reactor: IGatewayReactor,
    language: Language,
    links: Links,
    health: HealthChecks,
    draining: Callable[[], bool],
    metrics: MetricsRoutes | None,
    slices: Slices,
) -> ApiEdge:
    """Return what answers on the port for probes alone."""
    groups: list[RouteGroup] = [
        HealthRoutes(health, links, draining, tunnel_enabled=config.tunnel.enabled)
    ]
    if config.health.metrics and metrics is not None:
        groups.append(metrics)
    settings = ApiSettings(
        language=language, request_timeout_seconds=config.api.request_timeout
    )
    memory = Budget(PROBE_MEMORY)
    site = make_site(HealthApi(groups, settings), reactor, memory, slices)
    return ApiEdge(site=site, close=site.abort_connections, memory=memory)
