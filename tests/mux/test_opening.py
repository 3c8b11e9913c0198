"""How a link finds out what it speaks."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.legacy import Legacy
from gateway.wire.hello import HelloAck
from tests.mux.doubles import (
    INSTANCE,
    MAX_FRAME,
    WINDOW,
    Side,
    a_hello,
    ack_frame,
    an_ack,
    hello_frame,
    legacy_gateway,
    negotiated_gateway,
)
from tests.strategies import cuts, json_frame, raw_frame, with_id
from tests.wire.golden import frame_bytes

KEEP_ALIVE = raw_frame(0x05)
PING = raw_frame(0x1A, bytes(9))
DATA = with_id(0x03, 5, b"abc")
REQUEST = with_id(0x01, 5, b"\x00\x50")


def an_agent(**settings):
    """An agent that has said HELLO."""
    side = Side(gateway=False, **settings)
    side.session.greet(a_hello())
    side.said()
    return side


def refusal_of(side):
    """Return the error text of the one frame said, a HELLO_ACK."""
    [(kind, payload)] = side.said()
    if kind != 0x11:
        raise AssertionError(f"{kind:#x} said")
    return json.loads(payload)["error"]


class AgentTests(SynchronousTestCase):
    """An agent decides by the first frame that it receives."""

    def test_hello_is_said_first(self):
        """With everything that the gateway needs to know."""
        side = Side(gateway=False)
        side.session.greet(a_hello(agent="office", token="secret", link=3))
        [(kind, payload)] = side.said()
        self.assertEqual(kind, 0x10)
        wanted = {
            "agent": "office",
            "instance": INSTANCE,
            "link": 3,
            "token": "secret",
            "features": [],
            "window": WINDOW,
            "max_frame": MAX_FRAME,
            "software": "",
        }
        self.assertEqual(json.loads(payload), wanted)

    def test_nothing_overtakes_hello(self):
        """Not even a keep-alive, if the link takes nothing for a while."""
        side = Side(gateway=False)
        side.session.greet(a_hello())
        side.later(15)
        self.assertEqual([kind for kind, _ in side.said()], [0x10, 0x05])

    def test_hello_ack_means_negotiated(self):
        """With the gateway's numbers."""
        side = an_agent()
        side.hear(ack_frame(heartbeat=7, window=16384, max_frame=4100))
        self.assertTrue(side.session.negotiated)
        self.assertEqual(side.observer.names(), ["decided"])
        self.assertEqual(side.observer.last("decided").heartbeat, 7.0)
        self.assertEqual(side.session.liveness.interval, 7.0)
        side.hear(frame_bytes("open"))
        stream = side.observer.ends[0].stream
        self.assertEqual(stream.sending.left, 16384)
        self.assertEqual(stream.sending.frame_limit, 4096)
        self.assertEqual(stream.receiving.unspent, WINDOW)

    def test_hello_ack_with_an_error_ends_the_link(self):
        """The owner is told why."""
        side = an_agent()
        side.hear(json_frame(0x11, session="", error="no"), REQUEST)
        self.assertEqual(side.observer.calls, [("refused", "no")])
        self.assertTrue(side.session.ended)
        self.assertEqual((side.said(), side.observer.ends), ([], []))

    def test_goaway_decides_nothing_and_ends_the_link(self):
        """For whatever reason it is said."""
        for reason in range(5):
            side = an_agent()
            side.hear(raw_frame(0x17, bytes((reason,)) + b"bye"), REQUEST)
            self.assertIsNone(side.session.rules)
            self.assertEqual(side.observer.names(), ["goodbye_received"])
            self.assertEqual(side.observer.last("goodbye_received"), (reason, "bye"))
            self.assertTrue(side.session.ended)
            self.assertEqual(side.said(), [])

    def test_auth_decides_nothing(self):
        """It was not asked for, and HELLO_ACK may follow."""
        side = an_agent()
        side.hear(raw_frame(0x19, b"n,,n=,r=nonce"))
        self.assertEqual((side.session.rules, side.observer.calls), (None, []))
        side.hear(ack_frame())
        self.assertTrue(side.session.negotiated)

    def test_anything_else_means_legacy(self):
        """And is acted on at once."""
        for kind in (0x01, 0x02, 0x03, 0x04, 0x05, 0x10, 0x12, 0x14, 0x1A, 0x7F):
            side = an_agent()
            side.hear(raw_frame(kind, b"\x00\x00\x00\x05\x00\x50"))
            self.assertIsInstance(side.session.rules, Legacy, hex(kind))
            self.assertEqual(side.observer.calls, [("decided", None)])
            self.assertEqual(len(side.observer.ends), int(kind == 0x01))

    def test_a_legacy_link_has_45_seconds(self):
        """Whatever interval the agent has."""
        side = an_agent(heartbeat_seconds=5.0)
        side.hear(KEEP_ALIVE)
        self.assertEqual(side.session.liveness.dead_seconds, 45.0)

    def test_hello_ack_after_a_legacy_decision_ends_the_link(self):
        """A gateway that changes its mind cannot be followed."""
        side = an_agent()
        side.hear(KEEP_ALIVE, ack_frame())
        self.assertEqual(side.fault and side.fault.kind, "late_hello")
        self.assertEqual(side.said(), [])

    def test_time_decides_nothing(self):
        """Keep-alives go out; three intervals of silence are the end."""
        side = an_agent(heartbeat_seconds=10.0)
        self.assertEqual(side.session.next_tick(), side.now + 10)
        self.assertIsNone(side.later(10))
        self.assertEqual(side.said(), [(0x05, b"")])
        self.assertIsNone(side.later(19.9))
        self.assertIsNone(side.session.rules)
        fault = side.later(0.1)
        self.assertEqual(fault, "nothing heard for 30 seconds")

    def test_a_hello_ack_that_cannot_be_read_ends_the_link(self):
        """Without a word: nothing was agreed on."""
        for payload in (b"", b"{", b'{"window":1}'):
            side = an_agent()
            side.hear(raw_frame(0x11, payload))
            self.assertEqual(side.fault and side.fault.kind, "payload")
            self.assertEqual(side.said(), [])

    def test_frames_behind_hello_ack_are_negotiated(self):
        """Though they came in one piece."""
        side = an_agent()
        side.hear(ack_frame(), frame_bytes("open"), frame_bytes("data"))
        [end] = side.observer.ends
        self.assertEqual(end.events, ["requested", "deliver"])

    def test_an_owner_that_gives_up_stops_it(self):
        """What follows in the same piece is not looked at."""
        side = an_agent()
        self.patch(side.observer, "decided", lambda ack: side.session.end())
        side.hear(REQUEST)
        self.assertEqual(side.observer.ends, [])


