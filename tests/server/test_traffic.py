"""What each mapping has carried, and how its visits ended."""

from gateway.metrics.tallies import (
    BROKEN,
    DENIED,
    FINISHED,
    KILLED,
    LEFT,
    LINK,
    NO_AGENT,
    TARGET,
    UNREACHED,
    VISITOR,
    WINDOW,
)
from gateway.ops.slices import Slices
from gateway.server.traffic import Traffic
from gateway.wire import frames
from tests.link.rig import answer, data
from tests.server.rig import GatewayCase
from tests.strategies import with_id


def found(tally):
    return {outcome: count for outcome, count in tally.outcomes.items() if count}


class TrafficTests(GatewayCase):
    """Numbers of a mapping whose visitors an agent serves."""

    def setUp(self):
        super().setUp()
        self.create(agent="web")
        self.peer = self.agent("web")
        self.traffic = Traffic(self.mappings, self.links, Slices(self.clock))
        self.edge = self.mappings.served_edges()[0]

    def outcomes(self):
        return found(self.edge.tally)

    def test_bytes_count_while_the_visitor_is_here_and_when_it_is_gone(self):
        visitor = self.visit()
        visitor.peer_sends(b"question")
        self.peer.says(answer(1), data(1, b"answer!"))
        here = self.now(self.traffic.total())
        self.assertEqual(
            (8, 7, 1, 1), (here.sent, here.received, *here[2:3], here.active)
        )
        self.peer.says(with_id(frames.FIN, 1))
        visitor.peer_finishes()
        visitor.peer_reads()
        gone = self.now(self.traffic.total())
        self.assertEqual(
            (8, 7, 1, 0), (gone.sent, gone.received, *gone[2:3], gone.active)
        )
        self.assertEqual({FINISHED: 1}, self.outcomes())

    def test_the_gateway_remembers_what_a_removed_mapping_carried(self):
        visitor = self.visit()
        visitor.peer_sends(b"question")
        self.peer.reached()
        self.ensure(self.mappings.remove(10080))
        visitor.pump()
        self.assertEqual(
            (8, []),
            (self.now(self.traffic.total()).sent, self.now(self.traffic.by_port())),
        )

    def test_who_waits_for_a_target_is_pending(self):
        self.visit()
        found = self.now(self.traffic.of(self.edge))
        self.assertEqual((0, 1), (found.active, found.pending))
        (visit,) = self.edge.visits
        self.assertEqual("target_answer", visit.waits_for)
        self.peer.reached()
        self.assertIsNone(visit.waits_for)

    def test_latency_and_duration_are_those_of_the_clock(self):
        visitor = self.visit()
        self.later(0.25)
        self.peer.reached()
        self.later(0.5)
        visitor.peer_resets()
        self.assertEqual(0.25, self.edge.tally.latencies.sum)
        self.assertEqual(0.75, self.edge.tally.durations.sum)

    def test_an_agent_is_counted_by_its_name_also_when_it_is_away(self):
        visitor = self.visit()
        visitor.peer_sends(b"question")
        self.peer.reached()
        self.peer.transport.peer_resets()
        visitor.pump()
        tally = self.links.tallies()["web"]
        self.assertEqual((8, 1, {BROKEN: 1}), (tally.sent, tally.links, found(tally)))

    def test_wire_bytes_outlive_the_link(self):
        sent, received = self.traffic.wire()
        self.assertGreater(min(sent, received), 0)
        self.peer.transport.peer_resets()
        self.assertEqual(received, self.traffic.wire()[1])

    # -- how visits end ---------------------------------------------------------------

    def test_a_reset_behind_the_opening_is_broken(self):
        visitor = self.visit()
        self.peer.reached()
        visitor.peer_resets()
        self.assertEqual({BROKEN: 1}, self.outcomes())

    def test_who_goes_before_the_target_answers_has_left(self):
        self.visit().peer_resets()
        self.assertEqual({LEFT: 1}, self.outcomes())

    def test_a_refused_target_is_unreached(self):
        visitor = self.visit()
        self.peer.says(answer(1, 0x02))
        visitor.pump()
        self.assertEqual({UNREACHED: 1}, self.outcomes())

    def test_without_an_agent(self):
        self.peer.transport.peer_resets()
        self.visit().pump()
        self.assertEqual({NO_AGENT: 1}, self.outcomes())

    def test_a_target_that_no_frame_can_hold_is_denied(self):
        self.create(10081, target_host="x" * 300, use_tunnel=True, agent="web")
        self.visit(10081).pump()
        edge = self.mappings.served_edges()[1]
        self.assertEqual({DENIED: 1}, found(edge.tally))

    def test_who_is_sent_away_is_no_error(self):
        visitor = self.visit()
        self.peer.reached()
        (visit,) = self.edge.visits
        visit.close("the operator says so")
        visitor.pump()
        self.assertEqual({KILLED: 1}, self.outcomes())
        self.assertEqual(0, self.now(self.traffic.total()).errors)


