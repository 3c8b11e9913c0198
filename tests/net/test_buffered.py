"""TLS without the private parts of pyOpenSSL does what it does with them."""

import importlib.metadata
import select
import socket
import sys
from typing import TYPE_CHECKING
from unittest import skipUnless
from unittest.mock import patch

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from gateway.net import sealed
from gateway.net.buffered import BufferedSocket
from gateway.net.sealed import private_parts
from tests.contracts import test_network
from tests.net import test_pacing, test_sealed, test_tls
from tests.net.real import RealSocketsCase

if TYPE_CHECKING:
    Case = RealSocketsCase
else:
    Case = object  # the suites bring their own


class PartsTests(SynchronousTestCase):
    """The parts are looked for, not relied on."""

    def setUp(self):
        private_parts.cache_clear()
        self.addCleanup(private_parts.cache_clear)

    def test_the_installed_version_has_them(self):
        version = importlib.metadata.version("pyOpenSSL")
        self.assertIsNotNone(
            private_parts(),
            f"pyOpenSSL {version} lacks OpenSSL._util, Connection._ssl or a function "
            "of OpenSSL that gateway/net/sealed.py looks for: TLS works, but by the "
            "slower gateway/net/buffered.py",
        )

    def test_another_version_may_lack_the_module(self):
        with patch.dict(sys.modules, {"OpenSSL._util": None}):
            self.assertIsNone(private_parts())

    def test_another_version_may_lack_the_attribute(self):
        with patch.object(SSL, "Connection", lambda context, sock: object()):
            self.assertIsNone(private_parts())

    def test_another_version_may_lack_a_function(self):
        with patch("OpenSSL._util.lib", object()):
            self.assertIsNone(private_parts())


class WithoutParts(Case):
    """Forces the slower path."""

    def setUp(self):
        self.patch(sealed, "private_parts", lambda: None)
        super().setUp()


class ServerJudgedTests(WithoutParts, test_tls.ServerJudgedTests):
    """Handshakes of a client."""

    async def test_by_address(self):
        await super().test_by_address()
        secure = self.client().secure(socket.socket())
        self.addCleanup(secure.close)
        self.assertIsInstance(secure, BufferedSocket)


class ClientJudgedTests(WithoutParts, test_tls.ClientJudgedTests):
    """Handshakes of a server."""


class ListenerTests(WithoutParts, test_tls.ListenerTests):
    """Handshakes that fail, and how connections end."""


class FullSocketTests(WithoutParts, test_sealed.FullSocketTests):
    """What the kernel does not take."""


class BoundTests(WithoutParts, test_sealed.BoundTests):
    """Keys that change on the way, and readers that pause."""


class PacingTests(WithoutParts, test_pacing.TLSPacingTests):
    """Bandwidth limits."""


@skipUnless(hasattr(select, "epoll"), "no epoll here")
class ContractTests(WithoutParts, test_network.TLSPollerTests):
    """The contract of a network."""
