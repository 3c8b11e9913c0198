"""A port whose visitors are taken straight to one target, without a database."""

from __future__ import annotations

from typing import Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from gateway.config.places import HostPort
from gateway.interfaces import IListening, INetwork, IUpstreamRequest
from gateway.net.sockets import is_bound
from gateway.policy.hops import Hops
from gateway.policy.mapping import Mapping, Target
from gateway.relay.dial import Dialer
from gateway.relay.linger import Linger
from gateway.relay.pair import DirectTarget
from gateway.relay.upstream import DirectUpstream
from gateway.relay.visitor import Visitor

STOP_SECONDS: Final = 5.0


@implementer(IUpstreamRequest)
class Forwarded(Visitor):
    """One connection of a forwarder."""

    log = Logger()
    id = ""
    balancer = None
    hops = 0
    started_at = 0.0
    __slots__ = ("_forwarder", "_why", "mapping", "visitor")

    def __init__(self, forwarder: Forwarder, linger: Linger, who: str) -> None:
        super().__init__(linger)
        self._forwarder = forwarder
        self._why = ""
        self.mapping = forwarder.mapping
        self.visitor = who

    def connectionMade(self) -> None:
        """Ask for the target; the visitor waits, paused."""
        self.transport.pauseProducing()
        self.ask(self._forwarder.upstream, self)

    def reached(self) -> None:
        """Log that the target is reached."""
        self.log.info(
            "connection opened: {who} to {target}",
            who=self.visitor,
            target=HostPort(self.mapping.target_host, self.mapping.target_port),
        )

    def missed(self, stage: str, why: str) -> None:
        """Remember why there is no flow."""
        self._why = why

    def parted(self, why: str, *, whole: bool) -> None:
        """Remember how the flow has ended."""
        self._why = why

    def left(self) -> None:
        """Log how the connection has ended."""
        self.log.info(
            "connection closed: {who}: {why}, {sent} bytes sent, {received} received",
            who=self.visitor,
            why=self._why,
            sent=self.sent,
            received=self.received,
        )
        self._forwarder.left(self)

    def close(self, why: str) -> None:
        """End it: what was taken already is still delivered, the rest is not.

        A visitor whose target is not reached yet is reset.
        """
        if self.flow is None or self.gone:
            self.abort(why)
        else:
            cast(DirectTarget, self.flow).close(why)


class Forwarder(Factory):
    """Serve one listening place.

    Attributes:
        upstream: reaches the target.
        mapping: what leads to it.
    """

    noisy = False
    log = Logger()

    def __init__(
        self, clock: IReactorTime, dialer: Dialer, place: HostPort, target: HostPort
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for time limits.
            dialer: reaches the target.
            place: where to listen; port 0 = let the system choose.
            target: what visitors are taken to.
        """
        self._clock = clock
        self._place = place
        self._linger = Linger(clock)
        self.upstream = DirectUpstream(dialer, Hops(is_bound), self._linger)
        self.mapping = Mapping(
            port=place.port,
            targets=(Target(host=target.host, port=target.port, use_tunnel=False),),
            created_at=0,
            updated_at=0,
        )
        self._listening: IListening | None = None
        self._visitors: set[Forwarded] = set()
        self._patience: IDelayedCall | None = None
        self._emptied: Deferred[None] | None = None

    def start(self, network: INetwork) -> HostPort:
        """Listen, and return where.

        Raises:
            OSError: as the system says it.
        """
        listening: IListening = network.listen(*self._place, self)
        listening.startAccepting()
        self._listening = listening
        port: int = getattr(listening.getHost(), "port", self._place.port)
        return HostPort(self._place.host, port)

    def buildProtocol(self, addr: IAddress | None) -> Forwarded:
        """Return the protocol of a new visitor."""
        who = f"{getattr(addr, 'host', '?')}:{getattr(addr, 'port', '?')}"
        visitor = Forwarded(self, self._linger, who)
        self._visitors.add(visitor)
        return visitor

    def left(self, visitor: Forwarded) -> None:
        """Forget a connection that is over."""
        self._visitors.discard(visitor)
        if not self._visitors and self._emptied is not None:
            self._finish()

    def stop(self) -> Deferred[None]:
        """Stop listening and let the visitors' last bytes out.

        Returns:
            A Deferred that fires when no connection is left, which `STOP_SECONDS`
            sees to at the latest.
        """
        if self._listening is not None:
            self._listening.stopListening()
            self._listening = None
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied
        self._patience = self._clock.callLater(STOP_SECONDS, self.abort)
        for visitor in list(self._visitors):
            visitor.close("the forwarder stops")
        if not self._visitors:
            self._finish()
        return emptied

    def abort(self) -> None:
        """Reset every connection at once."""
        self._linger.stop()
        for visitor in list(self._visitors):
            visitor.abort("the forwarder stops")

    def _finish(self) -> None:
        emptied, self._emptied = self._emptied, None
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._linger.stop()
        if emptied is not None:
            emptied.callback(None)
