"""Loads in this process, against far ends that keep their word and others."""

import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench import dialling, far, watch
from gateway.bench.dialling import find
from gateway.bench.greeting import STEP, Part
from gateway.bench.loads import Kind, Load, Tally
from gateway.bench.worker import connect, perform
from gateway.errors import BenchError
from tests.bench.running import (
    SECONDS,
    FarThread,
    OddServer,
    greeted,
    messages,
    plain_echo,
)

RESET = struct.pack("ii", 1, 0)


def load_for(port, kind, **changes):
    """Return a short load."""
    usual = {"connections": 2, "size": 1024, "seconds": 0.05}
    return Load(kind=kind, host="127.0.0.1", port=port, **{**usual, **changes})


class WorkerCase(SynchronousTestCase):
    """Runs loads."""

    def perform(self, port, kind, *, stop_at=None, **changes):
        """Run a load and return what was counted.

        With `stop_at` it goes on until so many bytes have arrived, however slow the
        machine is.
        """
        if stop_at is not None:
            changes["seconds"] = 3600
        load = load_for(port, kind, **changes)

        def is_enough(arrived):
            return stop_at is not None and arrived >= stop_at

        return perform(load, connect(load), is_enough)

    def odd(self, serve):
        """Start an odd server and return its port."""
        server = OddServer(serve)
        self.addCleanup(server.stop)
        return server.port


class LoadTests(WorkerCase):
    """A far end that keeps its word."""

    def setUp(self):
        thread = FarThread()
        self.addCleanup(thread.stop)
        self.port = thread.port

    def test_every_echo_is_counted(self):
        for size in (1, 1024, 3 << 20):
            for kind in (Kind.ECHO, Kind.CHECKED):
                size = max(size, 9)
                tally = self.perform(self.port, kind, size=size)
                self.assertTrue(tally.sound, tally)
                self.assertGreaterEqual(tally.messages, 2)
                self.assertEqual(tally.size_bytes, size * tally.messages)
                self.assertGreater(tally.latencies.summary().least, 0)

    def test_an_upload_counts_what_has_arrived(self):
        tally = self.perform(self.port, Kind.UPLOAD, size=1000)
        self.assertTrue(tally.sound, tally)
        self.assertGreater(tally.size_bytes, 0)
        self.assertEqual(tally.size_bytes % STEP, 0)

    def test_a_download_counts_what_has_come(self):
        tally = self.perform(self.port, Kind.DOWNLOAD, stop_at=100_000)
        self.assertTrue(tally.sound, tally)
        self.assertGreaterEqual(tally.size_bytes, 100_000)

    def test_a_stop_is_no_failure(self):
        for kind in Kind:
            tally = self.perform(self.port, kind, stop_at=1)
            self.assertTrue(tally.sound, tally)
            self.assertLess(tally.seconds, SECONDS)
            self.assertGreater(tally.size_bytes, 0)

    def test_more_connections_than_are_dialled_at_one_time(self):
        tally = self.perform(self.port, Kind.ECHO, connections=150, size=10)
        self.assertTrue(tally.sound, tally)
        self.assertGreaterEqual(tally.messages, 150)

    def test_a_tally_survives_its_journey(self):
        tally = self.perform(self.port, Kind.ECHO)
        again = Tally.of_content(tally.content())
        self.assertEqual(again.content(), tally.content())

    def test_the_far_end_tells_how_busy_it_is(self):
        address, before = find("localhost", self.port, Part.SINK)
        self.assertEqual(address, "127.0.0.1")
        _, after = find("127.0.0.1", self.port, Part.SOURCE)
        assert before is not None
        assert after is not None
        self.assertLessEqual(before.ran, after.ran)
        self.assertLessEqual(before.waited, after.waited)

    def test_who_says_nothing_is_sent_away(self):
        self.patch(far, "GREETING_SECONDS", 0.0)
        with socket.create_connection(("127.0.0.1", self.port), SECONDS) as idle:
            self.assertEqual(idle.recv(1), b"")

    def test_who_says_nonsense_is_sent_away(self):
        for line in (b"GET / HTTP/1.1\r\n", b"x" * 64, b"gotunnel-bench 1 fly 5\n"):
            with socket.create_connection(("127.0.0.1", self.port), SECONDS) as other:
                other.sendall(line)
                self.assertEqual(other.recv(1), b"")