AUTH = raw_frame(0x19, b"a message")


class AgentProofTests(SynchronousTestCase):
    """An agent that announced a proof takes nothing before the gateway's."""

    def setUp(self):
        self.side = Side(gateway=False)
        self.side.session.greet(a_hello(auth="scram-sha-256"))
        self.side.session.authenticate("first")

    def test_it_is_said_right_behind_hello(self):
        self.assertEqual(
            [(kind, payload[:5]) for kind, payload in self.side.said()],
            [(0x10, b'{"age'), (0x19, b"first")],
        )

    def test_messages_are_passed_on_and_then_the_link_is_taken(self):
        self.side.hear(AUTH)
        self.assertEqual(self.side.observer.last("auth_received"), "a message")
        self.side.session.proven = True
        self.side.hear(ack_frame())
        self.assertTrue(self.side.session.negotiated)

    def test_a_gateway_that_proves_nothing_is_left(self):
        self.side.hear(ack_frame())
        self.assertIn("without proving", str(self.side.fault))
        self.assertFalse(self.side.session.negotiated)

    def test_a_gateway_of_the_plain_protocol_is_left(self):
        self.side.hear(KEEP_ALIVE)
        self.assertIn("does not ask for our proof", str(self.side.fault))

    def test_a_refusal_is_taken(self):
        self.side.hear(json_frame(0x11, error="authentication failed"))
        self.assertEqual(self.side.observer.last("refused"), "authentication failed")

    def test_more_messages_than_a_proof_takes(self):
        self.side.hear(AUTH, AUTH)
        self.assertIsNone(self.side.fault)
        self.side.hear(AUTH)
        self.assertIn("more AUTH frames", str(self.side.fault))


class GatewayProofTests(SynchronousTestCase):
    """A gateway takes AUTH where HELLO announced it."""

    def test_messages_are_passed_on_until_it_is_decided(self):
        side = Side(gateway=True)
        side.hear(hello_frame(auth="scram-sha-256"), AUTH)
        self.assertEqual(side.observer.last("auth_received"), "a message")
        side.session.authenticate("answer")
        side.session.accept(an_ack())
        self.assertEqual([kind for kind, _ in side.said()][:2], [0x19, 0x11])
        side.hear(AUTH)
        self.assertIsNone(side.fault)
        self.assertEqual(side.core.counts, {"unknown_kind": 1})

    def test_without_an_announcement_it_is_out_of_place(self):
        side = Side(gateway=True)
        side.hear(hello_frame(), AUTH)
        self.assertIn("between HELLO and HELLO_ACK", str(side.fault))

    def test_malformed_and_too_many(self):
        for frames in (
            [raw_frame(0x19, b"\xff")],
            [raw_frame(0x19, b"a" * 1025)],
            [AUTH] * 3,
        ):
            side = Side(gateway=True)
            side.hear(hello_frame(auth="scram-sha-256"), *frames)
            self.assertIsNotNone(side.fault)


