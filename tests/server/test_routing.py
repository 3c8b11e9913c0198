"""The life of a visit, from accept to the end of its socket."""

from argparse import Namespace
from typing import Any, cast

from gateway.policy.mapping import MappingChanges, MappingWish
from gateway.wire import frames
from gateway.wire.messages import decode_open
from tests.link.rig import KEEP_ALIVE, answer, data
from tests.server.rig import GatewayCase
from tests.strategies import with_id


class AgentUpstreamTests(GatewayCase):
    """Visitors that reach their target through an agent."""

    def setUp(self):
        super().setUp()
        self.create(agent="web")
        self.peer = self.agent("web")
        self.peer.heard()

    def test_the_agent_hears_who_comes_and_why(self):
        self.visit()
        ((_, payload),) = self.peer.heard()
        request = decode_open(memoryview(payload))
        self.assertEqual((80, ""), (request.port, request.host))
        self.assertEqual(
            {"visitor": "203.0.113.9:5000", "mapping": 1, "trace": "t-1"}, request.meta
        )

    def test_what_waits_for_the_visitor_is_known_and_whose_it_is(self):
        visitor = self.visit()
        [visit] = self.mappings.visits()
        self.assertEqual(((), "203.0.113.9"), (visit.flows(), visit.address))
        self.peer.says(answer(1), data(1, b"answer"))
        self.assertEqual([6, 0], [flow.held for flow in visit.flows()])
        visitor.peer_reads()
        self.assertEqual((), visit.flows())

    def test_a_visitor_is_reset_for_what_it_holds(self):
        visitor = self.visit()
        [visit] = self.mappings.visits()
        self.peer.says(answer(1), data(1, b"answer"))
        self.peer.heard()
        visit.break_off("it does not read")
        self.assertTrue(visitor.aborted)
        self.assertEqual([frames.RESET], self.peer.kinds())

    def test_a_visitor_whose_stream_is_over_is_reset_too(self):
        visitor = self.visit()
        [visit] = self.mappings.visits()
        fin = with_id(frames.FIN, 1)
        self.peer.says(answer(1), data(1, b"answer"), fin)
        visitor.peer_finishes()
        self.assertTrue(visit.over)
        self.assertEqual([6, 0], [flow.held for flow in visit.flows()])
        visit.break_off("it does not read")
        self.assertTrue(visitor.aborted)

    def test_traces_differ(self):
        self.visit()
        self.visit()
        traces = [
            decode_open(memoryview(payload)).meta["trace"]
            for _, payload in self.peer.heard()
        ]
        self.assertEqual(["t-1", "t-2"], traces)

    def test_bytes_go_both_ways_once_the_target_is_reached(self):
        visitor = self.visit()
        visitor.peer_sends(b"question")
        self.peer.says(answer(1), data(1, b"answer"))
        self.assertEqual(b"answer", visitor.value())
        self.assertIn((frames.DATA, b"\0\0\0\x01question"), self.peer.heard())

    def test_nothing_is_read_from_the_visitor_of_a_legacy_agent_before(self):
        self.create(10081)
        agent = self.connect()
        agent.says(KEEP_ALIVE)
        visitor = self.visit(10081)
        visitor.peer_sends(b"question")
        self.assertNotIn(frames.DATA, agent.kinds())
        self.assertTrue(visitor.paused)

    def test_a_target_that_takes_too_long_is_a_reset(self):
        visitor = self.visit()
        self.later(9.75)
        visitor.pump()
        self.assertFalse(visitor.aborted)
        self.later(0.5)
        visitor.pump()
        self.assertTrue(visitor.aborted)
        resets = [body for kind, body in self.peer.heard() if kind == frames.RESET]
        self.assertEqual([b"\0\0\0\x01" + bytes((frames.TIMED_OUT,))], resets)
        self.assertEqual(1, len(self.lines("connection timed out")))
        self.assertEqual(0, self.slots.active)

    def test_a_target_that_was_reached_has_all_the_time(self):
        visitor = self.visit()
        self.peer.reached()
        self.later(12)
        visitor.pump()
        self.assertFalse(visitor.aborted)

    def test_a_refusal_is_a_reset(self):
        visitor = self.visit()
        self.peer.says(answer(1, 0x02))
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.slots.active)
        self.assertEqual(1, len(self.lines("refused by the target")))

    def test_a_visitor_that_leaves_while_it_waits_frees_its_place(self):
        visitor = self.visit()
        before = len(self.clock.getDelayedCalls())
        visitor.peer_resets()
        self.assertEqual(0, self.slots.active)
        self.assertEqual(before - 1, len(self.clock.getDelayedCalls()))
        self.assertEqual([frames.OPEN, frames.RESET], self.peer.kinds())

    def test_a_lost_link_is_a_reset(self):
        visitor = self.visit()
        self.peer.reached()
        self.peer.transport.peer_resets()
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.mappings.visitors)

    def test_a_place_is_kept_until_the_socket_is_flushed(self):
        visitor = self.visit()
        self.peer.says(answer(1), data(1, b"last words"), with_id(frames.FIN, 1))
        visitor.peer_finishes()
        self.assertEqual(1, self.slots.active)
        visitor.peer_reads()
        self.assertEqual(0, self.slots.active)
        self.assertFalse(visitor.aborted)

    def test_a_socket_that_takes_nothing_more_is_given_up_after_30_seconds(self):
        visitor = self.visit()
        self.peer.says(answer(1), data(1, b"last words"), with_id(frames.FIN, 1))
        visitor.peer_finishes()
        self.later(29.5)
        visitor.pump()
        self.assertFalse(visitor.aborted)
        self.later(1)
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.slots.active)

    def test_closing_a_visit_that_is_being_flushed_aborts_it(self):
        visitor = self.visit()
        self.peer.says(answer(1), data(1, b"last words"), with_id(frames.FIN, 1))
        visitor.peer_finishes()
        self.mappings.close_visits("enough")
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.slots.active)

    def test_a_target_host_that_no_frame_can_hold_is_a_reset(self):
        self.create(10081, target_host="x" * 300, use_tunnel=True, agent="web")
        visitor = self.visit(10081)
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.slots.active)
        self.assertEqual([], self.peer.kinds())

    def test_the_life_of_a_visit_is_logged_in_two_lines(self):
        visitor = self.visit()
        visitor.peer_sends(b"12345")
        self.peer.says(answer(1), data(1, b"123"))
        visitor.peer_resets()
        said = self.lines("port 10080 203.0.113.9:5000: t-1")
        self.assertEqual(2, len(said))
        self.assertTrue(said[0].startswith("connection opened"))
        self.assertIn("5 bytes sent, 3 received, 0.000 s", said[1])

    def test_a_visit_that_is_over_is_told_with_its_times(self):
        visits: list[Any] = []
        self.visit_log.access = cast(Any, Namespace(note=visits.append))
        visitor = self.visit()
        self.later(0.5)
        self.peer.says(answer(1))
        visitor.peer_sends(b"12345")
        self.later(2)
        visitor.peer_resets()
        (visit,) = visits
        self.assertEqual(
            ("203.0.113.9:5000", 10080, "web", ":80", 0.5, 2.5, 5, 0, "t-1"),
            (
                visit.visitor,
                visit.port,
                visit.agent,
                visit.target,
                visit.open_seconds,
                visit.duration_seconds,
                visit.bytes_sent,
                visit.bytes_received,
                visit.trace,
            ),
        )

    def test_a_visitor_who_is_turned_away_is_told_as_well(self):
        visits: list[Any] = []
        self.visit_log.access = cast(Any, Namespace(note=visits.append))
        self.create(10081, agent="nobody")
        self.visit(10081)
        (visit,) = visits
        self.assertEqual(
            (None, None, "agent nobody is not connected"),
            (visit.agent, visit.open_seconds, visit.reason),
        )


