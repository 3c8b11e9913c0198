"""A sealed socket: what leaves together, what waits, and what is held."""

import contextlib
import itertools
import os
import random
import shutil
import socket
import subprocess
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gateway.net.certificates import MOVING_BUFFER
from gateway.net.sealed import (
    RECORD_BYTES,
    RUN_BYTES,
    DirectSocket,
    _runs,
    private_parts,
    words_of,
)
from tests.certificates import Authority
from tests.net.test_tls import ADDRESS, TLSCase

PIECES = st.lists(st.binary(max_size=90_000), max_size=8)


class RunTests(SynchronousTestCase):
    """What is sealed by one call."""

    @given(PIECES)
    def test_pieces_become_runs_of_a_record_or_more_in_order(self, pieces):
        runs = [bytes(run) for run in _runs(pieces)]
        self.assertEqual(b"".join(runs), b"".join(pieces))
        self.assertTrue(all(len(run) >= RECORD_BYTES for run in runs[:-1]))
        self.assertTrue(all(0 < len(run) <= RUN_BYTES for run in runs))

    @given(PIECES, st.data())
    def test_what_was_begun_comes_first_and_is_as_long_as_it_was(self, pieces, data):
        size = len(b"".join(pieces))
        owed = data.draw(st.integers(0, min(size, RUN_BYTES)))
        runs = [bytes(run) for run in _runs(pieces, owed)]
        self.assertEqual(b"".join(runs), b"".join(pieces))
        if owed:
            self.assertEqual(len(runs.pop(0)), owed)
        self.assertTrue(all(len(run) >= RECORD_BYTES for run in runs[:-1]))

    def test_of_long_pieces_little_is_copied(self):
        piece = memoryview(bytearray(7 * RECORD_BYTES))
        runs: list[Any] = list(_runs([b"head", piece]))
        self.assertEqual(
            [len(run) for run in runs],
            [RECORD_BYTES, RUN_BYTES, 2 * RECORD_BYTES + len(b"head")],
        )
        self.assertTrue(all(run.obj is piece.obj for run in runs[1:]))

    def test_an_end_without_goodbye_has_words(self):
        self.assertIn(
            "without a goodbye", words_of(SSL.SysCallError(-1, "Unexpected EOF"))
        )
        self.assertEqual("ECONNRESET", words_of(SSL.SysCallError(104, "ECONNRESET")))
        self.assertEqual("TLS failed", words_of(SSL.Error()))


class NoDataTests(SynchronousTestCase):
    """Records that carry no data: session tickets, updates of keys."""

    def secured(self, sock, connection):
        """Return the end that reads."""
        parts = private_parts()
        assert parts is not None
        return DirectSocket(sock, connection, parts)

    def test_a_read_ends_behind_each(self):
        cert, key = Authority(self.mktemp()).issue("server", ADDRESS)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(cert)
        context.use_privatekey_file(key)
        near, far = socket.socketpair()
        self.addCleanup(near.close)
        self.addCleanup(far.close)
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), near)
        client.set_connect_state()
        secure = self.secured(near, client)
        server = SSL.Connection(context, far)
        server.set_accept_state()
        near.setblocking(False)
        far.setblocking(False)
        for end in (secure, server, secure, server):  # which then sends two tickets
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
        server.send(b"data")
        self.assertRaises(BlockingIOError, secure.recv, 100)
        self.assertRaises(BlockingIOError, secure.recv, 100)
        self.assertEqual(b"data", secure.recv(100))


