"""Looking names up."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import UnresolvableError
from gateway.net.network import Network
from gateway.net.resolver import Resolver
from tests.net.real import RealSocketsCase


class ResolveTests(SynchronousTestCase):
    """What is not even asked for."""

    def setUp(self):
        reactor: Any = Clock()
        poller: Any = object()
        self.network = Network(reactor, poller)
        self.asked: list[Any] = []
        self.network._resolver = Resolver(reactor, start=self.asked.append)

    def test_a_literal_is_not_asked_for(self):
        for literal in ("10.0.0.1", "::1", "fe80::1%lo"):
            found = self.network.resolve(literal)
            self.assertEqual(self.successResultOf(found), [literal])
        self.assertEqual(self.asked, [])

    def test_what_is_no_name_is_not_asked_for(self):
        for name in ("", "a\0b", "a..b", "x" * 64, "x" * 64 + ".example", "\ud800"):
            self.failureResultOf(self.network.resolve(name), UnresolvableError)
        self.assertEqual(self.asked, [])


class RealResolveTests(RealSocketsCase):
    """With the system's resolver."""

    async def test_this_machine_has_an_address(self):
        found = await self.network.resolve("localhost")
        self.assertTrue({"127.0.0.1", "::1"} & set(found))