class StallTests(GatewayCase):
    """Why bytes wait."""

    def setUp(self):
        super().setUp()
        self.create(agent="web")
        self.peer = self.agent("web")
        self.visitor = self.visit()
        self.peer.reached()
        (self.this,) = self.mappings.visits()
        self.stalls = self.peer.link.stalls

    def fill_window(self):
        self.peer.transport.pause_mark = 1 << 30
        for _ in range(5):
            self.visitor.peer_sends(b"x" * 65536)

    def test_a_visitor_that_does_not_read(self):
        self.peer.says(data(1, b"x" * 200000))
        self.assertEqual(VISITOR, self.this.waits_for)
        self.later(2)
        self.visitor.peer_reads()
        self.assertIsNone(self.this.waits_for)
        self.assertEqual(
            (1, 2.0), (self.stalls.counts[VISITOR], self.stalls.seconds[VISITOR])
        )

    def note(self):
        """Do what each scrape does."""
        for one in list(self.stalls.waiting):
            one.note_waits()

    def counted(self, cause):
        return self.stalls.counts[cause], self.stalls.seconds[cause]

    def test_a_wait_counts_while_it_lasts_and_once(self):
        self.peer.says(data(1, b"x" * 200000))
        self.note()
        self.assertEqual((0, 0), self.counted(VISITOR))
        for seconds in (1.0, 2.0, 3.0):
            self.later(1)
            self.note()
            self.note()
            self.assertEqual((1, seconds), self.counted(VISITOR))
        self.later(1)
        self.visitor.peer_reads()
        self.note()
        self.assertEqual((1, 4.0), self.counted(VISITOR))
        self.assertEqual({}, self.stalls.waiting)

    def test_a_wait_for_a_slow_target_counts_while_it_lasts(self):
        self.fill_window()
        self.later(1)
        self.note()
        self.assertEqual((1, 1.0), self.counted(TARGET))
        self.later(1)
        self.peer.says(with_id(frames.WINDOW, 1, b"\0\x10\0\0"))
        self.assertEqual((1, 2.0), self.counted(TARGET))
        self.assertEqual({}, self.stalls.waiting)

    def test_nobody_waits_who_is_gone(self):
        self.peer.says(data(1, b"x" * 200000))
        self.fill_window()
        self.assertEqual(1, len(self.stalls.waiting))
        self.peer.transport.peer_resets()
        self.visitor.peer_resets()
        self.assertEqual({}, self.stalls.waiting)

    def test_credit_that_comes_at_once_was_under_way(self):
        self.fill_window()
        self.assertEqual(WINDOW, self.this.waits_for)
        self.peer.says(with_id(frames.WINDOW, 1, b"\0\x10\0\0"))
        self.assertEqual(1, self.stalls.counts[WINDOW])

    def test_credit_that_does_not_come_is_kept_by_a_slow_target(self):
        self.fill_window()
        self.later(1)
        self.assertEqual(TARGET, self.this.waits_for)
        self.peer.says(with_id(frames.WINDOW, 1, b"\0\x10\0\0"))
        self.assertEqual(
            (1, 1.0), (self.stalls.counts[TARGET], self.stalls.seconds[TARGET])
        )

    def test_a_link_that_takes_nothing(self):
        for _ in range(2):
            self.visitor.peer_sends(b"x" * 65536)
        self.assertEqual(LINK, self.this.waits_for)
