"""Link matters: keep-alives, round trips, registrations, counters."""

import json

from twisted.trial.unittest import SynchronousTestCase

from gateway.wire.hello import Register, RegisterAck
from tests.mux.doubles import (
    Side,
    a_hello,
    ack_frame,
    an_ack,
    hello_frame,
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
)
from tests.strategies import json_frame, raw_frame, with_id

NONCE = b"\x00\x00\x00\x00\x00\x00\x00\x02"  # of the first one after the opening


class RoundTripTests(SynchronousTestCase):
    """PING, from either end."""

    def test_a_question_is_answered_at_once(self):
        """With the same nonce, before waiting data."""
        for side in (negotiated_gateway(), negotiated_agent()):
            side.hear(raw_frame(0x1A, b"\x00abcdefgh"))
            self.assertEqual(side.said(), [(0x1A, b"\x01abcdefgh")])

    def test_an_interval_brings_a_keep_alive_and_a_question(self):
        """The agent sends both, the gateway only asks."""
        for side, said in (
            (negotiated_agent(), [(0x05, b""), (0x1A, b"\x00" + NONCE)]),
            (negotiated_gateway(), [(0x1A, b"\x00" + NONCE)]),
        ):
            self.assertEqual(side.session.next_tick(), side.now + 15)
            self.assertIsNone(side.later(14.9))
            self.assertEqual(side.said(), [])
            self.assertIsNone(side.later(0.1))
            self.assertEqual(side.said(), said)

    def test_an_answer_tells_the_round_trip(self):
        """And the next interval asks again."""
        side = negotiated_gateway()
        side.later(15)
        side.said()
        side.now += 0.25
        side.hear(raw_frame(0x1A, b"\x01" + NONCE))
        self.assertEqual(side.session.liveness.rtt_seconds, 0.25)
        side.later(15)
        self.assertEqual(len(side.said()), 1)

    def test_one_question_is_outstanding(self):
        """However long the answer takes."""
        side = negotiated_gateway()
        for _ in range(5):
            side.later(15)
            side.hear(raw_frame(0x05))
        kinds = [kind for kind, _ in side.said()]
        self.assertEqual(kinds.count(0x1A), 1)

    def test_an_answer_to_nothing_is_dropped(self):
        """A wrong nonce, no question, or neither question nor answer."""
        side = negotiated_gateway()
        side.hear(raw_frame(0x1A, b"\x01" + NONCE))
        side.later(15)
        side.said()
        side.hear(raw_frame(0x1A, b"\x01otherone"))
        side.hear(raw_frame(0x1A, b"\x07" + NONCE))
        self.assertEqual(side.core.counts, {"ping_answer": 3})
        self.assertEqual(side.session.liveness.rtt_seconds, 0.0)  # the opening's
        self.assertEqual(side.said(), [])

    def test_the_round_trip_is_asked_for_when_the_link_is_decided(self):
        """Before traffic makes it longer than the path is."""
        for side in (
            Side(gateway=True, answer=an_ack()),
            Side(gateway=False),
        ):
            if side.core.settings.roles.opens:
                side.hear(hello_frame())
            else:
                side.session.greet(a_hello())
                side.said()
                side.hear(ack_frame())
            [question] = [found for found in side.said() if found[0] == 0x1A]
            self.assertEqual(question[1][:1], b"\x00")
            side.now += 0.03
            side.hear(raw_frame(0x1A, b"\x01" + question[1][1:]))
            self.assertAlmostEqual(side.core.round_trip, 0.03)

    def test_a_legacy_link_is_not_asked(self):
        """Its agent sends keep-alives, its gateway nothing."""
        side = legacy_agent()
        side.later(15)
        self.assertEqual(side.said(), [(0x05, b"")])
        side = legacy_gateway()
        side.later(15)
        self.assertEqual(side.said(), [])

    def test_a_silent_stream_lives_for_ever(self):
        """An hour without a byte, on a link that is alive."""
        side = negotiated_gateway()
        end = side.open()
        side.hear(with_id(0x02, 1, b"\x00"))
        for _ in range(240):
            self.assertIsNone(side.later(15))
            side.hear(raw_frame(0x05))
        self.assertIsNone(end.ending)
        side.hear(with_id(0x03, 1, b"still here"))
        self.assertEqual(bytes(end.received), b"still here")


