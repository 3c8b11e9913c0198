"""Which upstream a connection gets."""

from __future__ import annotations

from itertools import count

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol

from gateway.edge.tcp import TcpEdge
from gateway.interfaces import IUpstream
from gateway.server.connection import Connection, ConnectionContext


class Router:
    """Make the connection of each visitor that is admitted."""

    def __init__(
        self,
        context: ConnectionContext,
        agents: IUpstream,
        direct: IUpstream,
        trace_prefix: str,
    ) -> None:
        """Remember the collaborators.

        Args:
            context: what all connections use.
            agents: reaches the targets of tunnel mappings.
            direct: reaches those of direct mappings.
            trace_prefix: makes trace ids of this process unlike any other's.
        """
        self._context = context
        self._agents = agents
        self._direct = direct
        self._trace_prefix = trace_prefix
        self._traces = count(1)

    def admit(self, edge: TcpEdge, addr: IAddress | None) -> Protocol:
        """Return the protocol for a visitor of `edge`."""
        trace = f"{self._trace_prefix}-{next(self._traces):x}"
        upstream = self._agents if edge.mapping.use_tunnel else self._direct
        return Connection(self._context, upstream, edge, addr, trace)
