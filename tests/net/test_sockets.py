"""What every socket of ours is told."""

import os
import socket
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.net.sockets import (
    FLUSH_SECONDS,
    KEEPALIVE_SECONDS,
    UNSENT_BYTES,
    acceptor,
    acknowledged,
    close,
    is_bound,
    kernel_bytes,
    set_options,
)


class OptionTests(SynchronousTestCase):
    """On the listening socket, and by inheritance on what it accepts."""

    def setUp(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        set_options(self.listening)
        visitor = socket.create_connection(self.listening.getsockname())
        self.visitor = visitor
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

    def test_a_closed_connection_is_given_up_after_30_seconds(self):
        same = self.accepted.dup()
        self.addCleanup(same.close)
        close(self.accepted)
        self.assertEqual(self.accepted.fileno(), -1)
        patience = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        self.assertEqual(patience, FLUSH_SECONDS * 1000)

    def test_what_the_kernel_has_is_known(self):
        self.assertEqual(kernel_bytes(self.accepted), (0, 0))
        before = acknowledged(self.accepted)
        assert before is not None
        self.accepted.sendall(b"12345")
        self.assertEqual(self.visitor.recv(9), b"12345")
        self.assertEqual(acknowledged(self.accepted), before + 5)
        self.visitor.sendall(b"1")
        self.accepted.recv(1, socket.MSG_PEEK)
        unread, _ = kernel_bytes(self.accepted)
        self.assertGreater(unread, 0)

    def test_a_system_that_says_nothing_of_it_is_no_error(self):
        class Silent:
            def getsockopt(self, *asked):
                raise OSError("no such option")

        silent: Any = Silent()
        self.assertEqual((kernel_bytes(silent), acknowledged(silent)), ((0, 0), None))

    def test_a_descriptor_is_known_by_what_it_is_bound_to(self):
        host, port = self.visitor.getsockname()
        fd = self.visitor.fileno()
        self.assertTrue(is_bound(fd, host, port))
        self.assertFalse(is_bound(fd, host, port + 1))
        self.assertFalse(is_bound(self.accepted.fileno(), host, port))
        self.visitor.close()
        self.assertFalse(is_bound(fd, host, port))
        with open(os.devnull, "rb") as other:
            self.assertFalse(is_bound(other.fileno(), host, port))

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