class RegistrationTests(SynchronousTestCase):
    """REGISTER and REGISTER_ACK."""

    def test_a_wish_and_its_answer_go_both_ways(self):
        """The owners see values."""
        agent, gateway = negotiated_agent(), negotiated_gateway()
        wish = Register(id="web", port=0, host="127.0.0.1", local=8080)
        agent.session.register(wish)
        gateway.hear(*agent.session.take())
        self.assertEqual(gateway.observer.calls, [("register_received", wish)])
        ack = RegisterAck(id="web", public_url="tcp://gw:10080", port=10080)
        gateway.session.answer_registration(ack)
        agent.hear(*gateway.session.take())
        self.assertEqual(agent.observer.calls, [("register_answered", ack)])

    def test_an_ended_gateway_answers_no_more(self):
        """Its answer may have taken a while."""
        side = negotiated_gateway()
        side.session.end()
        side.session.answer_registration(RegisterAck(id="web"))
        self.assertEqual(side.said(), [])

    def test_a_wish_that_cannot_be_read_ends_the_link(self):
        """As any payload of a wrong form does."""
        side = negotiated_gateway()
        side.hear(json_frame(0x15, id="web", local=0))
        self.assertEqual(side.fault and side.fault.kind, "payload")
        side = negotiated_agent()
        side.hear(json_frame(0x16, id="web", port=-1))
        self.assertEqual(side.fault and side.fault.kind, "payload")


class CounterTests(SynchronousTestCase):
    """What a session counts."""

    def test_bytes_are_counted_with_their_headers(self):
        """In both directions."""
        side = negotiated_gateway()
        before = side.session.received_bytes
        side.hear(raw_frame(0x1A, bytes(9)))
        self.assertEqual(side.session.received_bytes - before, 15)
        before = side.core.outbox.sent_bytes
        side.said()
        self.assertEqual(side.core.outbox.sent_bytes - before, 15)

    def test_a_valid_frame_is_noticed(self):
        """Half of one is not; a port scan says nothing."""
        side = legacy_gateway()
        side.hear(raw_frame(0x05)[:5])
        self.assertFalse(side.session.spoken)
        side.hear(b"\x00")
        self.assertTrue(side.session.spoken)
        side = legacy_gateway()
        side.hear(with_id(0x03, 1, b"data"))
        self.assertTrue(side.session.spoken)
        side = legacy_gateway()
        side.hear(b"GET / HTTP/1.1\r\n\r\n")
        self.assertFalse(side.session.spoken)

    def test_live_streams_can_be_looked_up(self):
        """By the id of the wire."""
        side = negotiated_gateway()
        end = side.open()
        self.assertIs(side.core.streams[1], end.stream)
        self.assertNotIn(2, side.core.streams)

    def test_frames_longer_than_agreed_are_refused(self):
        """But the longest JSON always fits."""
        for max_frame, longest in ((4100, 4608), (32768, 32768)):
            side = negotiated_gateway(max_frame=max_frame)
            side.hear(raw_frame(0x7F, bytes(longest)))
            self.assertIsNone(side.fault)
            side.hear(raw_frame(0x7F, length=longest + 1))
            self.assertEqual(side.fault and side.fault.kind, "too_large")

    def test_an_answer_in_json_is_whole(self):
        """REGISTER_ACK with an error has no port."""
        side = negotiated_gateway()
        side.session.answer_registration(RegisterAck(id="w", error="no"))
        [(_, payload)] = side.said()
        wanted = {"id": "w", "public_url": "", "port": 0, "error": "no"}
        self.assertEqual(json.loads(payload), wanted)
