"""Peers that send as fast as they can and read nothing."""

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from gateway.wire.hello import RegisterAck
from tests.mux.doubles import (
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
)
from tests.strategies import json_frame, raw_frame, with_id

PING = raw_frame(0x1A, bytes(9))
KEEP_ALIVE = raw_frame(0x05)


def waiting(side):
    """Return the bytes that wait to be sent; they are gone then."""
    return sum(map(len, side.session.take()))


class FloodTests(SynchronousTestCase):
    """At most 1 MiB of control frames waits for a link."""

    def assert_ends(self, side, frame):
        """Feed the frame until the session gives up, and see that it does."""
        chunk = frame * (65536 // len(frame))
        for _ in range(200):
            if side.session.ended:
                break
            side.hear(chunk)
        self.assertEqual(side.fault and side.fault.kind, "flood")
        self.assertLess(waiting(side), (1 << 20) + 3 * 65536)

    def test_a_flood_of_pings_ends_the_link(self):
        """They are answered one by one, so somebody must read."""
        self.assert_ends(negotiated_gateway(), PING)

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

    def test_a_flood_of_late_answers_ends_a_legacy_link(self):
        """Each success for an unknown stream is answered by Close."""
        self.assert_ends(legacy_gateway(), with_id(0x02, 9, b"\x00"))

    def test_a_flood_of_early_data_is_bounded(self):
        """A stream that is not open is closed by it, once."""
        side = legacy_agent()
        for number in range(1000):
            side.hear(with_id(0x01, number, b"\x00\x50") + with_id(0x03, number, b"x"))
        self.assertEqual(len(side.core.streams), 0)
        self.assertEqual(waiting(side), 1000 * 10)

    def test_what_was_read_is_no_flood(self):
        """A busy link that is drained may answer any number of pings."""
        side = negotiated_gateway()
        for _ in range(30):
            side.hear(PING * 4000)
            self.assertEqual(waiting(side), 4000 * 15)
        self.assertIsNone(side.fault)


class KeepAliveTests(SynchronousTestCase):
    """A million keep-alives."""

    def _said_to(self, side, number):
        """Return what is said to so many keep-alives in ten seconds."""
        chunk = KEEP_ALIVE * (number // 100)
        for _ in range(100):
            side.hear(chunk)
            side.now += 0.1
        self.assertFalse(side.session.ended)
        return side.said()

    def test_a_million_are_answered_once_a_second(self):
        """The rest is counted."""
        side = negotiated_gateway()
        self.assertEqual(self._said_to(side, 1_000_000), [(0x05, b"")] * 10)
        self.assertEqual(side.core.counts["keep_alive"], 1_000_000 - 10)

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
            self._said_to(side, 50_000)
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
