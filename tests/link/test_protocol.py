"""A link and its transport: admission, fullness, time, and the ways it ends."""

from twisted.internet.address import IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import ProtocolError
from gateway.mux.core import SessionSettings
from gateway.mux.roles import GATEWAY
from gateway.mux.session import Session
from gateway.wire import frames
from gateway.wire.hello import Register, RegisterAck
from gateway.wire.messages import decode_connect_request
from tests.link.rig import (
    KEEP_ALIVE,
    LinkRig,
    Socket,
    answer,
    data,
    goaway,
    hello,
    hello_ack,
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
)
from tests.strategies import json_frame, raw_frame, with_id

PING_ANSWER = raw_frame(frames.PING, b"\x01" + b"\0" * 8)


class OpeningTests(SynchronousTestCase):
    """How a link is decided."""

    def test_a_hello_is_judged_by_the_owner_and_answered(self):
        rig = LinkRig(gateway=True)
        self.assertFalse(rig.link.usable)
        rig.far.says(hello(agent="web"))
        self.assertEqual([frames.HELLO_ACK], rig.far.kinds())
        self.assertEqual(["made", "hello", "decided"], rig.owner.names())
        self.assertTrue(rig.link.usable)
        self.assertTrue(rig.link.negotiated)
        self.assertFalse(rig.link.legacy)

    def test_an_agent_greets_and_is_told_that_the_link_is_up(self):
        rig = LinkRig(gateway=False)
        self.assertEqual([frames.HELLO], rig.far.kinds())
        rig.far.says(hello_ack())
        self.assertEqual(["made", "decided"], rig.owner.names())

    def test_an_undecided_link_has_no_rules(self):
        fault = self.assertRaises(
            ProtocolError, lambda: LinkRig(gateway=True).link.rules
        )
        self.assertEqual("undecided", fault.kind)

    def test_a_refused_agent_hears_why_before_the_close(self):
        rig = LinkRig(gateway=True)
        rig.owner.refusal = "not you"
        rig.far.says(hello(), KEEP_ALIVE)
        ((kind, payload),) = rig.far.heard()
        self.assertEqual(frames.HELLO_ACK, kind)
        self.assertIn(b"not you", payload)
        self.assertTrue(rig.transport.half_closed)
        self.assertFalse(rig.transport.aborted)
        self.assertEqual(["made", "hello", "lost"], rig.owner.names())

    def test_what_follows_a_refused_hello_is_dropped_until_the_close(self):
        rig = LinkRig(gateway=True)
        rig.owner.refusal = "not you"
        rig.far.says(hello())
        rig.far.heard()
        rig.far.says(b"\xff" * 1000)
        rig.far.says(hello())
        self.assertEqual([], rig.far.heard())
        self.later_aborts(rig)

    def later_aborts(self, rig):
        rig.later(4.75)
        self.assertFalse(rig.transport.aborted)
        rig.later(0.5)
        self.assertTrue(rig.transport.aborted)
        self.assertEqual(["lost", "closed"], rig.owner.names()[-2:])
        self.assertFalse(rig.clock.getDelayedCalls())

    def test_an_agent_that_is_refused_closes(self):
        rig = LinkRig(gateway=False)
        rig.far.says(hello_ack(error="not you"))
        self.assertEqual(["not you"], rig.owner.said("refused"))
        self.assertEqual(["refused: not you"], rig.owner.said("lost"))
        self.assertTrue(rig.transport.half_closed)

    def test_a_silent_peer_is_legacy_after_2_seconds(self):
        rig = LinkRig(gateway=True)
        rig.later(1.75)
        self.assertEqual([], rig.owner.said("decided"))
        rig.later(0.5)
        self.assertEqual([None], rig.owner.said("decided"))
        self.assertTrue(rig.link.legacy)

    def test_a_silent_peer_is_given_up_where_hello_is_asked_for(self):
        rig = LinkRig(gateway=True, allow_legacy=False)
        rig.later(4.75)
        self.assertFalse(rig.transport.aborted)
        rig.later(0.5)
        self.assertTrue(rig.transport.aborted)
        self.assertEqual(["no HELLO within 5 seconds"], rig.owner.said("failed"))
        self.assertEqual(["made", "failed", "lost", "closed"], rig.owner.names())

    def test_a_legacy_frame_ends_a_link_where_hello_is_asked_for(self):
        rig = LinkRig(gateway=True, allow_legacy=False)
        rig.far.says(KEEP_ALIVE)
        self.assertEqual(1, len(rig.owner.said("failed")))
        self.assertTrue(rig.transport.half_closed)

    def test_the_owner_hears_of_the_first_word_of_a_link_it_waits_for(self):
        rig = LinkRig(gateway=True)
        rig.later(2.5)
        rig.link.awaits_word = True
        rig.far.says(KEEP_ALIVE[:3])
        self.assertNotIn("spoke", rig.owner.names())
        rig.far.says(KEEP_ALIVE[3:])
        rig.far.says(KEEP_ALIVE)
        self.assertEqual(1, rig.owner.names().count("spoke"))

    def test_garbage_is_no_word(self):
        rig = LinkRig(gateway=True)
        rig.later(2.5)
        rig.link.awaits_word = True
        rig.far.says(b"GET / HTTP/1.0\r\n\r\n")
        self.assertNotIn("spoke", rig.owner.names())
        self.assertEqual(["failed", "lost"], rig.owner.names()[-2:])

    def test_the_address_of_an_ipv6_peer_has_brackets(self):
        rig = LinkRig(gateway=True)
        self.assertEqual("192.168.1.1:54321", rig.link.address)
        socket = Socket()
        socket.peerAddr = IPv6Address("TCP", "2001:db8::1", 4000)
        link = LinkRig(gateway=True).link
        link.session = Session(
            SessionSettings(roles=GATEWAY), link, lambda: b"\0" * 8, 0.0
        )
        socket.start(link)
        self.assertEqual("[2001:db8::1]:4000", link.address)
        self.assertEqual("2001:db8::1", link.host)


