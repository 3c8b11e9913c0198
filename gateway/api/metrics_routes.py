"""The route that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias, cast

from prometheus_client import exposition
from prometheus_client.core import Metric
from twisted.web.iweb import IRequest

from gateway.api.exchange import Endpoint, query_choice
from gateway.api.replies import JSON_TYPE, SECURITY_HEADERS, reply
from gateway.metrics.catalogue import Readings
from gateway.ops.process_metrics import process_families
from gateway.ops.slices import SAMPLE, Shared, Slices
from gateway.server.links import Links
from gateway.server.measures import Measures, summary
from gateway.server.traffic import Traffic

Encoder: TypeAlias = "Callable[[Any], bytes]"
MOST_SAMPLES: Final = 30  # written at once
_END: Final = b"# EOF\n"
_OPEN_METRICS: Final = "application/openmetrics-text"
# there a counter x_total may have its birth in x_created, which is a counter of ours
_CLASHING: Final = frozenset({"pool_connections_total"})
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
        slices: Slices,
    ) -> None:
        """Remember the collaborators.

        Args:
            measures: reads the numbers.
            traffic: the same for the JSON form.
            links: the same.
            namespace: what the names of metrics begin with.
            left_out: names of metrics that are not wanted.
            slices: admits the work to the turns of the event loop.
        """
        self._measures = measures
        self._traffic = traffic
        self._links = links
        self._namespace = namespace
        self._left_out = left_out
        self._slices = slices
        self._scrapes: Shared[bytes] = Shared()

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [Endpoint("GET", "/metrics", self.answer)]

    async def answer(self, request: IRequest) -> bytes:
        """Answer a scrape.

        Raises:
            BadRequestError: it asks for a form that there is not.
        """
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        if _wants_json(request, accept):
            total = await self._traffic.total()
            return reply(request, summary(total, self._links))
        encode, content_type = exposition.choose_encoder(accept)
        left_out = self._left_out
        if content_type.startswith(_OPEN_METRICS):
            left_out |= _CLASHING
        body = await self._scrapes.join(
            content_type, lambda: self.scrape(cast(Encoder, encode), left_out)
        )
        for name, value in SECURITY_HEADERS:
            request.setHeader(name, value)
        request.setHeader(b"content-type", content_type.encode("ascii"))
        request.setHeader(b"content-length", b"%d" % len(body))
        return body

    async def scrape(self, encode: Encoder, left_out: frozenset[str]) -> bytes:
        """Return all numbers as text, written in slices.

        Args:
            encode: writes the families of a collector.
            left_out: names of metrics that are not wanted.
        """
        readings = Readings(self._namespace, left_out)
        await self._measures.read(readings)
        families = chain(readings.collect(), process_families())
        text: list[bytes] = []
        async for piece in self._slices.pieces(_parts(families), SAMPLE * MOST_SAMPLES):
            text += (_written(part, encode) for part in piece)
        return b"".join(text) + encode(_Families([]))


class _Part(NamedTuple):
    """Some samples of a family.

    Attributes:
        is_first: whether its head is written before them.
    """

    family: Metric
    is_first: bool


class _Families(list[Metric]):
    """What an encoder writes: any collector will do."""

    def collect(self) -> list[Metric]:
        """Return the families."""
        return self


def _parts(families: Iterable[Metric]) -> Iterator[_Part]:
    for whole in families:
        for start in range(0, max(1, len(whole.samples)), MOST_SAMPLES):
            part = copy(whole)
            part.samples = whole.samples[start : start + MOST_SAMPLES]
            yield _Part(part, not start)


def _written(part: _Part, encode: Encoder) -> bytes:
    """Return the lines of some samples; those of OpenMetrics have no end."""
    lines = encode(_Families([part.family])).removesuffix(_END)
    if part.is_first:
        return lines
    # samples begin with a name, and the lines of a head with a hash
    return b"".join(
        line for line in lines.splitlines(keepends=True) if not line.startswith(b"#")
    )


def _wants_json(request: IRequest, accept: str) -> bool:
    form = query_choice(request, "format", _FORMS)
    if form is not None:
        return form == "json"
    kinds = [part.partition(";")[0].strip() for part in accept.split(",")]
    return JSON_TYPE.decode() in kinds
