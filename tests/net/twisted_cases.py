# ruff: noqa: N815 - the names are Twisted's
"""Twisted's own expectations of a TCP transport, put to ours.

The tests come from Twisted; an adapter makes its reactor listen and connect through
our network.  What Twisted asks of its insides (readers and writers of the reactor,
log prefixes, queued first writes) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from twisted.internet import error
from twisted.internet.defer import succeed
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.protocol import Protocol
from twisted.internet.test import connectionmixins, reactormixins
from twisted.internet.test import test_tcp as reactor_tests
from twisted.python.failure import Failure
from twisted.test import test_tcp as loopback_tests
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, implementer, providedBy

from gateway.net.network import Network
from gateway.net.poller import Poller, ReactorPoller
from gateway.net.transports import TCPTransport
from tests.net.real import reactor as real_reactor

CONNECT_SECONDS = 5.0

_Case = TypeVar("_Case", bound=SynchronousTestCase)


@implementer(IListeningPort)
class AdaptedPort:
    """One of our listening sockets as Twisted's."""

    connected = True

    def __init__(self, listening):
        self.listening = listening

    def startListening(self):
        self.listening.startAccepting()

    def stopListening(self):
        self.connected = False
        self.listening.stopListening()
        return succeed(None)

    def getHost(self):
        return self.listening.getHost()


class Told(Protocol):
    """Tells the connector when `inner` has lost its connection."""

    def __init__(self, inner, connector):
        self.inner, self.connector = inner, connector

    def makeConnection(self, transport):
        self.inner.makeConnection(transport)
        transport.protocol = self
        directlyProvides(self, providedBy(self.inner))

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def dataReceived(self, data):
        self.inner.dataReceived(data)

    def connectionLost(self, reason=Failure(error.ConnectionDone())):  # noqa: B008
        inner, self.inner = self.inner, Protocol()
        inner.connectionLost(reason)
        self.connector.lost(reason)


@implementer(IConnector)
class AdaptedConnector:
    """One attempt to connect, as Twisted's."""

    def __init__(self, reactor, host, port, factory, timeout):
        self.reactor, self.host, self.port = reactor, host, port
        self.factory, self.timeout = factory, timeout
        self.attempt: Any = None
        self.transport: Any = None

    def connect(self):
        self.factory.doStart()
        self.factory.startedConnecting(self)
        self.attempt = self.reactor.network.connect(
            self.host,
            self.port,
            self,
            self.timeout,
            gathered=self.reactor.gathered,
        )
        self.attempt.addErrback(self.failed)

    def buildProtocol(self, addr):
        inner = self.factory.buildProtocol(addr)
        return None if inner is None else Told(inner, self)

    def failed(self, reason):
        self.factory.clientConnectionFailed(self, reason)
        self.factory.doStop()

    def lost(self, reason):
        self.factory.clientConnectionLost(self, reason)
        self.factory.doStop()

    def stopConnecting(self):
        self.attempt.cancel()

    def disconnect(self):
        self.attempt.cancel()

    def getDestination(self):
        raise NotImplementedError


class AdaptedReactor:
    """A reactor whose TCP goes through our network."""

    def __init__(self, reactor, poller, *, gathered=False):
        self.__dict__["gathered"] = gathered
        self.__dict__["reactor"] = reactor
        self.__dict__["network"] = Network(reactor, poller(reactor))
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name):
        return getattr(self.reactor, name)

    def listenTCP(self, port, factory, backlog=50, interface=""):
        adapted = AdaptedPort(
            self.network.listen(interface, port, factory, gathered=self.gathered)
        )
        adapted.startListening()
        return adapted

    def connectTCP(self, host, port, factory, timeout=CONNECT_SECONDS, **_ignored):
        connector = AdaptedConnector(self, host, port, factory, timeout)
        connector.connect()
        return connector


def without(**left_out: str) -> Callable[[type[_Case]], type[_Case]]:
    """Return a decorator that takes tests out of the bases of a class.

    Trial would still collect, and report as skipped, a test that is overridden.

    Args:
        **left_out: names of tests, and why each asks too much of our transports.
    """

    def copy(base: type) -> type:
        if left_out.keys().isdisjoint(vars(base)):
            return base
        gone = left_out.keys() | {"__dict__", "__weakref__"}
        kept = {name: value for name, value in vars(base).items() if name not in gone}
        return type(base.__name__, base.__bases__, kept)

    def decorate(case: type[_Case]) -> type[_Case]:
        bases = tuple(copy(base) for base in case.__bases__)
        return cast(type[_Case], type(case.__name__, bases, dict(vars(case))))

    return decorate