class FullnessTests(SynchronousTestCase):
    """The transport of a link takes no more for a while."""

    def setUp(self):
        self.rig = negotiated_gateway()

    def visitors(self, count):
        visitors = [self.rig.visit() for _ in range(count)]
        self.rig.far.says(*(answer(visitor.id) for visitor in visitors))
        self.rig.far.heard()
        return visitors

    def senders(self):
        heard = self.rig.far.heard()
        return [payload[3] for kind, payload in heard if kind == frames.DATA]

    def test_streams_go_on_in_the_order_in_which_they_stalled(self):
        one, two, three = self.visitors(3)
        self.rig.fill()
        for visitor in (two, three, one):
            visitor.socket.peer_sends(b"x")
        self.rig.empty()
        self.assertEqual([two.id, three.id, one.id], self.senders())

    def test_those_that_found_no_room_are_first_the_next_time(self):
        one, two, three = self.visitors(3)
        self.rig.fill()
        for visitor in (one, two, three):
            visitor.socket.peer_sends(b"\xee" * 40000)
        self.rig.transport.pause_mark = 50000
        self.rig.empty()
        self.assertEqual(80000, self.rig.transport.value().count(b"\xee"))
        order = list(dict.fromkeys(self.senders()))
        self.assertEqual([one.id, two.id, three.id], order)

    def test_a_stream_that_ends_while_it_waits_is_forgotten(self):
        one, two = self.visitors(2)
        self.rig.fill()
        one.socket.peer_sends(b"x")
        two.socket.peer_sends(b"y")
        one.socket.peer_resets()
        self.rig.empty()
        self.assertEqual([two.id], self.senders())

    def test_a_stream_stalls_once(self):
        (one,) = self.visitors(1)
        self.rig.fill()
        one.stream.write(b"a")
        one.stream.write(b"b")
        self.rig.empty()
        self.assertEqual(2, len(self.senders()))

    def test_pause_and_resume_are_idempotent(self):
        for _ in range(2):
            self.rig.fill()
        self.assertTrue(self.rig.link.full)
        for _ in range(2):
            self.rig.empty()
        self.assertFalse(self.rig.link.full)
        self.rig.later(20)
        self.assertFalse(self.rig.transport.aborted)

    def test_a_link_that_takes_nothing_for_10_seconds_is_dead(self):
        (visitor,) = self.visitors(1)
        visitor.socket.peer_sends(b"x" * 70000)
        self.assertTrue(self.rig.link.full)
        self.rig.later(9.75)
        self.assertFalse(self.rig.transport.aborted)
        self.rig.later(0.5)
        self.assertTrue(self.rig.transport.aborted)
        (why,) = self.rig.owner.said("lost")
        self.assertIn("took nothing for 10 seconds", why)
        self.assertTrue(visitor.socket.aborted)

    def test_a_link_that_takes_a_little_lives(self):
        (visitor,) = self.visitors(1)
        visitor.socket.peer_sends(b"x" * 70000)
        for _ in range(4):
            self.rig.later(9)
            self.rig.far.says(PING_ANSWER)
            self.rig.transport.drain(1)
        self.assertTrue(self.rig.link.full)
        self.assertFalse(self.rig.transport.aborted)
        self.rig.far.heard()
        self.assertFalse(self.rig.link.full)

    def test_the_watch_ends_when_the_link_has_room(self):
        (visitor,) = self.visitors(1)
        visitor.socket.peer_sends(b"x" * 70000)
        self.rig.far.heard()
        self.rig.later(12)
        self.assertFalse(self.rig.transport.aborted)

    def test_stop_of_the_transport_changes_nothing(self):
        self.rig.link.stopProducing()
        self.assertTrue(self.rig.link.usable)