class OddServerTests(WorkerCase):
    """Far ends that do not."""

    def test_one_wrong_byte_is_one_failed_message(self):
        def corrupt(sock):
            greeted(sock)
            for number, message in enumerate(messages(sock, 1024)):
                changed = bytearray(message)
                changed[500] ^= number == 1
                sock.sendall(changed)

        port = self.odd(corrupt)
        for kind in (Kind.CHECKED, Kind.ECHO):
            tally = self.perform(port, kind, connections=1, stop_at=2048)
            self.assertEqual((tally.failed, tally.lost), (1, 0), kind)
            self.assertIn("message 1: byte 500 of 1024 is 0x", tally.fault)

    def test_a_wrong_byte_far_behind_is_found(self):
        size, place = 1 << 20, (1 << 20) - 1

        def corrupt(sock):
            greeted(sock)
            for message in messages(sock, size):
                sock.sendall(message[:place] + bytes([message[place] ^ 1]))

        port = self.odd(corrupt)
        for kind in (Kind.CHECKED, Kind.ECHO):
            tally = self.perform(port, kind, connections=1, size=size)
            self.assertEqual((tally.messages, tally.lost), (0, 0), kind)
            self.assertIn(f"message 0: byte {place} of {size} is 0x", tally.fault)

    def test_a_late_echo_is_not_the_right_one(self):
        def late(sock):
            greeted(sock)
            before = bytes(1024)
            for message in messages(sock, 1024):
                sock.sendall(before)
                before = message

        tally = self.perform(self.odd(late), Kind.CHECKED)
        self.assertEqual((tally.messages, tally.success), (0, 0.0))

    def test_a_longer_echo_ends_the_connection(self):
        def chatty(sock):
            greeted(sock)
            for message in messages(sock, 1024):
                sock.sendall(message + b"!")

        for kind in (Kind.ECHO, Kind.CHECKED):
            tally = self.perform(self.odd(chatty), kind, seconds=SECONDS)
            self.assertEqual(tally.lost, 2, tally)
            self.assertRegex(tally.fault, "more bytes|nobody had sent|came back|byte")

    def test_a_reset_loses_the_message_under_way(self):
        def mean(sock):
            greeted(sock)
            for number, message in enumerate(messages(sock, 1024)):
                if number == 3:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    return
                sock.sendall(message)

        tally = self.perform(self.odd(mean), Kind.ECHO, seconds=SECONDS)
        self.assertEqual((tally.messages, tally.failed, tally.lost), (6, 2, 2))
        self.assertIn("reset", tally.fault)
        self.assertLess(tally.seconds, SECONDS)

    def test_an_echo_that_never_comes_is_a_failure(self):
        self.patch(watch, "PATIENCE_SECONDS", 0.1)

        def silent(sock):
            greeted(sock)
            for message in messages(sock, 1024):
                sock.sendall(message[:-1])

        tally = self.perform(self.odd(silent), Kind.ECHO)
        self.assertEqual((tally.messages, tally.failed), (0, 2))
        self.assertEqual(tally.fault, "no echo came")

    def test_a_silence_is_part_of_the_time(self):
        """What stops in the middle is not as fast as before."""
        self.patch(watch, "PATIENCE_SECONDS", 0.1)

        def tiring(sock):
            greeted(sock)
            for number, message in enumerate(messages(sock, 1024)):
                if number < 3:
                    sock.sendall(message)

        def sated(sock):
            greeted(sock)
            left = STEP
            while left:
                left -= len(sock.recv(left))
            sock.sendall(STEP.to_bytes(8, "big"))
            while sock.recv(1 << 16):
                pass

        for serve, kind in ((tiring, Kind.ECHO), (sated, Kind.UPLOAD)):
            tally = self.perform(self.odd(serve), kind, seconds=0.5)
            self.assertGreater(tally.size_bytes, 0)
            self.assertGreaterEqual(tally.seconds, 0.5, kind)

    def test_a_load_that_loses_all_connections_ends_then(self):
        def brief(sock):
            greeted(sock)
            for message in messages(sock, 1024):
                sock.sendall(message)
                return

        for kind in (Kind.ECHO, Kind.UPLOAD):
            tally = self.perform(self.odd(brief), kind, seconds=SECONDS)
            self.assertEqual(tally.lost, 2)
            self.assertTrue(0 < tally.seconds < SECONDS)

    def test_a_source_that_pours_nothing_is_a_failure(self):
        def dry(sock):
            greeted(sock)
            while sock.recv(1 << 16):
                pass

        tally = self.perform(self.odd(dry), Kind.DOWNLOAD)
        self.assertEqual((tally.size_bytes, tally.lost), (0, 2))
        self.assertEqual(tally.fault, "nothing came")

    def test_an_end_in_the_middle_of_a_download_is_counted(self):
        def tired(sock):
            greeted(sock)
            sock.recv(1)
            sock.sendall(bytes(5000))

        tally = self.perform(self.odd(tired), Kind.DOWNLOAD, seconds=SECONDS)
        self.assertEqual((tally.size_bytes, tally.lost), (10000, 2))

    def test_a_sink_that_swallows_and_says_nothing_is_a_failure(self):
        self.patch(watch, "PATIENCE_SECONDS", 0.1)

        def mute(sock):
            greeted(sock)
            while sock.recv(1 << 16):
                pass

        tally = self.perform(self.odd(mute), Kind.UPLOAD)
        self.assertEqual((tally.size_bytes, tally.lost), (0, 2))
        self.assertIn("not all that was sent", tally.fault)

    def test_a_sink_that_boasts_is_noticed(self):
        def boastful(sock):
            greeted(sock)
            sock.recv(1)
            sock.sendall((1 << 50).to_bytes(8, "big"))
            while sock.recv(1 << 16):
                pass

        tally = self.perform(self.odd(boastful), Kind.UPLOAD, seconds=SECONDS)
        self.assertEqual((tally.size_bytes, tally.lost), (0, 2))
        self.assertIn(f"the far end counts {1 << 50} bytes", tally.fault)

    def test_connections_that_cannot_be_made_are_lost(self):
        calls = []

        def picky(sock):
            calls.append(sock)
            if len(calls) <= 2:
                greeted(sock)
                plain_echo(sock)

        tally = self.perform(self.odd(picky), Kind.ECHO, connections=5)
        self.assertEqual(tally.lost, 3)
        self.assertRegex(tally.fault, "no far end answers|reset")
        self.assertGreater(tally.messages, 0)

    def test_a_far_end_that_never_answers_is_not_waited_for(self):
        self.patch(dialling, "DIAL_SECONDS", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            port = deaf.getsockname()[1]
            fault = self.assertRaises(BenchError, find, "127.0.0.1", port, Part.ECHO)
        self.assertIn(f"127.0.0.1:{port}: no answer within 0.1 seconds", str(fault))

    def test_a_name_without_an_address_is_told(self):
        fault = self.assertRaises(BenchError, find, "no.invalid", 1, Part.ECHO)
        self.assertIn("no.invalid has no address", str(fault))
