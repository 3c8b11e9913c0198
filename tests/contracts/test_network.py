"""The contract of `INetwork`, kept on real sockets."""

import select
from unittest import skipUnless

from gateway.net.certificates import CertificateFiles
from gateway.net.poller import Poller, ReactorPoller
from gateway.net.tls import ClientTLS, ServerTLS
from tests.certificates import Authority
from tests.contracts.network import NetworkContract, RecordingFactory
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


class TLSContract(NetworkContract):
    """The contract over TLS; each end knows the other by its certificate."""

    def setUp(self):
        super().setUp()
        authority = Authority(self.mktemp())
        cert_file, key_file = authority.issue("both", self.address)
        files = CertificateFiles(
            cert_file=cert_file, key_file=key_file, ca_file=authority.ca_file
        )
        self.refused: list[str] = []
        self.server_tls = ServerTLS(
            files,
            limit=200,
            seconds=10.0,
            refused=lambda host, why: self.refused.append(why),
        )
        self.client_tls = ClientTLS(files, self.address)

    async def test_connections_wait_until_they_are_accepted(self):
        accepting = RecordingFactory()
        listening = self.listen(accepting)
        connecting = self.connect(listening, RecordingFactory())
        await self.settle()
        self.assertFalse(connecting.called)
        listening.startAccepting()
        near = await connecting
        await self.until(lambda: accepting.built)
        await self.end(near, accepting.built[0])


@skipUnless(hasattr(select, "epoll"), "no epoll here")
class TLSPollerTests(TLSContract, PollerTests):
    """TLS with an epoll set of its own."""


class GatheredTLSPollerTests(TLSPollerTests):
    """The same with writes that leave at the end of the turn."""

    gathered = True


class TLSReactorPollerTests(TLSContract, ReactorPollerTests):
    """TLS on the reactor's own readers and writers."""


class GatheredTLSReactorPollerTests(TLSReactorPollerTests):
    """The same with writes that leave at the end of the turn."""

    gathered = True


class IPv6TLSTests(TLSContract, IPv6Tests):
    """TLS over IPv6."""
