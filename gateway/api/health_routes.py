"""Routes that tell how fit the gateway is, and what its API is like."""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.iweb import IRequest

from gateway.api.answers import Alive, health_row, readiness_row
from gateway.api.exchange import Endpoint
from gateway.api.openapi import document
from gateway.api.replies import reply
from gateway.ops.health import HealthChecks
from gateway.server.links import Links


class DocumentRoutes:
    """Answer what the API is like."""

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [Endpoint("GET", "/api/openapi.json", self._openapi)]

    def _openapi(self, request: IRequest) -> bytes:
        return reply(request, document())


class HealthRoutes:
    """Answer without an envelope, as probes expect it."""

    def __init__(
        self,
        health: HealthChecks,
        links: Links,
        draining: Callable[[], bool],
        *,
        tunnel_enabled: bool,
    ) -> None:
        self._health = health
        self._links = links
        self._draining = draining
        self._tunnel_enabled = tunnel_enabled

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("GET", "/health", self._health_answer),
            Endpoint("GET", "/livez", self._livez),
            Endpoint("GET", "/readyz", self._readyz),
        ]

    async def _health_answer(self, request: IRequest) -> bytes:
        row = health_row(
            await self._health.run(),
            tunnel_enabled=self._tunnel_enabled,
            tunnel_connected=self._links.connected,
        )
        return reply(request, row, 503 if row.status == "unhealthy" else 200)

    def _livez(self, request: IRequest) -> bytes:
        return reply(request, Alive(status="alive"))

    async def _readyz(self, request: IRequest) -> bytes:
        row = readiness_row(await self._health.run(), draining=self._draining())
        return reply(request, row, 200 if row.status == "ready" else 503)
