"""The HTTP API: its routes, and the gate before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast
from typing import Protocol as Seam
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from werkzeug.routing import IntegerConverter

from gateway.api.agent_routes import AgentRoutes
from gateway.api.audit import AuditLog
from gateway.api.auth import Gate
from gateway.api.connection_routes import ConnectionRoutes
from gateway.api.event_routes import EventRoutes
from gateway.api.exchange import Endpoint, Exchange
from gateway.api.faults import caller_error, path_text, refuse
from gateway.api.health_routes import DocumentRoutes, HealthRoutes
from gateway.api.history_routes import HistoryRoutes
from gateway.api.log_routes import LogRoutes
from gateway.api.mapping_routes import MappingRoutes
from gateway.api.metrics_routes import MetricsRoutes
from gateway.api.page_routes import PageRoutes
from gateway.api.pages import shipped_pages
from gateway.api.security_routes import SecurityRoutes
from gateway.api.settings import ApiSettings
from gateway.api.stats_routes import StatsRoutes
from gateway.errors import NoRouteError
from gateway.ops.events import Events
from gateway.ops.health import HealthChecks
from gateway.ops.levels import Levels
from gateway.ops.recent import RecentLines
from gateway.ops.refusals import RefusalLog
from gateway.ops.reloading import Reloaded
from gateway.ops.slices import Slices
from gateway.ops.usage import ProcessUsage, process_usage
from gateway.ops.vitals import LoopLag
from gateway.policy.budget import Budget
from gateway.policy.limits import Counted, Slots
from gateway.server.bans import BanTable
from gateway.server.connections import Connections
from gateway.server.credentials import Credentials
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.recorder import Recorder
from gateway.server.sampling import Sampler
from gateway.server.traffic import Traffic
from gateway.texts import Language


class RouteGroup(Seam):
    """Routes of one theme."""

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""


class _PortConverter(IntegerConverter):
    regex = "[0-9]{1,5}"


class Api:
    """The management API over its collaborators.

    Attributes:
        settings: its own.
        connections: how many may be open.
    """

    def __init__(
        self,
        *,
        mappings: Mappings,
        links: Links,
        credentials: Credentials,
        bans: BanTable,
        audit: AuditLog,
        connections: Slots,
        memory: Budget,
        slices: Slices,
        handshakes: Mapping[str, Counted],
        reload: Callable[[], Reloaded],
        health: HealthChecks,
        events: Events,
        settings: ApiSettings,
        clock: IReactorTime,
        refusals: RefusalLog,
        traffic: Traffic,
        sampler: Sampler,
        lag: LoopLag,
        recorder: Recorder,
        wall_clock: Callable[[], float],
        metrics: MetricsRoutes | None,
        recent: RecentLines,
        levels: Levels,
        usage: Callable[[], ProcessUsage] = process_usage,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self.connections: Final = connections
        self._refusals = refusals
        self._pages = pages = PageRoutes(shipped_pages(), settings)
        self._gate = Gate(settings, refusals, clock, bans, pages.paths)
        self._exchange = Exchange(settings, audit, clock, slices)
        more: list[RouteGroup] = [] if metrics is None else [metrics]
        self._streams = EventRoutes(events, clock, slices)
        self._groups: list[RouteGroup] = [
            pages,
            *more,
            self._streams,
            MappingRoutes(self._exchange, mappings, links),
            AgentRoutes(self._exchange, links, credentials, traffic),
            SecurityRoutes(
                self._exchange,
                mappings=mappings,
                links=links,
                bans=bans,
                audit=audit,
                connections=connections,
                api_memory=memory,
                handshakes=handshakes,
                reload=reload,
                usage=usage,
            ),
            StatsRoutes(
                self._exchange,
                mappings=mappings,
                links=links,
                traffic=traffic,
                sampler=sampler,
                recorder=recorder,
                wall_clock=wall_clock,
                draining=draining,
                lag=lag,
                usage=usage,
            ),
            HistoryRoutes(self._exchange, recorder, wall_clock),
            ConnectionRoutes(
                self._exchange, Connections(clock, traffic, slices), links, wall_clock
            ),
            DocumentRoutes(),
            LogRoutes(self._exchange, recent, levels, clock),
            HealthRoutes(
                health, links, draining, tunnel_enabled=settings.tunnel_enabled
            ),
        ]

    def configure(self, settings: ApiSettings) -> None:
        """Judge the requests that come from now on by other settings."""
        self.settings = self._exchange.settings = settings
        self._gate.configure(settings)
        self._pages.configure(settings)

    def resource(self) -> IResource:
        """Return the root resource for a site."""
        return resource_of(self._groups, self._admit, self.refuse)

    def _admit(self, request: IRequest) -> None:
        self._exchange.admitted(request, self._gate.admit(request))

    def close(self) -> None:
        """End event streams and release timers; may be called twice."""
        self._streams.close()
        self._refusals.close()

    def refuse(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a request that failed."""
        fault = caller_error(failure, request)
        return refuse(request, fault, self.language(request))

    def is_known(self, request: IRequest) -> bool:
        """Return whether a request was admitted by more than its address."""
        return self._exchange.is_known(request)

    def language(self, request: IRequest) -> Language:
        """Return the language to answer a request in."""
        return self._exchange.language(request)


def resource_of(
    groups: Sequence[RouteGroup],
    admit: Callable[[IRequest], None],
    refuse: Callable[[IRequest, Failure], bytes],
) -> IResource:
    """Return a root resource that serves groups of routes.

    Args:
        groups: what is answered.
        admit: raises why a request may not be served.
        refuse: answers a request that failed.
    """
    app = Klein()
    app.url_map.converters["port"] = _PortConverter
    app.url_map.merge_slashes = False
    for group in groups:
        for method, path, answer in group.routes():
            name = f"{method} {path}"
            app.route(path, methods=[method], endpoint=name)(answer)
    app.handle_errors(Exception)(cast(Any, refuse))
    return _GatedResource(admit, app.resource(), refuse)


def _check_text(path: bytes) -> None:
    """Refuse a path that is not UTF-8; Klein would log each as an error."""
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise NoRouteError(path=path_text(path)) from None


class _GatedResource(Resource):
    """Asks the gate first, for every path, also those that do not exist."""

    def __init__(
        self,
        admit: Callable[[IRequest], None],
        routes: IResource,
        refuse: Callable[[IRequest, Failure], bytes],
    ) -> None:
        super().__init__()
        self.isLeaf = True
        self._admit = admit
        self._inner = routes
        self._refuse = refuse

    def render(self, request: IRequest) -> bytes | int:
        """Answer a request; called by the site."""
        request.responseHeaders.removeHeader(b"server")
        try:
            self._admit(request)
            _check_text(request.path)
            rendered: bytes | int = self._inner.render(request)
            return rendered
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return self._refuse(request, Failure())
