"""Looking names up."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import UnresolvableError
from gateway.net.network import Network
from tests.net.real import RealSocketsCase


class ScriptedResolver:
    """A reactor and its resolver; answers when told."""

    def __init__(self):
        self.nameResolver = self
        self.asked = []
        self.receiver: Any = None

    def resolveHostName(self, receiver, name):
        self.asked.append(name)
        self.receiver = receiver
        receiver.resolutionBegan(None)

    def answer(self, *addresses):
        for address in addresses:
            self.receiver.addressResolved(address)
        self.receiver.resolutionComplete()


class ResolveTests(SynchronousTestCase):
    """With answers of our own."""

    def setUp(self):
        resolver: Any = ScriptedResolver()
        self.resolver = resolver
        poller: Any = object()
        self.network = Network(resolver, poller)

    def test_addresses_keep_their_order_and_come_once(self):
        found = self.network.resolve("both.example")
        self.assertNoResult(found)
        self.resolver.answer(
            IPv6Address("TCP", "::2", 0),
            IPv4Address("TCP", "10.0.0.2", 0),
            IPv6Address("TCP", "::2", 0),
            UNIXAddress(None),
            IPv4Address("TCP", "10.0.0.1", 0),
        )
        self.assertEqual(self.successResultOf(found), ["::2", "10.0.0.2", "10.0.0.1"])

    def test_a_name_without_address_says_so(self):
        found = self.network.resolve("none.example")
        self.resolver.answer()
        fault = self.failureResultOf(found, UnresolvableError).value
        self.assertEqual(str(fault), "'none.example' has no address")

    def test_a_literal_is_not_asked_for(self):
        for literal in ("10.0.0.1", "::1", "fe80::1%lo"):
            found = self.network.resolve(literal)
            self.assertEqual(self.successResultOf(found), [literal])
        self.assertEqual(self.resolver.asked, [])

    def test_what_is_no_name_is_not_asked_for(self):
        for name in ("", "a\0b", "a..b", "x" * 64, "x" * 64 + ".example", "\ud800"):
            self.failureResultOf(self.network.resolve(name), UnresolvableError)
        self.assertEqual(self.resolver.asked, [])

    def test_an_answer_after_the_cancel_is_dropped(self):
        found = self.network.resolve("slow.example")
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.resolver.answer(IPv4Address("TCP", "10.0.0.1", 0))


class RealResolveTests(RealSocketsCase):
    """With the system's resolver."""

    async def test_this_machine_has_an_address(self):
        found = await self.network.resolve("localhost")
        self.assertTrue({"127.0.0.1", "::1"} & set(found))
