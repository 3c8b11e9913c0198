"""A stream between its link and its near socket."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.wire import frames
from tests.link.rig import (
    WINDOW,
    LinkRig,
    answer,
    data,
    hello,
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
    window,
)
from tests.strategies import with_id

EARLY = 16384


def fin(stream_id):
    return with_id(frames.FIN, stream_id)


def carried(pairs):
    """Return the Data bytes of some frames, joined."""
    return b"".join(payload[4:] for kind, payload in pairs if kind == frames.DATA)


class VisitorTests(SynchronousTestCase):
    """The gateway's side of a negotiated link."""

    def setUp(self):
        self.rig = negotiated_gateway()

    def opened(self):
        visitor = self.rig.visit()
        self.rig.far.says(answer(visitor.id))
        self.rig.far.heard()
        return visitor

    def test_early_bytes_follow_the_request(self):
        visitor = self.rig.visit()
        visitor.socket.peer_sends(b"hello")
        heard = self.rig.far.heard()
        self.assertEqual([frames.OPEN, frames.DATA], [kind for kind, _ in heard])
        self.assertEqual(b"hello", carried(heard))

    def test_no_more_than_16_kib_go_before_the_answer(self):
        visitor = self.rig.visit()
        visitor.socket.peer_sends(b"x" * 20000)
        self.assertEqual(EARLY, len(carried(self.rig.far.heard())))
        self.assertTrue(visitor.socket.paused)
        self.rig.far.says(answer(visitor.id))
        self.assertEqual(20000 - EARLY, len(carried(self.rig.far.heard())))
        self.assertFalse(visitor.socket.paused)
        self.assertEqual(["opened"], visitor.listener.calls)

    def test_what_exceeds_the_credit_waits_and_goes_on_in_order(self):
        visitor = self.opened()
        sent = bytes(range(256)) * 512
        visitor.socket.peer_sends(sent)
        first = carried(self.rig.far.heard())
        self.assertEqual(WINDOW, len(first))
        self.assertTrue(visitor.socket.paused)
        self.rig.far.says(window(visitor.id, 1000))
        second = carried(self.rig.far.heard())
        self.assertTrue(visitor.socket.paused)
        self.rig.far.says(window(visitor.id, WINDOW))
        third = carried(self.rig.far.heard())
        self.assertEqual(sent, first + second + third)
        self.assertEqual(1000, len(second))
        self.assertFalse(visitor.socket.paused)
        self.assertEqual(len(sent), visitor.stream.sent)

    def test_bytes_of_a_full_link_wait_in_order(self):
        visitor = self.opened()
        self.rig.fill()
        visitor.socket.peer_sends(b"one")
        visitor.stream.write(b"two")
        self.assertEqual([], self.rig.far.heard())
        self.assertTrue(visitor.socket.paused)
        self.rig.empty()
        self.assertEqual(b"onetwo", carried(self.rig.far.heard()))
        self.assertFalse(visitor.socket.paused)

    def test_new_bytes_never_overtake_those_that_wait_for_their_turn(self):
        first, second = self.opened(), self.opened()
        self.rig.fill()
        first.stream.write(b"a")
        second.stream.write(b"one ")
        first.socket.resumeProducing = lambda: second.stream.write(b"two")
        self.rig.empty()
        self.assertEqual(b"aone two", carried(self.rig.far.heard()))

    def test_credit_does_not_let_bytes_pass_a_full_link(self):
        visitor = self.opened()
        visitor.socket.peer_sends(b"x" * (WINDOW + 10))
        self.rig.far.heard()
        self.rig.fill()
        self.rig.far.says(window(visitor.id, WINDOW))
        self.assertEqual([], self.rig.far.heard())
        self.rig.empty()
        self.assertEqual(10, len(carried(self.rig.far.heard())))

    def test_a_view_is_sent_or_copied_before_the_buffer_is_used_again(self):
        visitor = self.opened()
        buffer = bytearray(b"x" * 40_000)
        for _ in range(4):  # more than the credit
            visitor.stream.write(memoryview(buffer))
        buffer[:] = b"y" * len(buffer)
        self.rig.far.says(window(visitor.id, WINDOW), window(visitor.id, WINDOW))
        self.assertEqual(b"x" * 160_000, carried(self.rig.far.heard()))

    def test_more_credit_makes_longer_reads(self):
        """Of what fits into a frame: a quarter of the credit."""
        rig = LinkRig(gateway=True)
        rig.far.says(hello(max_frame=262144))
        rig.far.heard()
        visitor = rig.visit()
        rig.far.says(answer(visitor.id), window(visitor.id, 3 * WINDOW))
        self.assertEqual(65536, visitor.socket.read_size)
        rig.far.says(window(visitor.id, 4 * WINDOW))
        self.assertEqual(2 * WINDOW, visitor.socket.read_size)
        rig.far.says(window(visitor.id, 100 * WINDOW))
        self.assertEqual(262140, visitor.socket.read_size)

    def test_spent_credit_pauses_the_visitor_until_more_comes(self):
        visitor = self.opened()
        visitor.socket.peer_sends(b"x" * WINDOW)
        self.assertTrue(visitor.socket.paused)
        self.rig.far.says(window(visitor.id, WINDOW))
        self.assertFalse(visitor.socket.paused)

    def test_a_link_with_room_does_not_wake_a_visitor_without_credit(self):
        visitor = self.opened()
        visitor.socket.peer_sends(b"x" * (WINDOW - 5))
        self.rig.far.heard()
        self.rig.fill()
        visitor.socket.peer_sends(b"y" * 5)
        self.rig.empty()
        self.assertTrue(visitor.socket.paused)

    def test_eof_goes_out_behind_what_waits(self):
        visitor = self.opened()
        visitor.socket.peer_sends(b"x" * (WINDOW + 10))
        visitor.stream.near_finished()
        self.rig.far.heard()
        self.rig.far.says(window(visitor.id, WINDOW))
        self.assertEqual([frames.DATA, frames.FIN], self.rig.far.kinds())

    def test_eof_of_a_visitor_that_waits_for_its_target_goes_out_at_once(self):
        visitor = self.rig.visit()
        visitor.socket.peer_sends(b"request")
        visitor.socket.peer_finishes()
        self.assertEqual([frames.OPEN, frames.DATA, frames.FIN], self.rig.far.kinds())
        self.rig.far.says(answer(visitor.id), data(visitor.id, b"reply"))
        self.assertEqual(b"reply", visitor.got())

    def test_fin_half_closes_the_visitor(self):
        visitor = self.opened()
        self.rig.far.says(data(visitor.id, b"bye"), fin(visitor.id))
        self.assertEqual(b"bye", visitor.got())
        self.assertTrue(visitor.socket.half_closed)
        self.assertIsNone(visitor.ending)
        visitor.socket.peer_sends(b"more")
        self.assertEqual(b"more", carried(self.rig.far.heard()))

    def test_a_stream_that_both_ends_finish_is_flushed_and_closed(self):
        visitor = self.opened()
        self.rig.far.says(data(visitor.id, b"bye"), fin(visitor.id))
        visitor.socket.peer_finishes()
        self.assertEqual([frames.FIN], self.rig.far.kinds())
        self.assertTrue(visitor.ending.flush)
        visitor.socket.peer_reads()
        self.assertEqual(1, visitor.lost)
        self.assertFalse(visitor.socket.aborted)
        self.assertFalse(self.rig.link.session.core.streams)
        self.assertFalse(self.rig.clock.getDelayedCalls()[1:])

    def test_bytes_that_wait_outlive_a_socket_whose_two_directions_have_ended(self):
        visitor = self.opened()
        visitor.socket.peer_sends(b"x" * (WINDOW + 10))
        visitor.stream.near_finished()
        self.rig.far.says(fin(visitor.id))
        self.rig.far.heard()
        visitor.socket.ends_in_order()
        self.assertEqual(1, visitor.lost)
        self.assertEqual([], self.rig.far.kinds())
        self.rig.far.says(window(visitor.id, 6))
        self.assertEqual(6, len(carried(self.rig.far.heard())))
        self.rig.far.says(window(visitor.id, WINDOW))
        self.assertEqual([frames.DATA, frames.FIN], self.rig.far.kinds())
        self.assertTrue(visitor.ending.flush)
        self.assertEqual(1, visitor.lost)

    def test_a_reset_of_the_visitor_drops_what_waits(self):
        visitor = self.opened()
        visitor.socket.peer_sends(b"x" * (WINDOW + 10))
        visitor.stream.near_finished()
        self.rig.far.says(fin(visitor.id))
        self.rig.far.heard()
        visitor.socket.peer_resets()
        self.assertEqual([frames.RESET], self.rig.far.kinds())
        self.assertFalse(visitor.ending.flush)

    def test_a_lost_visitor_is_a_reset(self):
        visitor = self.opened()
        visitor.socket.peer_resets()
        self.assertEqual(
            [(frames.RESET, b"\0\0\0\x01" + bytes((frames.ABORTED,)))],
            self.rig.far.heard(),
        )
        self.assertEqual(1, visitor.lost)
        self.assertEqual(1, len(visitor.listener.endings))

    def test_a_visitor_lost_while_the_link_is_full_is_reset_once_there_is_room(self):
        visitor = self.opened()
        self.rig.fill()
        visitor.socket.peer_sends(b"never sent")
        visitor.socket.peer_resets()
        self.assertEqual([], self.rig.far.heard())
        self.rig.empty()
        self.assertEqual([frames.RESET], self.rig.far.kinds())

    def test_what_comes_late_from_a_near_socket_is_passed_over(self):
        visitor = self.opened()
        visitor.stream.abort(frames.KILLED, "enough")
        self.rig.far.heard()
        visitor.stream.write(b"late")
        visitor.stream.near_finished()
        visitor.stream.go_on()
        visitor.stream.abort(frames.KILLED, "again")
        visitor.stream.stopProducing()
        self.assertEqual([], self.rig.far.heard())

    def test_a_killed_stream_is_aborted_at_both_ends(self):
        visitor = self.opened()
        visitor.stream.abort(frames.KILLED, "enough")
        visitor.socket.pump()
        self.assertTrue(visitor.socket.aborted)
        self.assertEqual([frames.RESET], self.rig.far.kinds())
        self.assertEqual("enough", visitor.ending.reason)

    def test_a_refusal_resets_the_visitor(self):
        visitor = self.rig.visit()
        self.rig.far.says(answer(visitor.id, 0x02))
        self.assertTrue(visitor.socket.aborted)
        self.assertIn("refused", visitor.ending.reason)

    def test_a_full_socket_withholds_credit(self):
        visitor = self.opened()
        chunk = b"x" * 30000
        self.rig.far.says(data(visitor.id, chunk))
        self.rig.far.says(data(visitor.id, chunk))
        self.assertEqual([], self.rig.far.kinds())
        self.assertEqual(60000, visitor.stream.unsent)
        visitor.socket.peer_reads()
        self.assertEqual([frames.WINDOW], self.rig.far.kinds())
        self.assertEqual(60000, visitor.stream.received)

    def test_what_the_kernel_takes_at_once_is_repaid_in_half_windows(self):
        visitor = self.opened()
        granted = 0
        for _ in range(8):
            self.rig.far.says(data(visitor.id, b"x" * 10000))
            visitor.socket.peer_reads()
            for kind, payload in self.rig.far.heard():
                self.assertEqual(frames.WINDOW, kind)
                granted += int.from_bytes(payload[4:], "big")
        self.assertGreaterEqual(granted, 80000 - 10000 - WINDOW // 2)
        self.assertLessEqual(granted, 80000)

    def test_the_pause_mark_is_at_most_half_a_window(self):
        visitor = self.opened()
        self.assertEqual(WINDOW // 2, visitor.socket.pause_mark)
        self.assertEqual(0, visitor.socket.resume_mark)

    def test_a_lost_link_aborts_its_visitors(self):
        visitor = self.opened()
        self.rig.transport.peer_resets()
        self.assertTrue(visitor.socket.aborted)
        self.assertEqual("link lost", visitor.ending.reason)

    def test_a_lost_link_flushes_what_was_finished_by_the_far_end(self):
        visitor = self.opened()
        self.rig.far.says(data(visitor.id, b"whole answer"), fin(visitor.id))
        self.rig.transport.peer_resets()
        self.assertFalse(visitor.socket.aborted)
        self.assertTrue(visitor.socket.disconnecting)
        self.assertEqual(b"whole answer", visitor.got())
        self.assertEqual(1, len(self.rig.linger))


class TargetTests(SynchronousTestCase):
    """The agent's side of a negotiated link."""

    def setUp(self):
        self.rig = negotiated_agent()

    def test_an_open_is_passed_to_the_owners_listener(self):
        target = self.rig.request(7, connect=False)
        (request,) = target.listener.requests
        self.assertEqual((7, 80, ""), (request.stream_id, request.port, request.host))

    def test_early_data_waits_for_the_target(self):
        target = self.rig.request(7, connect=False)
        self.rig.far.says(data(7, b"one "), data(7, b"two"))
        self.assertEqual(7, target.stream.unsent)
        target.connect()
        self.assertEqual(b"one two", target.got())
        self.assertEqual([frames.CONNECT_RESPONSE], self.rig.far.kinds())
        self.assertFalse(target.socket.paused)

    def test_an_early_fin_half_closes_the_target_behind_the_early_data(self):
        target = self.rig.request(7, connect=False)
        self.rig.far.says(data(7, b"all"), fin(7))
        target.connect()
        self.assertEqual(b"all", target.got())
        self.assertTrue(target.socket.half_closed)

    def test_early_data_is_repaid_when_the_target_takes_it(self):
        target = self.rig.request(7, connect=False)
        self.rig.far.says(data(7, b"x" * 30000), data(7, b"x" * 20000))
        self.assertEqual([], self.rig.far.kinds())
        target.connect()
        self.rig.far.heard()
        target.socket.peer_reads()
        self.assertEqual([frames.WINDOW], self.rig.far.kinds())

    def test_a_refused_stream_is_answered_and_over(self):
        target = self.rig.request(7, connect=False)
        self.rig.far.says(data(7, b"dropped"))
        target.stream.refuse(0x05)
        self.assertEqual(
            [(frames.CONNECT_RESPONSE, b"\0\0\0\x07\x05")], self.rig.far.heard()
        )
        self.assertTrue(target.stream.over)
        target.stream.refuse(0x05)
        self.assertEqual([], self.rig.far.heard())

    def test_a_reset_ends_a_stream_that_is_being_dialled(self):
        target = self.rig.request(7, connect=False)
        self.rig.far.says(with_id(frames.RESET, 7, b"\0"))
        self.assertTrue(target.stream.over)
        self.assertEqual(["requested", "ended"], target.listener.calls)

    def test_an_answer_and_its_end_reach_the_gateway(self):
        target = self.rig.request(7)
        target.socket.peer_sends(b"reply")
        target.socket.peer_finishes()
        heard = self.rig.far.heard()
        self.assertEqual(
            [frames.CONNECT_RESPONSE, frames.DATA, frames.FIN],
            [kind for kind, _ in heard],
        )
        self.assertEqual(b"reply", carried(heard))


class LegacyStreamTests(SynchronousTestCase):
    """Streams without credit and half-close."""

    def test_a_visitor_is_not_read_before_its_target_is_reached(self):
        rig = legacy_gateway()
        visitor = rig.visit()
        visitor.socket.peer_sends(b"waits")
        self.assertEqual([frames.CONNECT_REQUEST], rig.far.kinds())
        rig.far.says(answer(visitor.id))
        visitor.socket.pump()
        self.assertEqual(b"waits", carried(rig.far.heard()))

    def test_an_eof_noticed_before_the_answer_waits_for_it(self):
        rig = legacy_gateway()
        visitor = rig.visit()
        visitor.stream.near_finished()
        self.assertEqual([frames.CONNECT_REQUEST], rig.far.kinds())
        rig.far.says(answer(visitor.id))
        self.assertEqual([frames.CLOSE], rig.far.kinds())
        self.assertTrue(visitor.ending.flush)

    def test_eof_is_a_close_and_a_flush(self):
        rig = legacy_gateway()
        visitor = rig.visit()
        rig.far.says(answer(visitor.id), data(visitor.id, b"answer"))
        visitor.socket.peer_finishes()
        self.assertEqual([frames.CONNECT_REQUEST, frames.CLOSE], rig.far.kinds())
        self.assertTrue(visitor.socket.disconnecting)
        self.assertEqual(b"answer", visitor.got())

    def test_a_close_flushes_the_target(self):
        rig = legacy_agent()
        target = rig.request(9)
        rig.far.says(data(9, b"last"), with_id(frames.CLOSE, 9))
        self.assertEqual(b"last", target.got())
        self.assertTrue(target.socket.disconnecting)

    def test_a_near_socket_gets_the_legacy_marks(self):
        rig = legacy_agent(legacy_marks=(5000, 2000))
        target = rig.request(9)
        marks = target.socket.pause_mark, target.socket.resume_mark
        self.assertEqual((5000, 2000), marks)