class SlowReaderTests(SynchronousTestCase):
    """A legacy link whose near sockets do not take what arrives."""

    def setUp(self):
        self.rig = legacy_agent(legacy_marks=(1000, 500))

    def slow(self, stream_id, size=1500):
        target = self.rig.request(stream_id)
        self.rig.far.says(data(stream_id, b"x" * size))
        return target

    def alive(self):
        self.rig.far.says(KEEP_ALIVE)

    def test_a_slow_reader_pauses_the_link(self):
        self.slow(1, 1000)
        self.assertFalse(self.rig.transport.paused)
        self.slow(2, 1001)
        self.assertTrue(self.rig.transport.paused)

    def test_the_low_mark_resumes_it(self):
        target = self.slow(1, 1500)
        target.socket.peer_reads(999)
        self.assertTrue(self.rig.transport.paused)
        target.socket.peer_reads(1)
        self.assertFalse(self.rig.transport.paused)

    def test_it_is_paused_until_the_last_slow_reader_has_read(self):
        one, two = self.rig.request(1), self.rig.request(2)
        self.rig.far.says(data(1, b"x" * 1500), data(2, b"y" * 1500))
        one.socket.peer_reads()
        self.assertTrue(self.rig.transport.paused)
        two.socket.peer_reads()
        self.assertFalse(self.rig.transport.paused)

    def test_after_5_seconds_the_fullest_stream_goes(self):
        one, two = self.rig.request(1), self.rig.request(2)
        self.rig.far.says(data(1, b"x" * 1100), data(2, b"y" * 3000))
        one.socket.drain(300)
        self.rig.later(4.75)
        self.assertTrue(self.rig.transport.paused)
        self.rig.later(0.5)
        self.assertFalse(self.rig.transport.paused)
        self.assertTrue(two.socket.aborted)
        self.assertFalse(one.socket.aborted)
        self.assertIn("too slow", two.ending.reason)

    def test_a_used_up_allowance_costs_the_next_slow_stream_at_once(self):
        self.slow(1)
        self.rig.later(5.25)
        target = self.slow(2)
        self.assertTrue(target.stream.over)
        self.assertFalse(self.rig.transport.paused)

    def test_the_allowance_comes_back_after_30_seconds(self):
        self.slow(1)
        self.rig.later(5.25)
        for _ in range(4):
            self.rig.later(8)
            self.alive()
        self.slow(2)
        self.assertTrue(self.rig.transport.paused)

    def test_a_slow_reader_that_dies_releases_the_link(self):
        target = self.slow(1)
        target.socket.peer_resets()
        self.assertFalse(self.rig.transport.paused)

    def test_a_paused_link_is_not_dead_for_its_silence(self):
        rig = legacy_agent(legacy_marks=(1000, 500))
        target = rig.request(1)
        rig.later(44)
        rig.far.says(data(1, b"x" * 1500))
        rig.later(4.5)
        self.assertFalse(rig.transport.aborted)
        self.assertFalse(target.stream.over)

    def test_a_link_that_ends_while_it_is_paused_leaves_no_timer(self):
        target = self.slow(1)
        self.rig.transport.peer_resets()
        target.socket.pump()
        self.assertFalse(self.rig.clock.getDelayedCalls())

    def test_a_negotiated_link_is_never_paused_for_a_stream(self):
        rig = negotiated_agent()
        rig.request(1)
        rig.far.says(data(1, b"x" * 60000))
        self.assertFalse(rig.transport.paused)


