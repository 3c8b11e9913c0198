"""Sockets that flush, and those that never do."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.relay.linger import PROGRESS_SECONDS, Linger
from tests.fakes import BoundedTransport


class LingerTests(SynchronousTestCase):
    """Closing politely, on a fake clock."""

    def setUp(self):
        self.clock = Clock()
        self.linger = Linger(self.clock)
        self.transport: Any = BoundedTransport(capacity=0)

    def test_nothing_unsent_needs_no_watch(self):
        self.linger.close(self.transport)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual((len(self.linger), self.clock.getDelayedCalls()), (0, []))

    def test_no_progress_ends_in_an_abort(self):
        self.transport.write(b"last words")
        self.linger.close(self.transport)
        self.clock.advance(PROGRESS_SECONDS)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.linger), 0)

    def test_a_slow_peer_makes_progress_while_the_kernel_takes_nothing(self):
        self.transport.write(b"last words")
        self.linger.close(self.transport)
        for acknowledged in range(1, 5):
            self.transport.acknowledged = lambda taken=acknowledged: taken
            self.clock.advance(PROGRESS_SECONDS)
            self.assertFalse(self.transport.aborted)
        self.clock.advance(PROGRESS_SECONDS)
        self.assertTrue(self.transport.aborted)

    def test_closing_twice_is_watched_once(self):
        self.transport.write(b"last words")
        self.linger.close(self.transport)
        self.linger.close(self.transport)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(PROGRESS_SECONDS)
        self.assertTrue(self.transport.aborted)

    def test_a_connection_that_is_gone_is_forgotten(self):
        self.transport.write(b"last words")
        self.linger.close(self.transport)
        self.linger.forget(self.transport)
        self.assertEqual((len(self.linger), self.clock.getDelayedCalls()), (0, []))

    def test_the_stop_aborts_what_is_left(self):
        self.transport.write(b"last words")
        self.linger.close(self.transport)
        self.linger.stop()
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
