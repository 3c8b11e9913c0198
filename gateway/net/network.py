"""The sockets of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypedDict

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import ITLS, Dialled, IAttempt, INetwork
from gateway.net.addresses import family_of
from gateway.net.connect import open_connection
from gateway.net.poller import (
    SCRATCH_BYTES,
    IPollingReactor,
    TurnPoller,
    poller_for,
)
from gateway.net.ports import TCPListening, TLSListening, open_listener
from gateway.net.resolver import IResolverReactor, Resolver
from gateway.net.splice import AVAILABLE, PipePool
from gateway.net.tls import ClientTLS, ServerTLS
from gateway.net.transports import READ_SIZE
from gateway.policy.budget import Budget

LINK_READ_SIZE: Final = SCRATCH_BYTES


@implementer(IAttempt)
class _Over:
    """An attempt that failed before it began."""

    def cancel(self) -> None:
        """There is nothing to give up."""


_OVER: Final = _Over()


class _Options(TypedDict):
    """What all listeners are made with."""

    gathered: bool
    read_size: int
    memory: Budget | None


class INetworkReactor(IPollingReactor, IResolverReactor):
    """What the network needs of the reactor."""


@implementer(INetwork)
class Network:
    """`INetwork` on real sockets."""

    def __init__(
        self,
        reactor: INetworkReactor,
        poller: TurnPoller | None = None,
        *,
        read_size: int = READ_SIZE,
        splice: bool = True,
    ) -> None:
        """Watch sockets by the reactor.

        Args:
            reactor: the clock and the wake-ups.
            poller: what watches the sockets; None = the best there is.
            read_size: bytes of one read, except from gathered connections (links),
                which carry many streams and read more at once.
            splice: whether the kernel may move bulk bytes between two connections.
        """
        self._reactor = reactor
        self._read_size = read_size
        self._pipes = PipePool() if splice and AVAILABLE else None
        self._poller = poller_for(reactor) if poller is None else poller
        self._memory: Budget | None = None
        self._resolver = Resolver(reactor)

    def count_by(self, memory: Budget) -> None:
        """Count what waits in the transports that are made from now on."""
        self._memory = memory

    def listen(
        self,
        address: str,
        port: int,
        factory: IProtocolFactory,
        *,
        gathered: bool = False,
        tls: ITLS | None = None,
        memory: Budget | None = None,
    ) -> TCPListening:
        """Bind and listen without accepting yet.

        Raises:
            OSError: as the system says it.
        """
        sock = open_listener(address, port)
        options: _Options = {
            "gathered": gathered,
            "read_size": LINK_READ_SIZE if gathered else self._read_size,
            "memory": self._memory if memory is None else memory,
        }
        if tls is not None:
            assert isinstance(tls, ServerTLS)
            return TLSListening(
                self._poller, self._reactor, sock, factory, tls=tls, **options
            )
        return TCPListening(
            self._poller,
            self._reactor,
            sock,
            factory,
            pipes=None if gathered else self._pipes,
            **options,
        )

    def connect(
        self,
        address: str,
        port: int,
        factory: IProtocolFactory,
        timeout_seconds: float,
        *,
        gathered: bool = False,
        tls: ITLS | None = None,
        dialled: Dialled | None = None,
    ) -> Deferred[IProtocol]:
        """Connect to a literal address; the outcome fails with `OSError`."""
        outcome: Deferred[IProtocol] = Deferred(lambda _outcome: attempt.cancel())
        attempt = self._begin(
            address,
            port,
            factory,
            timeout_seconds,
            outcome.callback,
            outcome.errback,
            gathered=gathered,
            tls=tls,
            dialled=dialled,
        )
        return outcome

    def attempt(
        self,
        address: str,
        port: int,
        factory: IProtocolFactory,
        timeout_seconds: float,
        failed: Callable[[Failure], None],
        dialled: Dialled | None = None,
    ) -> IAttempt:
        """Connect to a literal address on behalf of one visitor."""
        return self._begin(
            address, port, factory, timeout_seconds, None, failed, dialled=dialled
        )

    def _begin(
        self,
        address: str,
        port: int,
        factory: IProtocolFactory,
        timeout_seconds: float,
        made: Callable[[IProtocol], object] | None,
        failed: Callable[[Failure], object],
        *,
        gathered: bool = False,
        tls: ITLS | None = None,
        dialled: Dialled | None = None,
    ) -> IAttempt:
        assert tls is None or isinstance(tls, ClientTLS)
        try:
            return open_connection(
                self._poller,
                self._reactor,
                address,
                port,
                factory,
                timeout_seconds,
                made,
                failed,
                gathered=gathered,
                read_size=LINK_READ_SIZE if gathered else self._read_size,
                pipes=None if gathered else self._pipes,
                memory=self._memory,
                tls=tls,
                dialled=dialled,
            )
        except OSError:
            failed(Failure())
            return _OVER

    def resolve(self, name: str, *, reserved: bool = False) -> Deferred[list[str]]:
        """Look a host name up; the outcome fails with `UnresolvableError`."""
        if family_of(name) is not None:
            return succeed([name])
        return self._resolver.resolve(name, reserved=reserved)