class FullSocketTests(TLSCase):
    """What the kernel does not take comes first the next time."""

    def setUp(self):
        super().setUp()
        self.pair = socket.socketpair()
        near, far = self.pair
        for sock in self.pair:
            self.addCleanup(sock.close)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self.near, self.far = self.server().secure(near), self.client().secure(far)
        for _ in range(10):
            for end in (self.near, self.far):
                with contextlib.suppress(SSL.WantReadError):
                    end.do_handshake()

    def read(self):
        """Return what there is for the far end now."""
        found = bytearray()
        with contextlib.suppress(BlockingIOError):
            while True:
                found += self.far.recv(RUN_BYTES)
        return found

    def test_the_bytes_may_lie_elsewhere_the_next_time(self):
        with patch.object(SSL.Context, "set_mode", autospec=True) as set_mode:
            self.server()
        modes = [call.args[1] for call in set_mode.call_args_list]
        self.assertIn(
            MOVING_BUFFER, modes
        )  # older versions do not set it by themselves

    def test_the_rest_may_be_cut_in_another_way(self):
        chance = random.Random(7)
        sent = chance.randbytes(40 * RECORD_BYTES)
        position, received, refusals = 0, bytearray(), 0
        while position < len(sent):
            # never less than OpenSSL has begun
            ends = sorted(chance.randrange(position, len(sent)) for _ in range(3))
            cuts = [position, *ends, len(sent)]
            pieces = [sent[a:b] for a, b in itertools.pairwise(cuts)]
            try:
                position += self.send(pieces)
            except BlockingIOError:
                refusals += 1
                received += self.read()
        received += self.read()
        self.assertGreater(refusals, 5)
        self.assertEqual(received, sent)

    def send(self, pieces):
        """Send by the call that takes so many pieces; the pair is not of TCP."""
        with patch("gateway.net.sealed._CORK", None):
            joined = b"".join(pieces)
            whole = len(joined) <= RUN_BYTES
            return self.near.send(joined) if whole else self.near.sendmsg(pieces)

    def test_reads_of_any_size_leave_nothing_that_is_not_announced(self):
        chance = random.Random(11)
        sent = chance.randbytes(30 * RECORD_BYTES)
        position, received, scratch = 0, bytearray(), memoryview(bytearray(1 << 18))
        while len(received) < len(sent):
            with contextlib.suppress(BlockingIOError):
                while position < len(sent):
                    position += self.send([sent[position:]])
            with contextlib.suppress(BlockingIOError):
                while True:
                    size = chance.choice((1, 100, 5000, RECORD_BYTES, 3 * RECORD_BYTES))
                    if chance.random() < 0.5:
                        data = self.far.recv(size)
                    else:
                        data = bytes(scratch[: self.far.recv_into(scratch, size)])
                    self.assertTrue(0 < len(data) <= size)
                    received += data
                    if self.far.awaits:
                        self.assertEqual(self.far.connection.pending(), 0)
        self.assertEqual(received, sent)

    def test_a_short_message_behind_what_was_begun_waits(self):
        first = bytes(RUN_BYTES)
        with self.assertRaises(BlockingIOError):
            for _ in range(1000):
                self.send([first])
        received = self.read()
        sent = 0
        while sent < len(first) + 5:
            with contextlib.suppress(BlockingIOError):
                sent += self.send([(first + b"short")[sent:]])
            received += self.read()
        self.assertEqual(received[-5:], b"short")
        self.assertEqual(len(received) % RUN_BYTES, 5)


class BoundTests(TLSCase):
    """What nobody reads stays with the kernel, and in time with the sender."""

    async def test_a_paused_end_holds_nothing_that_it_has_opened(self):
        self.listen(self.server())
        near = await self.connect(self.client())
        await self.until(lambda: self.accepting.built)
        far = self.accepting.built[0]
        near.on_data = lambda data: near.transport.pauseProducing()
        sent = random.Random(3).randbytes(60 * RECORD_BYTES)
        far.transport.write(sent)
        while len(near.received) < len(sent):
            before = len(near.received)
            near.transport.resumeProducing()
            await self.until(lambda before=before: len(near.received) > before)
            await self.settle()
            read_size = near.transport.read_size
            self.assertLessEqual(len(near.received) - before, read_size)
            self.assertEqual(near.transport.getHandle().connection.pending(), 0)
        self.assertEqual(near.received, sent)
        await self.end(near, far)

    async def test_keys_may_change_on_the_way(self):
        program = shutil.which("openssl")
        if program is None:
            raise SkipTest("not installed: openssl")
        self.listen(self.server())
        peer = subprocess.Popen(
            [program, "s_client", "-connect", f"{ADDRESS}:{self.port}", "-tls1_3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(peer.communicate)
        self.addCleanup(peer.kill)
        typed: Any = peer.stdin
        printed: Any = peer.stdout
        os.set_blocking(printed.fileno(), False)
        await self.until(lambda: self.accepting.built)
        near = self.accepting.built[0]
        got = bytearray()
        for turn in range(1, 4):
            # K: new keys for what it sends, and a wish for new ones of ours
            for line in (b"K\n", b"line\n"):
                typed.write(line)
                typed.flush()
                await self.settle()
            await self.until(lambda turn=turn: near.received == b"line\n" * turn)
            near.transport.write(bytes(500_000) + b"end %d\n" % turn)

            def answered(turn=turn):
                got.extend(printed.read() or b"")
                return b"end %d\n" % turn in got

            await self.until(answered)
        self.assertGreater(got.count(0), 1_500_000 - 1)
        await self.end(near)
