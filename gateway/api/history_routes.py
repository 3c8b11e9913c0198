"""The route of what has passed, also before the last restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.web.iweb import IRequest

from gateway.api.bodies import shown
from gateway.api.exchange import Endpoint, Exchange, query_number
from gateway.api.listing import array
from gateway.api.stat_rows import HistoryPoint, HistoryRow
from gateway.errors import BadRequestError, StoreError, StoreFailedError
from gateway.server.recorder import Recorder

USUAL_POINTS: Final = 100
MOST_POINTS: Final = 1000
_LAST_PORT: Final = 65535
LAST_SECOND: Final = 253_402_300_799  # of the year 9999


class HistoryRoutes:
    """Show what was recorded."""

    def __init__(
        self, exchange: Exchange, recorder: Recorder, wall_clock: Callable[[], float]
    ) -> None:
        self._exchange = exchange
        self._recorder = recorder
        self._wall_clock = wall_clock

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [Endpoint("GET", "/api/stats/history", self._history)]

    async def _history(self, request: IRequest) -> bytes:
        port = query_number(request, b"port", None, _LAST_PORT)
        limit = query_number(request, b"limit", USUAL_POINTS, MOST_POINTS)
        limit = limit or USUAL_POINTS
        until = query_number(request, b"until", None, LAST_SECOND)
        until = int(self._wall_clock()) if until is None else until
        since = query_number(request, b"since", None, LAST_SECOND)
        if since is None:
            interval = self._recorder.settings.interval_seconds
            since = max(0, until - int(limit * interval))
        if since >= until:
            detail = f"since: {since} is not before until ({until})"
            raise BadRequestError(detail=detail)
        links = _is_asked(request, b"links")
        if links and port is not None:
            raise BadRequestError(detail="links: links have no port; leave port out")
        try:
            found = await self._recorder.history(port or 0, links, since, until, limit)
        except StoreError as fault:
            raise StoreFailedError(detail=str(fault)) from fault
        step = found.step
        return await self._exchange.reply_list(
            request,
            "history_found",
            lambda count: HistoryRow(port=port, step_seconds=step, points=[]),
            "points",
            array(
                HistoryPoint(
                    at_unix=point.at,
                    bytes_sent=point.sent,
                    bytes_received=point.received,
                    connections=point.connections,
                    active=point.active,
                )
                for point in found.points
            ),
        )


def _is_asked(request: IRequest, key: bytes) -> bool:
    """Read true or false of the query; left out = false."""
    values = request.args.get(key)
    text = values[0].decode("latin-1") if values else "false"
    if text not in ("true", "false"):
        detail = f"{key.decode()}: {shown(text)} is neither true nor false"
        raise BadRequestError(detail=detail)
    return text == "true"
