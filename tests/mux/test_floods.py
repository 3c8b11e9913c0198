"""Peers that send as fast as they can and read nothing."""

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.session import FIRST_BYTES, FIRST_FRAMES, MOST_ANSWERS
from gateway.mux.useless import USELESS_A_SECOND, USELESS_AT_ONCE, UselessFrames
from gateway.wire.hello import RegisterAck
from tests.mux.doubles import (
    Side,
    a_hello,
    ack_frame,
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
)
from tests.strategies import json_frame, open_payload, raw_frame, with_id

PING = raw_frame(0x1A, bytes(9))
STRAY = with_id(0x03, 4_000_000_000, b"x")
KEEP_ALIVE = raw_frame(0x05)


def waiting(side):
    """Return the bytes that wait to be sent; they are gone then."""
    return sum(map(len, side.session.take()))


class FloodTests(SynchronousTestCase):
    """At most 1 MiB of control frames waits for a link."""

    def assert_ends(self, side, frame, kind="flood"):
        """Feed the frame until the session gives up, and see that it does."""
        chunk = frame * (65536 // len(frame))
        for _ in range(200):
            if side.session.ended:
                break
            side.hear(chunk)
        self.assertEqual(side.fault and side.fault.kind, kind)
        self.assertLess(waiting(side), (1 << 20) + 3 * 65536)

    def test_a_flood_of_registrations_ends_the_link(self):
        """Though their answers keep their place behind data."""
        side = negotiated_gateway()
        frame = json_frame(0x15, id="w" * 64, local=80)
        refusal = RegisterAck(id="w" * 64, error="no")
        self.patch(
            side.observer,
            "register_received",
            lambda wish: side.session.answer_registration(refusal),
        )
        self.assert_ends(side, frame)

    def test_a_flood_of_answers_for_nobody_ends_a_legacy_link(self):
        """Each success for an unknown stream is answered by Close."""
        self.assert_ends(legacy_gateway(), with_id(0x02, 9, b"\x00"), "useless")

    def test_a_flood_of_early_data_is_bounded(self):
        """A stream that is not open is closed by it, once."""
        side = legacy_agent()
        for number in range(1000):
            side.hear(with_id(0x01, number, b"\x00\x50") + with_id(0x03, number, b"x"))
        self.assertEqual(len(side.core.streams), 0)
        self.assertEqual(waiting(side), 1000 * 10)

    def test_few_answers_to_ping_wait_for_who_reads_nothing(self):
        """An end asks one question at a time."""
        side = negotiated_gateway()
        side.hear(PING * 1000)
        self.assertEqual([kind for kind, _ in side.said()], [0x1A] * MOST_ANSWERS)
        self.assertEqual(side.core.counts["ping"], 1000 - MOST_ANSWERS)
        self.assertIsNone(side.fault)

    def test_a_flood_of_pings_ends_the_link(self):
        self.assert_ends(negotiated_gateway(), PING, "useless")

    def test_who_reads_may_ask_again_and_again(self):
        side = negotiated_gateway()
        for _ in range(10_000):
            side.hear(PING)
            self.assertEqual(waiting(side), 15)
        self.assertIsNone(side.fault)


class UselessTests(SynchronousTestCase):
    """Frames that a peer which keeps the protocol has no reason to send."""

    def kinds(self):
        """Return makers of a link and a frame of no use to it."""
        nonce = bytes(8)
        empty = with_id(0x03, 1)
        window = with_id(0x13, 1, bytes(4))
        both = (raw_frame(0x7F), raw_frame(0x7F, bytes(100)), KEEP_ALIVE, STRAY)
        yield from ((negotiated_gateway, frame) for frame in both)
        yield from ((negotiated_agent, frame) for frame in both)
        yield from ((legacy_gateway, frame) for frame in both)
        yield from ((legacy_agent, frame) for frame in both)
        yield negotiated_gateway, raw_frame(0x1A, b"\x01" + nonce)
        yield negotiated_gateway, raw_frame(0x19, b"n,,n=a")
        yield negotiated_gateway, raw_frame(0x17, b"\x00")
        yield negotiated_gateway, with_id(0x12, 4_000_000_000)
        yield negotiated_gateway, with_id(0x18, 4_000_000_000, b"\x00")
        yield legacy_gateway, with_id(0x04, 4_000_000_000)
        yield legacy_gateway, raw_frame(0x02, b"\x00")
        yield legacy_gateway, raw_frame(0x1A, bytes(9))
        yield self.with_stream, empty
        yield self.with_stream, window

    def with_stream(self):
        """Return a gateway with an open stream of id 1."""
        side = negotiated_gateway()
        side.open()
        side.hear(with_id(0x02, 1, b"\x00"))
        return side

    def test_as_many_as_a_second_allows_are_passed_over(self):
        """For as long as they come."""
        for make, frame in self.kinds():
            side = make()
            for _ in range(100):
                side.hear(frame * (USELESS_A_SECOND // 10))
                side.now += 0.1
                side.said()
            self.assertIsNone(side.fault, frame)

    def test_more_end_the_link_and_say_why(self):
        for make, frame in self.kinds():
            side = make()
            side.hear(frame * (USELESS_AT_ONCE + 100))
            self.assertEqual(side.fault and side.fault.kind, "useless", frame)
            self.assertIn("more than 1000 frames a second without use", str(side.fault))
            if side.session.negotiated:
                kind, payload = side.said()[-1]
                self.assertEqual((kind, payload[0]), (0x17, 3))

    def test_what_comes_late_is_nobodys_fault(self):
        """Megabytes may be on their way when a stream is reset."""
        side = self.with_stream()
        side.rules.reset(side.core.streams[1], 0, "test")
        side.hear(with_id(0x03, 1, b"x") * 50_000)
        self.assertIsNone(side.fault)
        self.assertEqual(side.core.counts["late_data"], 50_000)

    def test_empty_data_between_useful_data_counts(self):
        side = self.with_stream()
        side.hear((with_id(0x03, 1, b"x") + with_id(0x03, 1)) * 5000)
        self.assertEqual(side.fault and side.fault.kind, "useless")

    def test_the_allowance_fills_up_and_not_beyond(self):
        useless = UselessFrames()
        self.assertTrue(all(useless.allow(0.0) for _ in range(USELESS_AT_ONCE)))
        self.assertFalse(useless.allow(0.0))
        useless = UselessFrames()
        self.assertTrue(all(useless.allow(1e6) for _ in range(USELESS_AT_ONCE)))
        self.assertFalse(useless.allow(1e6))


class FirstWordsTests(SynchronousTestCase):
    """Nobody says much before it is known who they are."""

    def test_a_handful_of_frames_is_heard(self):
        for side in (Side(gateway=True), Side(gateway=True, allow_legacy=False)):
            side.hear(raw_frame(0x7F) * FIRST_FRAMES)
            self.assertIsNone(side.fault)
            side.hear(raw_frame(0x7F))
            self.assertEqual(side.fault and side.fault.kind, "crowded")

    def test_so_many_that_one_read_brings_cost_no_more(self):
        """The frames behind the handful are not looked at."""
        side = Side(gateway=True)
        side.hear(raw_frame(0x7F) * 40_000)
        self.assertEqual(side.core.counts["unknown_kind"], FIRST_FRAMES)
        self.assertEqual(side.fault and side.fault.kind, "crowded")

    def test_a_handful_of_bytes_is_heard(self):
        side = Side(gateway=True)
        for _ in range(4):
            side.hear(raw_frame(0x7F, bytes(FIRST_BYTES // 4)))
        self.assertEqual(side.fault and side.fault.kind, "crowded")

    def test_a_frame_has_8_kib_at_most(self):
        side = Side(gateway=True)
        side.hear(raw_frame(0x7F, bytes(8192)))
        self.assertIsNone(side.fault)
        for one in (side, Side(gateway=False)):
            one.hear(raw_frame(0x7F, length=8193))
            self.assertIn("payload of 8193 bytes, limit is 8192", str(one.fault))

    def test_what_follows_the_decision_in_one_read_has_other_limits(self):
        """Large Data right behind HELLO_ACK, and thousands of frames."""
        side = Side(gateway=False)
        side.session.greet(a_hello())
        side.hear(
            ack_frame(),
            raw_frame(0x14, open_payload(1)),
            with_id(0x03, 1, bytes(20_000)),
            raw_frame(0x7F) * 100,
        )
        self.assertIsNone(side.fault)
        self.assertEqual(len(side.observer.ends[0].received), 20_000)

    def test_nothing_is_kept_after_the_end(self):
        side = negotiated_gateway()
        side.hear(raw_frame(0x15, bytes(4000))[:3000])
        self.assertEqual(side.session.kept_bytes, 3000)
        side.session.end()
        self.assertEqual(side.session.kept_bytes, 0)


class KeepAliveTests(SynchronousTestCase):
    """Thousands of keep-alives."""

    def _said_to(self, side, number):
        """Return what is said to so many keep-alives in ten seconds."""
        chunk = KEEP_ALIVE * (number // 100)
        for _ in range(100):
            side.hear(chunk)
            side.now += 0.1
        self.assertFalse(side.session.ended)
        return side.said()

    def test_thousands_are_answered_once_a_second(self):
        """The rest is counted."""
        side = negotiated_gateway()
        self.assertEqual(self._said_to(side, 10_000), [(0x05, b"")] * 10)
        self.assertEqual(side.core.counts["keep_alive"], 10_000 - 10)

    def test_a_legacy_agent_gets_one_answer_a_second(self):
        """The same rule."""
        self.assertEqual(self._said_to(legacy_gateway(), 10_000), [(0x05, b"")] * 10)

    def test_an_agent_answers_none(self):
        """So that two ends never echo each other."""
        for side in (negotiated_agent(), legacy_agent()):
            self.assertEqual(self._said_to(side, 10_000), [])

    def test_memory_stays_as_it_is(self):
        """On every kind of link."""
        for make in (negotiated_gateway, legacy_gateway, negotiated_agent):
            side = make()
            self._said_to(side, 1000)
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            self._said_to(side, 10_000)
            kept = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            self.assertLess(kept, 5000)

    def test_a_gateway_originates_none(self):
        """Whatever the time."""
        for side in (negotiated_gateway(), legacy_gateway()):
            for _ in range(60):
                side.hear(raw_frame(0x7F))
                side.later(5)
            self.assertNotIn(0x05, [kind for kind, _ in side.said()])
