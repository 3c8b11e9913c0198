"""One connection of a visitor, from its accept to its end."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from gateway.edge.tcp import TcpEdge
from gateway.interfaces import ICarrier, IPaced, IUpstream, IUpstreamRequest
from gateway.metrics.tallies import (
    BROKEN,
    FINISHED,
    KILLED,
    LEFT,
    RATE,
    UNREACHED,
    Tally,
)
from gateway.ops.events import Emit, unheard
from gateway.policy.addresses import holder_of, join_host_port
from gateway.policy.hops import Hops
from gateway.policy.mapping import Mapping
from gateway.policy.rates import Bucket
from gateway.relay.linger import Linger
from gateway.relay.visitor import Visitor
from gateway.server.visit_log import VisitLog
from gateway.wire import frames
from gateway.wire.proxy import Place, encode

TCP_TYPES: Final[tuple[type[Any], ...]] = (IPv4Address, IPv6Address)
TARGET_ANSWER: Final = "target_answer"  # what a connection waits for at first


class ConnectionContext:
    """What all connections of a gateway use.

    Attributes:
        log: says when a target is reached, and how a connection ended.
        emit: told of connections that come and go.
        hops: recognizes connections that have passed this gateway before.
        linger: closes sockets that must still take their last bytes.
    """

    __slots__ = ("emit", "hops", "linger", "log")

    def __init__(
        self, log: VisitLog, hops: Hops, linger: Linger, emit: Emit = unheard
    ) -> None:
        self.log = log
        self.hops = hops
        self.linger = linger
        self.emit = emit

    def hops_of(self, peer: IAddress | None) -> int:
        """Return how often what comes from there has passed this gateway.

        Args:
            peer: far end of the socket, whatever a header says of the visitor.
        """
        host, port = getattr(peer, "host", None), getattr(peer, "port", None)
        return 0 if host is None or port is None else self.hops.of(host, port)


def _text(addr: IAddress | None) -> str:
    host = getattr(addr, "host", None)
    return "?" if host is None else join_host_port(host, getattr(addr, "port", 0))


@implementer(IUpstreamRequest)
class Connection(Visitor):
    """A visitor's connection, whatever reaches its target.

    It is logged, counted, timed, paced and killed here; `upstream` opens the flow to
    its target.

    Attributes:
        id: its trace in all logs.
        visitor: address and port that it is from.
        balancer: the same of who forwards it; None = nobody.
        hops: how often what it carries has passed this gateway.
        started_at: monotonic seconds of the accept.
        opened_at: monotonic seconds since which the target is reached.
        outcome: how it has ended, one of `gateway.metrics.tallies.OUTCOMES`.
        mapping: what led here when it was accepted.
        agent: the agent that carries it; None = nobody.
        buckets: what its bytes must pass besides the mapping's, in and out.
    """

    __slots__ = (
        "_addr",
        "_carrier",
        "_context",
        "_edge",
        "_upstream",
        "balancer",
        "hops",
        "id",
        "mapping",
        "opened_at",
        "outcome",
        "started_at",
        "visitor",
    )

    def __init__(
        self,
        context: ConnectionContext,
        upstream: IUpstream,
        edge: TcpEdge,
        addr: IAddress | None,
        trace: str,
    ) -> None:
        """Enter the connection of a visitor that was admitted.

        Args:
            context: what all connections use.
            upstream: opens the flow to its target.
            edge: where it came in.
            addr: where the visitor is from.
            trace: what the logs call it.
        """
        super().__init__(context.linger)
        self._context = context
        self._upstream = upstream
        self._edge = edge
        self._addr = addr
        self._carrier: ICarrier | None = None
        self.id = trace
        self.visitor = _text(addr)
        self.balancer: str | None = None
        self.hops = 0
        self.mapping: Mapping = edge.mapping
        self.started_at = edge.clock.seconds()
        self.opened_at: float | None = None
        self.outcome = LEFT
        edge.enter(self, addr)

    def connectionMade(self) -> None:
        """Ask for a flow to the target; the visitor waits, paused."""
        transport, edge = self.transport, self._edge
        transport.pauseProducing()
        peer = transport.getPeer()
        if peer != self._addr:
            self.balancer = _text(peer)
        self.hops = self._context.hops_of(peer)
        if edge.paced:
            edge.pace(self)
        if self.mapping.rules.proxy_protocol != "off":
            self._held = self._header()
        self.ask(self._upstream, self)

    def _header(self) -> bytes:
        """Return the header that tells the target of the visitor."""
        ends = [
            Place(one.host, one.port)
            for one in (self._addr, self.transport.getHost())
            if isinstance(one, TCP_TYPES)
        ]
        if len(ends) < 2:
            return b""
        return encode(self.mapping.rules.proxy_protocol, *ends)

    # -- how it goes -----------------------------------------------------------------

    def flow_carried(self, carrier: ICarrier) -> None:
        """Learn who carries the flow."""
        self._carrier = carrier
        if carrier.buckets:
            self._edge.pace(self)

    def reached(self) -> None:
        """Log and count that the target is reached."""
        self.opened_at = self._edge.clock.seconds()
        self._edge.opened(self.opened_at - self.started_at)
        self._context.log.opened(self, self._edge)
        self._context.emit("connection", "opened", **self._who())

    def missed(self, stage: str, why: str) -> None:
        """Log that there is no flow."""
        if self.outcome is LEFT:
            self.outcome = stage
        self._context.log.closed(self, self._edge, why, self.sent)

    def parted(self, why: str, *, whole: bool) -> None:
        """Log how the flow has ended."""
        if self.outcome is LEFT:
            self.outcome = self._how_it_ended(whole=whole)
        self._context.log.closed(self, self._edge, why, self.sent, self.received)

    def _how_it_ended(self, *, whole: bool) -> str:
        if self.opened_at is None:
            return LEFT if self.gone else UNREACHED
        return FINISHED if whole else BROKEN

    def left(self) -> None:
        """Tell that the socket is gone, and count the connection no more."""
        refused = self.opened_at is None and self.outcome != LEFT
        self._context.emit(
            "connection",
            "refused" if refused else "closed",
            **self._who(),
            outcome=self.outcome,
            bytes_sent=self.sent,
            bytes_received=self.received,
            seconds=round(self._edge.clock.seconds() - self.started_at, 3),
        )
        self._edge.left(self)

    def _who(self) -> dict[str, object]:
        return {
            "id": self.id,
            "port": self._edge.mapping.port,
            "visitor": self.visitor,
            "agent": self.agent,
        }

    # -- what others ask of it ---------------------------------------------------------

    @property
    def address(self) -> str:
        """Whose it is: an IPv4 address or an IPv6 /64."""
        return holder_of(str(getattr(self._addr, "host", "?")))

    @property
    def agent(self) -> str | None:
        """The agent that carries it, if any does."""
        return None if self._carrier is None else self._carrier.agent

    @property
    def buckets(self) -> tuple[Bucket, Bucket] | None:
        """What its bytes must pass besides the mapping's, in and out."""
        return None if self._carrier is None else self._carrier.buckets

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """Who else counts it when it is over."""
        return () if self._carrier is None else (self._carrier.tally,)

    @property
    def waits_for(self) -> str | None:
        """What its bytes wait for now; None = they pass, or there are none."""
        if self.opened_at is None:
            return TARGET_ANSWER
        stalled = None if self.flow is None else self.flow.waits_for
        return stalled or (RATE if self._rate_bound() else None)

    def _rate_bound(self) -> bool:
        transport = self.transport
        return IPaced.providedBy(transport) and IPaced(transport).rate_bound

    def break_off(self, why: str) -> None:
        """End it at once for what it holds."""
        self.abort(why, frames.OVER_LIMIT)

    def close(self, why: str) -> None:
        """End it at once, by the operator's word; a cut answer must not look whole."""
        self.outcome = KILLED
        self.abort(why, frames.KILLED)