class GatewayTests(SynchronousTestCase):
    """A gateway decides by the first frame, or by silence."""

    def test_hello_is_reported_and_accepted(self):
        """The agent's numbers hold from then on."""
        side = Side(gateway=True, answer=an_ack(heartbeat=7.0))
        side.hear(hello_frame(agent="office", window=16384, max_frame=4100))
        self.assertEqual(side.observer.names(), ["hello_received", "decided"])
        self.assertEqual(side.observer.last("hello_received").agent, "office")
        [(kind, payload), _] = side.said()
        self.assertEqual((kind, json.loads(payload)["window"]), (0x11, WINDOW))
        self.assertTrue(side.session.negotiated)
        self.assertEqual(side.session.liveness.interval, 7.0)
        end = side.open()
        self.assertEqual(end.stream.sending.left, 16384)
        self.assertEqual(end.stream.sending.frame_limit, 4096)

    def test_the_answer_to_hello_is_the_first_frame(self):
        """Though the owner opens streams at once; else the agent would go legacy."""
        side = Side(gateway=True, answer=an_ack())
        self.patch(side.observer, "decided", lambda ack: side.open())
        side.hear(hello_frame(), KEEP_ALIVE)
        self.assertEqual([kind for kind, _ in side.said()], [0x11, 0x1A, 0x14, 0x05])

    def test_a_refusal_ends_the_link(self):
        """The error is the last word."""
        side = Side(gateway=True, answer="Authentication failed")
        side.hear(hello_frame(), DATA)
        self.assertEqual(refusal_of(side), "Authentication failed")
        self.assertTrue(side.session.ended)
        self.assertIsNone(side.session.rules)
        side.session.refuse("again")
        side.session.accept(an_ack())
        self.assertEqual(side.said(), [])

    def test_the_answer_may_take_its_time(self):
        """Keep-alives are passed over meanwhile, and nothing is said."""
        side = Side(gateway=True)
        side.hear(hello_frame(), KEEP_ALIVE, KEEP_ALIVE)
        self.assertIsNone(side.later(4.9))
        self.assertEqual(side.said(), [])
        self.assertEqual(side.core.counts, {"before_hello_ack": 2})
        side.session.accept(an_ack())
        self.assertEqual([kind for kind, _ in side.said()], [0x11, 0x1A])
        self.assertTrue(side.session.negotiated)

    def test_nothing_may_come_between_hello_and_its_answer(self):
        """Data, requests, even what is allowed later."""
        for frame in (DATA, PING, with_id(0x02, 1, b"\x00"), raw_frame(0x7F)):
            side = Side(gateway=True)
            side.hear(hello_frame(), frame)
            self.assertEqual(side.fault and side.fault.kind, "misplaced")
            self.assertEqual(side.said(), [])

    def test_accepting_without_a_hello_is_nothing(self):
        """There is nobody to accept."""
        side = Side(gateway=True)
        side.session.accept(an_ack())
        self.assertEqual((side.said(), side.session.rules), ([], None))

    def test_a_frame_of_the_plain_protocol_means_legacy(self):
        """It is acted on at once."""
        for kind in (0x01, 0x02, 0x03, 0x04, 0x05):
            side = Side(gateway=True)
            side.hear(raw_frame(kind, b"\x00\x00\x00\x05\x00" if kind != 5 else b""))
            self.assertIsInstance(side.session.rules, Legacy)
            self.assertEqual(side.observer.calls, [("decided", None)])
            said = {0x02: [0x04], 0x03: [0x04], 0x05: [0x05]}.get(kind, [])
            self.assertEqual([found for found, _ in side.said()], said)

    def test_an_owner_that_gives_up_stops_it(self):
        """The frame that decided is not acted on."""
        side = Side(gateway=True)
        self.patch(side.observer, "decided", lambda ack: side.session.end())
        side.hear(DATA)
        self.assertEqual(side.said(), [])

    def test_unknown_kinds_decide_nothing(self):
        """They are dropped and counted."""
        side = Side(gateway=True)
        side.hear(raw_frame(0x7F), raw_frame(0x12, bytes(4)), raw_frame(0x19))
        self.assertIsNone(side.session.rules)
        self.assertEqual(side.core.counts, {"unknown_kind": 3})

    def test_two_seconds_of_silence_mean_legacy(self):
        """Not a moment earlier."""
        side = Side(gateway=True)
        self.assertEqual(side.session.next_tick(), side.now + 2)
        self.assertIsNone(side.later(1.99))
        self.assertIsNone(side.session.rules)
        self.assertIsNone(side.later(0.01))
        self.assertEqual(side.observer.calls, [("decided", None)])
        self.assertEqual(side.said(), [])
        self.assertEqual(side.session.liveness.dead_seconds, 45.0)
        self.assertEqual(side.session.next_tick(), side.now + 13)

    def test_a_hello_after_silence_is_accepted(self):
        """If it is the first frame and nothing was said."""
        side = Side(gateway=True, answer=an_ack())
        side.later(2)
        side.later(28)
        side.hear(hello_frame())
        self.assertEqual(
            side.observer.names(), ["decided", "hello_received", "decided"]
        )
        self.assertTrue(side.session.negotiated)
        self.assertEqual(side.session.liveness.dead_seconds, 45.0)
        self.assertEqual([kind for kind, _ in side.said()], [0x11, 0x1A])

    def test_a_late_hello_has_its_own_patience(self):
        """The time for its answer starts when it arrives."""
        side = Side(gateway=True)
        side.later(2)
        side.later(28)
        side.hear(hello_frame())
        self.assertEqual(side.session.next_tick(), side.now + 5)
        self.assertIsNone(side.later(4.9))
        side.session.accept(an_ack())
        self.assertTrue(side.session.negotiated)

    def test_a_hello_after_something_was_said_is_too_late(self):
        """Whether it has left already or not."""
        for sent in (True, False):
            side = Side(gateway=True, answer=an_ack())
            side.later(2)
            end = side.open()
            if sent:
                side.said()
            side.hear(hello_frame())
            said = side.said()
            self.assertEqual(said[-1][0], 0x11)
            self.assertIn("error", json.loads(said[-1][1]))
            self.assertEqual(side.fault and side.fault.kind, "hello")
            self.assertEqual(side.core.counts["fault_hello"], 1)
            self.assertEqual(end.events, ["ended"])

    def test_a_hello_after_another_frame_is_too_late(self):
        """It is answered, and the link ends."""
        for first in (KEEP_ALIVE, DATA, raw_frame(0x7F)):
            side = Side(gateway=True, answer=an_ack())
            side.hear(first)
            side.said()
            side.hear(hello_frame())
            self.assertIn("first frame", refusal_of(side))
            self.assertTrue(side.session.ended)

    def test_a_second_hello_ends_the_link(self):
        """Before and after the answer to the first."""
        side = negotiated_gateway()
        end = side.open()
        side.said()
        side.hear(hello_frame())
        self.assertIn("only once", refusal_of(side))
        self.assertEqual(side.fault and side.fault.kind, "hello")
        self.assertEqual(end.events, ["ended"])
        side = Side(gateway=True)
        side.hear(hello_frame(), hello_frame())
        self.assertIn("only once", refusal_of(side))

    def test_a_hello_that_cannot_be_read_is_refused(self):
        """The answer names the key, the value and the limit."""
        for payload, words in (
            (b"", "not JSON"),
            (b"hello", "not JSON"),
            (b"[]", "not a JSON object"),
            (b"{}", "instance"),
            (b'{"instance":"short"}', "instance: 'short'"),
            (b'{"instance":"0123456789abcdef","window":16383}', "16384"),
            (b'{"instance":"0123456789abcdef","max_frame":4099}', "4100"),
            (b'{"instance":"0123456789abcdef","agent":"a b"}', "agent"),
            (b" " * 4097, "4096 at most"),
        ):
            side = Side(gateway=True, answer=an_ack())
            side.hear(raw_frame(0x10, payload))
            self.assertIn(words, refusal_of(side))
            self.assertTrue(side.session.ended)
            self.assertEqual(side.observer.names(), ["failed"])
            self.assertEqual(side.core.counts, {"fault_hello": 1})

    def test_a_token_is_not_repeated(self):
        """Not even a bad one."""
        side = Side(gateway=True, answer=an_ack())
        side.hear(hello_frame(token=["swordfish"]))
        self.assertNotIn("swordfish", refusal_of(side))
        self.assertNotIn("swordfish", str(side.fault))

    @given(st.data())
    def test_any_cut_gives_the_same_opening(self, data):
        """Chunk borders are invisible."""
        stream = hello_frame() + PING + frame_bytes("connect_response_success")
        side = Side(gateway=True, answer=an_ack())
        for chunk in data.draw(cuts(stream)):
            side.hear(chunk)
        self.assertEqual([kind for kind, _ in side.said()], [0x11, 0x1A, 0x1A, 0x18])


