"""What the log says of visits."""

from __future__ import annotations

from typing import Final
from typing import Protocol as Seam

from gateway.edge.tcp import TcpEdge
from gateway.ops.access_log import AccessLog, Visited
from gateway.ops.logs import InfoLogger
from gateway.policy.addresses import join_host_port
from gateway.texts import Texts

_LOG: Final = InfoLogger("gateway.server.routing")


class LoggedVisit(Seam):
    """A visit as its lines need it."""

    @property
    def id(self) -> str:
        """Its trace in all logs."""

    @property
    def visitor(self) -> str:
        """Its address and port."""

    @property
    def agent(self) -> str | None:
        """The agent that serves it; None = there is none."""

    @property
    def outcome(self) -> str:
        """How it has ended, one of `gateway.metrics.tallies.OUTCOMES`."""

    @property
    def started_at(self) -> float:
        """When it was accepted."""

    @property
    def opened_at(self) -> float | None:
        """When its target was reached."""


class VisitLog:
    """Says when a visitor's target is reached, and how a visit ended.

    Attributes:
        access: takes visits that are over; None = nobody wants them.
    """

    def __init__(self, texts: Texts, access: AccessLog | None = None) -> None:
        """Remember the collaborators.

        Args:
            texts: for the documented log phrases.
            access: takes visits that are over.
        """
        self.access = access
        self._texts = texts

    def opened(self, visit: LoggedVisit, edge: TcpEdge) -> None:
        """Log that the target of a visit is reached."""
        phrase, port = self._texts("stream_opened"), edge.mapping.port
        _LOG.say(
            f"{phrase}: port {port} {visit.visitor}: {visit.id}",
            phrase=phrase,
            port=port,
            visitor=visit.visitor,
            trace=visit.id,
            agent=visit.agent,
            open_seconds=_open_seconds(visit),
        )

    def closed(
        self,
        visit: LoggedVisit,
        edge: TcpEdge,
        reason: str,
        sent: int = 0,
        received: int = 0,
    ) -> None:
        """Log why a visit ended, and what it carried.

        Args:
            visit: that is over.
            edge: where it came in.
            reason: why it ended.
            sent: bytes from the visitor to the target.
            received: bytes from the target to the visitor.
        """
        if visit.opened_at is None:
            edge.missed(visit.outcome, reason)
        phrase, mapping, agent = self._texts("stream_closed"), edge.mapping, visit.agent
        port, seconds = mapping.port, edge.clock.seconds() - visit.started_at
        _LOG.say(
            f"{phrase}: port {port} {visit.visitor}: {visit.id}: {reason}, "
            f"{sent} bytes sent, {received} received, {seconds:.3f} s",
            phrase=phrase,
            port=port,
            visitor=visit.visitor,
            trace=visit.id,
            agent=agent,
            reason=reason,
            bytes_sent=sent,
            bytes_received=received,
            duration_seconds=seconds,
        )
        if self.access is not None:
            self.access.note(
                Visited(
                    visitor=visit.visitor,
                    port=port,
                    mapping_name=mapping.name,
                    agent=agent,
                    target=join_host_port(mapping.target_host, mapping.target_port),
                    open_seconds=_open_seconds(visit),
                    duration_seconds=seconds,
                    bytes_sent=sent,
                    bytes_received=received,
                    reason=reason,
                    trace=visit.id,
                )
            )


def _open_seconds(visit: LoggedVisit) -> float | None:
    opened_at = visit.opened_at
    return None if opened_at is None else opened_at - visit.started_at
