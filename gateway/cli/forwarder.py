"""A port whose visitors are taken straight to one target, without a database."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.config.places import HostPort
from gateway.interfaces import IAttempt, IListening, INetwork
from gateway.relay.dial import Dialer
from gateway.relay.linger import Linger
from gateway.relay.pair import DirectVisitor

STOP_SECONDS: Final = 5.0


class Forwarder(Factory):
    """Serve one listening place."""

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
        self._dialer = dialer
        self._place = place
        self._target = target
        self._linger = Linger(clock)
        self._listening: IListening | None = None
        self._visitors: set[DirectVisitor] = set()
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

    def buildProtocol(self, addr: IAddress | None) -> DirectVisitor:
        """Return the protocol of a new visitor."""
        who = f"{getattr(addr, 'host', '?')}:{getattr(addr, 'port', '?')}"
        visitor = DirectVisitor(
            self._dial, self._linger, partial(self._joined, who), lambda why: left(why)
        )
        left = partial(self._left, visitor, who)
        self._visitors.add(visitor)
        return visitor

    def _dial(
        self, factory: IProtocolFactory, failed: Callable[[Failure], None]
    ) -> IAttempt:
        return self._dialer.reach(*self._target, factory, failed)

    def _joined(self, who: str) -> None:
        self.log.info(
            "connection opened: {who} to {target}", who=who, target=self._target
        )

    def _left(self, visitor: DirectVisitor, who: str, why: str) -> None:
        self.log.info(
            "connection closed: {who}: {why}, {sent} bytes sent, {received} received",
            who=who,
            why=why,
            sent=visitor.sent,
            received=visitor.received,
        )
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