class StrictGatewayTests(SynchronousTestCase):
    """A gateway that takes no legacy peers."""

    def test_the_plain_protocol_is_refused(self):
        """Without an answer."""
        for frame in (KEEP_ALIVE, DATA, REQUEST):
            side = Side(gateway=True, allow_legacy=False)
            side.hear(frame)
            self.assertEqual(side.fault and side.fault.kind, "no_hello")
            self.assertEqual(side.said(), [])
            self.assertEqual(side.core.counts["fault_no_hello"], 1)

    def test_five_seconds_without_hello_are_the_end(self):
        """Silence decides nothing."""
        side = Side(gateway=True, allow_legacy=False)
        self.assertEqual(side.session.next_tick(), side.now + 5)
        self.assertIsNone(side.later(4.99))
        self.assertEqual(side.later(0.01), "no HELLO within 5 seconds")
        self.assertEqual(side.observer.calls, [])

    def test_the_patience_can_be_set(self):
        """By the operator."""
        side = Side(gateway=True, allow_legacy=False, hello_seconds=1.5)
        self.assertIsNone(side.later(1.4))
        self.assertEqual(side.later(0.1), "no HELLO within 1.5 seconds")

    def test_unknown_frames_buy_no_time(self):
        """They are not a HELLO."""
        side = Side(gateway=True, allow_legacy=False)
        side.now += 4
        side.hear(raw_frame(0x7F))
        self.assertEqual(side.later(1), "no HELLO within 5 seconds")

    def test_half_a_hello_buys_no_time(self):
        """The rest must come in time."""
        side = Side(gateway=True, allow_legacy=False)
        side.hear(hello_frame()[:-1])
        self.assertEqual(side.later(5), "no HELLO within 5 seconds")

    def test_a_hello_that_nobody_answers_ends_too(self):
        """The owner has the same time to make up its mind."""
        for allow_legacy in (True, False):
            side = Side(gateway=True, allow_legacy=allow_legacy)
            side.hear(hello_frame())
            self.assertIsNone(side.later(4.99))
            self.assertEqual(side.later(0.01), "HELLO not answered within 5 seconds")

    def test_a_hello_in_time_is_accepted(self):
        """As by any gateway."""
        side = Side(gateway=True, allow_legacy=False, answer=an_ack())
        side.later(4.9)
        side.hear(hello_frame())
        self.assertTrue(side.session.negotiated)
        self.assertIsNone(side.later(10))


