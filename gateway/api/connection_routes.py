"""Routes of who is connected: look, and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.web.iweb import IRequest

from gateway.api.audit import Outcome
from gateway.api.bodies import EmptyBody
from gateway.api.exchange import (
    Endpoint,
    Exchange,
    query_choice,
    query_number,
    query_text,
)
from gateway.api.listing import array
from gateway.api.stat_rows import (
    ConnectionList,
    DisconnectedAgent,
    EndedConnection,
    connection_row,
)
from gateway.errors import AgentMissingError, ConnectionMissingError
from gateway.ops.slices import ROW, Shared
from gateway.server.connections import SORTS, STATES, Connections, Wanted
from gateway.server.links import Links

MOST_ROWS: Final = 500  # of one answer
_ORDERS: Final = ("asc", "desc")


class _Page(NamedTuple):
    """What is asked for; equal ones get the same answer."""

    wanted: Wanted
    sort: str
    descending: bool
    offset: int
    limit: int


class ConnectionRoutes:
    """Show visitors and end their connections; end the links of agents."""

    def __init__(
        self,
        exchange: Exchange,
        connections: Connections,
        links: Links,
        wall_clock: Callable[[], float],
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._links = links
        self._wall_clock = wall_clock
        self._pages: Shared[tuple[list[bytes], int]] = Shared()

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("GET", "/api/connections", self._list),
            Endpoint("DELETE", "/api/connections/<visit_id>", self._end),
            Endpoint("POST", "/api/agents/<name>/disconnect", self._disconnect),
        ]

    async def _list(self, request: IRequest) -> bytes:
        wanted = Wanted(
            port=query_number(request, b"port", None, 65535),
            agent=query_text(request, "agent"),
            visitor=query_text(request, "visitor"),
            state=query_choice(request, "state", STATES),
        )
        offset = query_number(request, b"offset", 0, 1 << 31, least=0) or 0
        page = _Page(
            wanted,
            query_choice(request, "sort", SORTS) or "age",
            query_choice(request, "order", _ORDERS) == "desc",
            offset,
            query_number(request, b"count", 50, MOST_ROWS) or 50,
        )
        elements, total = await self._pages.join(page, lambda: self._page(page))
        return await self._exchange.reply_list(
            request,
            "connections_listed",
            lambda _: ConnectionList(
                connections=[], total=total, offset=offset, count=len(elements)
            ),
            "connections",
            elements,
        )

    async def _page(self, page: _Page) -> tuple[list[bytes], int]:
        """Return the rows of a page as JSON, and how many there are in all."""
        found, total = await self._connections.page(
            page.wanted,
            page.sort,
            descending=page.descending,
            offset=page.offset,
            count=page.limit,
        )
        now = self._wall_clock()
        elements: list[bytes] = []
        rows = array(connection_row(one, now) for one in found)
        async for some in self._exchange.slices.pieces(rows, ROW):
            elements += some
        return elements, total

    async def _end(self, request: IRequest, visit_id: str) -> bytes:
        found = await self._connections.find(visit_id)
        if found is None:
            raise ConnectionMissingError(id=visit_id[:64])
        edge, visit = found
        row = EndedConnection(
            id=visit.id, port=edge.mapping.port, visitor=visit.visitor
        )
        act = self._exchange.act(request, "connection.end", visit.id)
        ended = Outcome(visit.id, row.model_dump(mode="json"))

        async def end() -> None:
            visit.close("ended by the operator")

        await self._exchange.change(act, end(), lambda _: ended)
        return self._exchange.reply(request, "connection_ended", row)

    async def _disconnect(self, request: IRequest, name: str) -> bytes:
        self._exchange.body(request, EmptyBody)
        if not self._links.has(name):
            raise AgentMissingError(name=name[:64])
        act = self._exchange.act(request, "agent.disconnect", name)

        async def disconnect() -> int:
            return self._links.disconnect(name, "disconnected by the operator")

        count = await self._exchange.change(
            act, disconnect(), lambda count: Outcome(name, after={"links": count})
        )
        row = DisconnectedAgent(name=name, links=count)
        return self._exchange.reply(request, "agent_disconnected", row)