class LegacyFormTests(SynchronousTestCase):
    """Which form of ConnectRequest a legacy agent understands."""

    def hosts(self, rig):
        heard = rig.far.heard()
        return [
            decode_connect_request(payload).host
            for kind, payload in heard
            if kind == frames.CONNECT_REQUEST
        ]

    def test_the_long_form_follows_after_a_second(self):
        for host in ("", "127.0.0.1", "localhost"):
            rig = legacy_gateway()
            rig.visit(host=host)
            self.assertEqual([None], self.hosts(rig))
            rig.later(1)
            self.assertEqual(["127.0.0.1"], self.hosts(rig), host)

    def test_the_first_success_wins_and_the_other_is_closed(self):
        rig = legacy_gateway()
        visitor = rig.visit()
        rig.later(1)
        rig.far.heard()
        rig.far.says(answer(2))
        self.assertEqual(
            [(frames.CLOSE, b"\0\0\0\x01")],
            [one for one in rig.far.heard() if one[0] != frames.KEEP_ALIVE],
        )
        self.assertEqual(2, visitor.id)
        self.assertEqual(["opened"], visitor.listener.calls)

    def test_no_second_request_follows_an_answer(self):
        rig = legacy_gateway()
        visitor = rig.visit()
        rig.far.says(answer(visitor.id))
        rig.later(2)
        self.assertEqual([None], self.hosts(rig))
        self.assertFalse(rig.link._long_calls)

    def test_a_lost_link_leaves_no_timer(self):
        rig = legacy_gateway()
        visitor = rig.visit()
        rig.transport.peer_resets()
        visitor.socket.pump()
        self.assertFalse(rig.clock.getDelayedCalls())

    def test_a_link_that_is_closing_asks_no_more(self):
        rig = legacy_gateway()
        rig.visit()
        rig.far.heard()
        rig.link.close_after_last_words("enough")
        rig.far.heard()
        rig.later(2)
        self.assertEqual([], rig.far.heard())


