"""The route that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from prometheus_client import ProcessCollector, exposition
from prometheus_client.registry import CollectorRegistry
from twisted.web.iweb import IRequest

from gateway.api.exchange import Endpoint, query_choice
from gateway.api.replies import JSON_TYPE, SECURITY_HEADERS, reply
from gateway.metrics.catalogue import Readings
from gateway.server.links import Links
from gateway.server.measures import Measures, summary
from gateway.server.traffic import Traffic

_FORMS: Final = ("json", "text")
# what each switch of the configuration leaves out
LEFT_OUT: Final = {
    "connection_duration": ("connection_duration_seconds",),
    "forward_latency": ("forward_latency_seconds",),
    "pool": (
        "pool_connections_active",
        "pool_connections_total",
        "pool_connections_created_total",
        "pool_connections_closed_total",
        "pool_connections_reused_total",
        "pool_wait_duration_seconds",
    ),
    "backpressure": (
        "backpressure_pauses_total",
        "backpressure_yield_time_seconds_total",
        "stalls_total",
        "stall_seconds_total",
    ),
}


class MetricsRoutes:
    """Answer in the text of Prometheus, in that of OpenMetrics, or in JSON."""

    def __init__(
        self,
        measures: Measures,
        traffic: Traffic,
        links: Links,
        namespace: str,
        left_out: frozenset[str],
    ) -> None:
        """Remember the collaborators.

        Args:
            measures: reads the numbers.
            traffic: the same for the JSON form.
            links: the same.
            namespace: what the names of metrics begin with.
            left_out: names of metrics that are not wanted.
        """
        self._measures = measures
        self._traffic = traffic
        self._links = links
        self._namespace = namespace
        self._left_out = left_out
        self._process = ProcessCollector(registry=CollectorRegistry())

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [Endpoint("GET", "/metrics", self.answer)]

    def answer(self, request: IRequest) -> bytes:
        """Answer a scrape.

        Raises:
            BadRequestError: it asks for a form that there is not.
        """
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        if _wants_json(request, accept):
            return reply(request, summary(self._traffic, self._links))
        encode, content_type = exposition.choose_encoder(accept)
        # any collector will do; the types ask for more
        body = cast("Callable[[Any], bytes]", encode)(self)
        for name, value in SECURITY_HEADERS:
            request.setHeader(name, value)
        request.setHeader(b"content-type", content_type.encode("ascii"))
        request.setHeader(b"content-length", b"%d" % len(body))
        return body

    def collect(self) -> list[Any]:
        """Return all families; called by the encoder."""
        readings = Readings(self._namespace, self._left_out)
        self._measures.read(readings)
        return [*readings.collect(), *self._process.collect()]


def _wants_json(request: IRequest, accept: str) -> bool:
    form = query_choice(request, "format", _FORMS)
    if form is not None:
        return form == "json"
    kinds = [part.partition(";")[0].strip() for part in accept.split(",")]
    return JSON_TYPE.decode() in kinds
