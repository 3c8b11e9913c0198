"""Attempts that do not succeed."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from gateway.net.connect import open_connection
from gateway.net.poller import Poller
from tests.contracts.network import RecordingFactory
from tests.net.real import RealSocketsCase, reactor


class ConnectingTests(RealSocketsCase):
    """With a clock of our own and a listener that answers nobody."""

    def setUp(self):
        super().setUp()
        self.deaf = socket.socket()
        self.addCleanup(self.deaf.close)
        self.deaf.bind(("127.0.0.1", 0))
        self.deaf.listen(0)
        self.port = self.deaf.getsockname()[1]
        for _ in range(2):  # then the queue is full and no answer comes
            sock = socket.socket()
            self.addCleanup(sock.close)
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))
        self.clock = Clock()
        self.own_poller = Poller(reactor)

    def connect(self, factory=None, address="127.0.0.1"):
        outcome: Deferred[Any] = Deferred(lambda _outcome: attempt.cancel())
        attempt = open_connection(
            self.own_poller,
            self.clock,
            address,
            self.port,
            factory or RecordingFactory(),
            10.0,
            outcome.callback,
            outcome.errback,
            gathered=False,
        )
        return outcome

    async def test_an_attempt_without_answer_times_out(self):
        before = await self.open_descriptors()
        attempt = self.connect()
        self.clock.advance(9.9)
        await self.settle()
        self.assertNoResult(attempt)
        self.clock.advance(0.2)
        fault = self.failureResultOf(attempt, TimeoutError).value
        self.assertEqual(fault.errno, errno.ETIMEDOUT)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(await self.open_descriptors(), before)

    async def test_a_cancelled_attempt_leaves_nothing(self):
        before = await self.open_descriptors()
        attempt = self.connect()
        await self.settle()
        attempt.cancel()
        self.failureResultOf(attempt, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(await self.open_descriptors(), before)

    def test_a_name_is_not_looked_up(self):
        attempt = self.network.connect("localhost", self.port, RecordingFactory(), 5.0)
        self.failureResultOf(attempt, OSError)

    def test_an_address_without_route_fails(self):
        attempt = self.network.connect("255.255.255.255", 1, RecordingFactory(), 5.0)
        self.failureResultOf(attempt, OSError)

    async def test_a_factory_that_fails_fails_the_attempt(self):
        self.deaf.setblocking(False)
        listening = self.network.listen("127.0.0.1", 0, RecordingFactory())
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port

        def fail():
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            await self.connect(RecordingFactory(fail))
        self.assertEqual(self.clock.getDelayedCalls(), [])