class EndTests(SynchronousTestCase):
    """The ways in which a link ends."""

    def test_a_protocol_error_is_said_before_the_close(self):
        rig = negotiated_gateway()
        rig.far.says(with_id(frames.CLOSE, 1))
        ((kind, payload),) = rig.far.heard()
        self.assertEqual((frames.GOAWAY, frames.PROTOCOL_ERROR), (kind, payload[0]))
        self.assertEqual(["failed", "lost"], rig.owner.names()[-2:])
        self.assertTrue(rig.transport.half_closed)

    def test_last_words_pass_a_full_link(self):
        rig = negotiated_gateway()
        rig.fill()
        rig.link.leave(frames.REPLACED, "another")
        self.assertEqual([frames.GOAWAY], rig.far.kinds())

    def test_last_words_are_heard_though_the_link_was_paused(self):
        rig = legacy_agent(legacy_marks=(1000, 500))
        rig.request(1)
        rig.far.says(data(1, b"x" * 1500))
        rig.link.close_after_last_words("enough")
        self.assertFalse(rig.transport.paused)

    def test_a_polite_goodbye_waits_for_the_streams(self):
        rig = negotiated_gateway()
        visitor = rig.visit()
        rig.far.says(answer(visitor.id))
        rig.link.leave(frames.STOPPING, "bye")
        self.assertFalse(rig.link.usable)
        rig.far.says(goaway(frames.STOPPING))
        self.assertFalse(rig.transport.half_closed)
        visitor.socket.peer_finishes()
        rig.far.says(with_id(frames.FIN, visitor.id))
        self.assertTrue(rig.transport.half_closed)
        self.assertEqual(["said goodbye"], rig.owner.said("lost"))

    def test_the_far_ends_goodbye_is_answered_and_nothing_new_is_opened(self):
        rig = negotiated_gateway()
        rig.far.says(goaway(frames.STOPPING, "bye"))
        self.assertEqual([frames.GOAWAY], rig.far.kinds())
        self.assertEqual("bye", rig.owner.said("goodbye")[0].text)
        self.assertFalse(rig.link.usable)
        self.assertFalse(rig.transport.half_closed)

    def test_who_is_told_to_go_closes(self):
        for text, why in (("another", "told to go: another"), ("", "told to go: 1")):
            rig = negotiated_agent()
            target = rig.request(1)
            rig.far.says(goaway(frames.REPLACED, text))
            self.assertEqual([why], rig.owner.said("lost"))
            self.assertTrue(rig.transport.half_closed)
            self.assertTrue(target.socket.aborted)

    def test_silence_for_three_heartbeats_is_death(self):
        rig = negotiated_gateway()
        rig.later(44.5)
        self.assertFalse(rig.transport.aborted)
        rig.later(1)
        self.assertTrue(rig.transport.aborted)
        self.assertEqual(["nothing heard for 45 seconds"], rig.owner.said("failed"))

    def test_an_idle_stream_lives_for_an_hour(self):
        rig = negotiated_gateway()
        visitor = rig.visit()
        rig.far.says(answer(visitor.id))
        for _ in range(360):
            rig.later(10, step=5)
            rig.far.says(PING_ANSWER)
        self.assertFalse(rig.transport.aborted)
        self.assertIsNone(visitor.ending)
        visitor.socket.peer_sends(b"still here")
        self.assertIn(frames.DATA, rig.far.kinds())

    def test_the_round_trip_is_measured(self):
        rig = negotiated_gateway()
        rig.later(15.25)
        rig.far.says(PING_ANSWER)
        self.assertIsNotNone(rig.link.session.liveness.rtt_seconds)

    def test_abort_ends_streams_and_says_lost_once(self):
        rig = negotiated_gateway()
        visitor = rig.visit()
        rig.link.abort("enough")
        rig.link.abort("again")
        rig.transport.pump()
        self.assertTrue(visitor.socket.aborted)
        self.assertEqual(["enough"], rig.owner.said("lost"))
        self.assertEqual(1, rig.owner.names().count("closed"))
        self.assertFalse(rig.clock.getDelayedCalls())

    def test_a_loss_without_a_reason_is_told_too(self):
        rig = negotiated_gateway()
        rig.link.connectionLost()
        self.assertEqual(["closed"], rig.owner.said("lost"))

    def test_closing_twice_waits_once(self):
        rig = negotiated_gateway()
        rig.link.close_after_last_words("one")
        rig.link.close_after_last_words("two")
        rig.far.heard()
        rig.later(5.25)
        self.assertTrue(rig.transport.aborted)
        self.assertFalse(rig.clock.getDelayedCalls())

    def test_the_clock_of_a_link_that_has_ended_stands_still(self):
        rig = negotiated_gateway()
        rig.link.close_after_last_words("one")
        rig.far.heard()
        rig.later(4)
        self.assertEqual([], rig.far.heard())


class RegistrationTests(SynchronousTestCase):
    """Wishes for public ports pass through."""

    def test_a_wish_reaches_the_gateways_owner_and_is_answered(self):
        rig = negotiated_gateway()
        rig.far.says(json_frame(frames.REGISTER, id="web", local=80))
        (wish,) = rig.owner.said("register")
        self.assertEqual(("web", 80), (wish.id, wish.local))
        rig.link.answer_registration(RegisterAck(id="web", port=10001))
        self.assertEqual([frames.REGISTER_ACK], rig.far.kinds())

    def test_an_agent_asks_and_hears_the_answer(self):
        rig = negotiated_agent()
        rig.link.register(Register(id="web", local=80))
        self.assertEqual([frames.REGISTER], rig.far.kinds())
        rig.far.says(json_frame(frames.REGISTER_ACK, id="web", port=10001))
        self.assertEqual(10001, rig.owner.said("registered")[0].port)
