"""Reach a target by dialling it from this process."""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import DialError
from gateway.interfaces import IAttempt, IUpstream, IUpstreamRequest, IUpstreamTaker
from gateway.metrics.tallies import UNREACHED
from gateway.policy.hops import CIRCLE, MOST_HOPS, Hops
from gateway.relay.dial import Dialer
from gateway.relay.linger import Linger
from gateway.relay.pair import DirectTarget


@implementer(IUpstream)
class DirectUpstream:
    """The targets that this process dials itself."""

    __slots__ = ("dialer", "hops", "linger")

    def __init__(self, dialer: Dialer, hops: Hops, linger: Linger) -> None:
        """Remember the collaborators.

        Args:
            dialer: reaches targets.
            hops: remembers what is dialled.
            linger: closes sockets that must still take their last bytes.
        """
        self.dialer = dialer
        self.hops = hops
        self.linger = linger

    def open(self, request: IUpstreamRequest, taker: IUpstreamTaker) -> IAttempt:
        """Dial the target of a connection."""
        attempt = _DirectAttempt(self, request.hops, taker)
        if request.hops > MOST_HOPS:
            taker.flow_failed(UNREACHED, CIRCLE)
        else:
            target = request.mapping.targets[0]
            attempt.start(target.host, target.port)
        return cast(IAttempt, attempt)


@implementer(IAttempt, IProtocolFactory)
class _DirectAttempt:
    """One dial, and the factory of the protocol of its socket."""

    log = Logger()
    __slots__ = ("_dial", "_hops", "_over", "_taker", "_upstream")

    def __init__(
        self, upstream: DirectUpstream, hops: int, taker: IUpstreamTaker
    ) -> None:
        self._upstream = upstream
        self._hops = hops
        self._taker = taker
        self._dial: IAttempt | None = None
        self._over = False

    def start(self, host: str, port: int) -> None:
        """Begin to dial."""
        dial = self._upstream.dialer.reach(
            host, port, self, self._failed, dialled=self._dialled
        )
        if not self._over:
            self._dial = dial

    def _dialled(self, local: str, port: int, address: str, fd: int) -> None:
        self._upstream.hops.note(local, port, address, fd, self._hops)

    def _failed(self, failure: Failure) -> None:
        self._stop()
        why = failure.getErrorMessage()
        if not failure.check(DialError):
            self.log.failure("dialling a target failed", failure=failure)
            why = "internal error"
        self._taker.flow_failed(UNREACHED, why)

    def _stop(self) -> IAttempt | None:
        self._over = True
        dial, self._dial = self._dial, None
        return dial

    def cancel(self) -> None:
        """Give it up: nobody is told anything more."""
        dial = self._stop()
        if dial is not None:
            dial.cancel()

    # -- IProtocolFactory ------------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> DirectTarget:
        """Return the protocol of the target's socket."""
        self._stop()
        return DirectTarget(self._taker, self._upstream.linger)

    def doStart(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing to prepare."""

    def doStop(self) -> None:  # noqa: N802 - Twisted's name
        """Nothing to release."""