class DeathTests(SynchronousTestCase):
    """Links that say nothing any more."""

    def test_a_negotiated_link_dies_after_three_intervals(self):
        """Both ends count by the gateway's interval."""
        side = Side(gateway=True, answer=an_ack(heartbeat=2.0))
        side.hear(hello_frame())
        self.assertIsNone(side.later(5.9))
        self.assertEqual(side.later(0.1), "nothing heard for 6 seconds")

    def test_a_legacy_link_dies_after_45_seconds(self):
        """Or three intervals, if they are longer."""
        for heartbeat, seconds in ((5.0, 43), (20.0, 58)):
            side = legacy_gateway(heartbeat_seconds=heartbeat)
            self.assertIsNone(side.later(seconds - 0.1))
            self.assertEqual(
                side.later(0.1), f"nothing heard for {seconds + 2} seconds"
            )

    def test_an_ended_session_has_no_time(self):
        """Nothing is due any more."""
        side = negotiated_gateway()
        side.session.end()
        self.assertIsNone(side.later(1000))
        self.assertEqual(side.said(), [])

    def test_any_byte_keeps_a_link_alive(self):
        """Even a part of a frame."""
        side = negotiated_gateway()
        for _ in range(100):
            side.hear(b"")
            self.assertIsNone(side.later(40))
        self.assertFalse(side.session.ended)

    def test_a_refusal_has_no_other_fields(self):
        """So nothing can be read into it."""
        side = Side(gateway=True)
        side.hear(hello_frame())
        side.session.refuse("no")
        [(_, payload)] = side.said()
        self.assertEqual(json.loads(payload), {"session": "", "error": "no"})
        self.assertEqual(HelloAck(error="no").error, "no")
