"""What every socket of ours is told."""

import socket
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.net.sockets import (
    KEEPALIVE_SECONDS,
    UNSENT_BYTES,
    acceptor,
    set_options,
)


class OptionTests(SynchronousTestCase):
    """On the listening socket, and by inheritance on what it accepts."""

    def setUp(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        set_options(self.listening)
        visitor = socket.create_connection(self.listening.getsockname())
        self.addCleanup(visitor.close)
        self.accepted, _ = self.listening.accept()
        self.addCleanup(self.accepted.close)

    def test_small_writes_leave_at_once(self):
        for sock in (self.listening, self.accepted):
            self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_a_silent_peer_is_asked_after_half_a_minute(self):
        for sock in (self.listening, self.accepted):
            self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            self.assertEqual(idle, KEEPALIVE_SECONDS)

    def test_little_is_kept_that_cannot_be_sent(self):
        for sock in (self.listening, self.accepted):
            unsent = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            self.assertEqual(unsent, UNSENT_BYTES)


class AcceptorTests(SynchronousTestCase):
    """What accepts a connection, by the part of Python that nobody promises or not."""

    def test_either_way(self):
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.assertTrue(
            hasattr(listening, "_accept"),
            "this Python has no socket._accept: accepting works, and takes longer",
        )
        shown: Any
        for shown in (listening, SimpleNamespace(accept=listening.accept)):
            visitor = socket.create_connection(listening.getsockname())
            self.addCleanup(visitor.close)
            sock, peer = acceptor(shown)()
            self.addCleanup(sock.close)
            self.assertEqual(peer, visitor.getsockname())
            sock.send(b"here")
            self.assertEqual(visitor.recv(4), b"here")

    def test_nothing_to_accept_is_said_alike(self):
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        listening.setblocking(False)
        shown: Any
        for shown in (listening, SimpleNamespace(accept=listening.accept)):
            self.assertRaises(BlockingIOError, acceptor(shown))