class AdaptedCase(reactormixins.ReactorBuilder, SynchronousTestCase):
    """Run a test on a new reactor, adapted."""

    timeout = 5

    poller: Any = Poller
    gathered = False
    endpoints: Any = reactor_tests.TCPCreator()
    interface = "127.0.0.1"

    def reactorFactory(self):
        return EPollReactor()

    def buildReactor(self):
        return AdaptedReactor(
            super().buildReactor(), self.poller, gathered=self.gathered
        )

    def setUp(self):
        super().setUp()
        # the old names of pausing, which Twisted's tests call
        old: Any = TCPTransport
        old.stopReading = TCPTransport.pauseProducing
        old.startReading = TCPTransport.resumeProducing
        self.addCleanup(delattr, old, "stopReading")
        self.addCleanup(delattr, old, "startReading")


class GatheredAbortTests(AdaptedCase, reactor_tests.AbortConnectionMixin):
    """`abortConnection` from everywhere."""

    gathered = True


@without(
    test_resumeProducingAbort="waits for a write to leave later",
    test_resumeProducingAbortLater="waits for a write to leave later",
    test_resumeProducingThrows="waits for a write to leave later",
)
class AbortTests(AdaptedCase, reactor_tests.AbortConnectionMixin):
    """The same where writes leave at once."""


class ConnectionTests(AdaptedCase):
    """Halves, pauses, garbage, and what comes after the end."""

    _mixin = connectionmixins.ConnectionTestsMixin
    test_writeAfterDisconnect = _mixin.test_writeAfterDisconnect
    test_protocolGarbageAfterLostConnection = (
        _mixin.test_protocolGarbageAfterLostConnection
    )
    _builder = reactor_tests.TCPConnectionTestsBuilder
    test_stopStartReading = _builder.test_stopStartReading
    test_connectionLostAfterPausedTransport = (
        _builder.test_connectionLostAfterPausedTransport
    )
    test_doubleHalfClose = _builder.test_doubleHalfClose


class ClientTests(AdaptedCase):
    """Producers of a connection that ends."""

    _mixin = connectionmixins.StreamClientTestsMixin
    test_clientConnectionFailedStopsReactor = (
        _mixin.test_clientConnectionFailedStopsReactor
    )
    test_connectEvent = _mixin.test_connectEvent
    test_unregisterProducerAfterDisconnect = (
        _mixin.test_unregisterProducerAfterDisconnect
    )
    test_disconnectWhileProducing = _mixin.test_disconnectWhileProducing

    def listen(self, reactor, factory):
        self.port = reactor.listenTCP(0, factory, interface=self.interface)
        return self.port

    def connect(self, reactor, factory):
        port = getattr(self, "port", None)
        number = 1 if port is None else port.getHost().port
        return reactor.connectTCP(self.interface, number, factory)


class SequenceTests(AdaptedCase):
    """`writeSequence`."""

    _mixin = reactor_tests.WriteSequenceTestsMixin
    test_writeSequeceWithoutWrite = _mixin.test_writeSequeceWithoutWrite
    getConnectedClientAndServer = (
        reactor_tests.TCPTransportTestsBuilder.getConnectedClientAndServer
    )


class ReactorAbortTests(GatheredAbortTests):
    """The same on the reactor's readers and writers."""

    poller = ReactorPoller


class ReactorConnectionTests(ConnectionTests):
    """The same on the reactor's readers and writers."""

    poller = ReactorPoller


class ReactorClientTests(ClientTests):
    """The same on the reactor's readers and writers."""

    poller = ReactorPoller


class LoopbackCase:
    """Lets Twisted's loopback tests find the adapted reactor."""

    def setUp(self):
        patch: Any = self.patch  # type: ignore[attr-defined]
        patch(loopback_tests, "reactor", AdaptedReactor(real_reactor, Poller))
        return super().setUp()  # type: ignore[misc]


@without(
    testCloseWriteCloser="looks into Twisted's own buffers",
)
class HalfCloseTests(LoopbackCase, loopback_tests.HalfCloseTests):
    """Half-closes of either side."""


class HalfCloseWithoutNoticeTests(
    LoopbackCase, loopback_tests.HalfCloseNoNotificationAndShutdownExceptionTests
):
    """Half-closes that nobody wants to know of."""


@without(
    test_writeNotificationRaises="leaves half a connection behind",
)
class BuggyHalfCloseTests(LoopbackCase, loopback_tests.HalfCloseBuggyApplicationTests):
    """Half-closes of protocols with bugs."""


class LargeBufferTests(LoopbackCase, loopback_tests.LargeBufferTests):
    """A pull producer of large pieces."""


@without(
    test_writeAfterShutdownWithoutReading="adds readers by itself",
)
class WriteTests(LoopbackCase, loopback_tests.WriteDataTests):
    """Writes, and a close after them."""


class FactoryTests(LoopbackCase, loopback_tests.FactoryTests):
    """Starting and stopping factories."""