class ChinesePhraseTests(GatewayCase):
    """The documented words."""

    language = "zh"

    def test_visits_are_logged_with_the_documented_words(self):
        self.create()
        peer = self.agent()
        visitor = self.visit()
        peer.reached()
        visitor.peer_resets()
        self.assertEqual(1, len(self.lines("端口转发启动")))
        self.assertEqual(1, len(self.lines("连接建立")))
        self.assertEqual(1, len(self.lines("连接关闭")))
        self.successResultOf(self.ensure(self.mappings.remove(10080)))
        self.assertEqual(1, len(self.lines("端口转发已停止")))


class DirectUpstreamTests(GatewayCase):
    """Visitors whose target the gateway dials."""

    def setUp(self):
        super().setUp()
        self.create_direct()

    def reached(self):
        return self.network.attempts[-1].succeed()

    def test_the_target_is_dialled_and_joined(self):
        visitor = self.visit()
        attempt = self.network.attempts[-1]
        self.assertEqual(("192.0.2.7", 80), (attempt.address, attempt.port))
        visitor.peer_sends(b"question")
        target = self.reached()
        visitor.pump()
        self.assertEqual(b"question", target.value())
        target.peer_sends(b"answer")
        self.assertEqual(b"answer", visitor.value())

    def test_what_waits_for_either_side_is_known(self):
        visitor = self.visit()
        [visit] = self.mappings.visits()
        self.assertEqual((), visit.flows())
        target = self.reached()
        visitor.peer_sends(b"question")
        target.peer_sends(b"answer")
        self.assertEqual([6, 8], [flow.held for flow in visit.flows()])
        visit.break_off("it does not read")
        self.assertTrue(visitor.aborted)
        self.assertTrue(target.aborted)

    def test_an_updated_target_is_for_new_visitors(self):

        first = self.visit()
        self.reached()
        changing = self.ensure(
            self.mappings.update(10080, MappingChanges(target_host="192.0.2.8"))
        )
        self.network.answer("192.0.2.8")
        self.successResultOf(changing)
        self.visit()
        self.assertEqual("192.0.2.8", self.network.attempts[-1].address)
        self.assertFalse(first.aborted)

    def test_a_target_that_refuses_resets_the_visitor(self):
        visitor = self.visit()
        self.network.attempts[-1].fail(ConnectionRefusedError(111, "refused"))
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.slots.active)

    def test_a_visit_that_is_closed_while_it_is_dialled_for(self):
        visitor = self.visit()
        self.mappings.close_visits("enough")
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertTrue(self.network.attempts[-1].cancelled)
        self.assertEqual(0, self.mappings.visitors)

    def test_a_target_that_is_not_allowed_any_more_resets_the_visitor(self):
        self.build(allow_targets=["192.0.2.0/24"])
        making = self.ensure(self.mappings.create(_wish(10081, "db.test")))
        self.network.answer("192.0.2.2")
        self.successResultOf(making)
        visitor = self.visit(10081)
        self.network.answer("198.51.100.2")
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.slots.active)

    def test_the_life_of_a_visit_is_logged_in_two_lines(self):
        visitor = self.visit()
        target = self.reached()
        visitor.peer_sends(b"12345")
        target.peer_finishes()
        visitor.peer_finishes()
        visitor.peer_reads()
        target.peer_reads()
        said = self.lines("port 10080 203.0.113.9:5000: t-1")
        self.assertEqual(2, len(said))
        self.assertIn("5 bytes sent, 0 received", said[1])
        self.assertEqual(0, self.slots.active)


def _wish(port, host):

    return MappingWish(port=port, target_host=host, target_port=80)
