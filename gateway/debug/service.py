"""The debug site beside a process's own service, for as long as that lives."""

from __future__ import annotations

from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTCP
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from gateway.config.common import DebugConfig
from gateway.debug.census import IWatchingReactor
from gateway.debug.pages import ROOT
from gateway.debug.site import DebugSite
from gateway.errors import OperatorError
from gateway.policy.addresses import join_host_port


class IDebugReactor(IWatchingReactor, IReactorTCP):
    """What the debug site needs of the reactor."""


class DebuggedService(Service):
    """Starts before what it shows, and stops behind it: a stop may be what hangs."""

    log = Logger()

    def __init__(
        self,
        inner: Service,
        site: DebugSite,
        reactor: IDebugReactor,
        place: DebugConfig,
    ) -> None:
        """Open nothing yet.

        Args:
            inner: is shown.
            site: shows it.
            reactor: serves the site, past the sockets that the site shows.
            place: where it is served.
        """
        self._inner = inner
        self._site = site
        self._reactor = reactor
        self._place = place
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Open the port.

        Raises:
            OperatorError: it cannot be had.
        """
        super().privilegedStartService()
        self._listen()
        self._inner.privilegedStartService()

    def startService(self) -> None:
        """Go on."""
        super().startService()
        self._listen()
        self._inner.startService()

    def _listen(self) -> None:
        if self._port is not None:
            return
        port, address = self._place.listen_port, self._place.bind
        where = join_host_port(address, port)
        try:
            self._port = self._reactor.listenTCP(
                port,
                cast("ServerFactory[Any]", self._site),
                backlog=16,
                interface=address,
            )
        except CannotListenError as fault:
            words = getattr(fault.socketError, "strerror", None) or fault.socketError
            raise OperatorError(
                f"debug.listen_port: cannot listen on {where}: {words}; take another "
                "port, or set debug.enabled to false"
            ) from None
        self.log.warn(
            "!!! the debug site is open to every user of this machine: http://{where}{root}",
            where=where,
            root=ROOT,
        )

    def stopService(self) -> Deferred[Any]:
        """Stop what is shown, then the site."""
        super().stopService()
        stopped = maybeDeferred(self._inner.stopService)
        stopped.addBoth(self._close)
        return stopped

    def _close(self, outcome: object) -> object:
        port, self._port = self._port, None
        if port is not None:
            closed = maybeDeferred(port.stopListening)
            closed.addCallback(lambda _: outcome)
            return closed
        return outcome
