"""The contract of `INetwork`, kept on real sockets."""

import select
from unittest import skipUnless

from gateway.net.poller import Poller, ReactorPoller
from tests.contracts.network import NetworkContract
from tests.net.real import RealSocketsCase, reactor


@skipUnless(hasattr(select, "epoll"), "no epoll here")
class PollerTests(RealSocketsCase, NetworkContract):
    """With an epoll set of its own."""

    def poller(self):
        return Poller(reactor)


@skipUnless(hasattr(select, "epoll"), "no epoll here")
class GatheredPollerTests(PollerTests):
    """The same with writes that leave at the end of the turn."""

    gathered = True


class ReactorPollerTests(RealSocketsCase, NetworkContract):
    """On the reactor's own readers and writers."""

    def poller(self):
        return ReactorPoller(reactor)


class GatheredReactorPollerTests(ReactorPollerTests):
    """The same with writes that leave at the end of the turn."""

    gathered = True


class IPv6Tests(RealSocketsCase, NetworkContract):
    """Over IPv6."""

    address = "::1"
