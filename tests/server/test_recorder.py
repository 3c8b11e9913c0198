"""What passed is written down, whatever becomes of store, clock and process."""

from gateway.errors import StoreError
from gateway.ops.slices import Slices
from gateway.policy.history import DAY, Lifetime
from gateway.server.recorder import (
    COMPLAIN_SECONDS,
    MOST_DEPARTED,
    TIDY_SECONDS,
    Recorder,
    RecorderSettings,
)
from gateway.server.traffic import Traffic
from tests.server.rig import NOON, GatewayCase

MINUTE = 60


class RecorderCase(GatewayCase):
    """A recorder over a mapping that nobody uses yet."""

    def setUp(self):
        super().setUp()
        self.wall = 0.0  # set by somebody
        self.create_direct(10080)
        self.create_direct(10081)
        self.peer = self.agent()
        self.traffic = Traffic(self.mappings, self.links, Slices(self.clock))
        self.recorder = self.start()

    def start(self, *, enabled=True, most=1000):
        recorder = Recorder(
            self.clock,
            self.store,
            self.traffic,
            lambda: self.wall_now() + self.wall,
            RecorderSettings(enabled, 60.0, 7.0 * DAY, most),
        )
        self.run_now(recorder.start())
        return recorder

    def run_now(self, coroutine):
        return self.successResultOf(self.ensure(coroutine))

    def pass_bytes(self, count, port=10080):
        """Have a visitor send so much, and go."""
        visitor = self.visit(port)
        target = self.network.attempts[-1].succeed()
        visitor.peer_sends(bytes(count))
        visitor.ends_in_order()
        target.peer_resets()

    def points(self, port=0, *, links=False):
        """Return end and bytes of each point of the last day."""
        until = NOON + 10 * DAY
        found = self.run_now(
            self.recorder.history(port, links, NOON - 1, until, 1000000)
        )
        return [(point.at - NOON, point.sent) for point in found.points if point.sent]

    def lifetime(self):
        return self.recorder.lifetime(self.now(self.traffic.total()))


class RecorderTests(RecorderCase):
    """Once a minute."""

    def test_what_passed_is_written_by_port_and_in_all(self):
        self.pass_bytes(100)
        self.pass_bytes(10, 10081)
        self.clock.advance(MINUTE)
        self.pass_bytes(1)
        self.clock.advance(MINUTE)
        minute = NOON // 60 * 60 + 60 - NOON  # points end at whole minutes
        self.assertEqual([(minute + 60, 110), (minute + 120, 1)], self.points())
        self.assertEqual([100, 1], [sent for _, sent in self.points(10080)])
        self.assertEqual([10], [sent for _, sent in self.points(10081)])
        self.assertTrue(self.points(links=True))

    def test_the_last_interval_of_a_removed_mapping_is_written(self):
        self.mappings.tell_departed(self.recorder.departed)
        self.pass_bytes(100)
        self.run_now(self.mappings.remove(10080))
        self.clock.advance(MINUTE)
        self.clock.advance(MINUTE)
        self.assertEqual([100], [sent for _, sent in self.points(10080)])

    def test_a_removed_mapping_is_recorded_as_long_as_it_drains(self):
        self.mappings.tell_departed(self.recorder.departed)
        visitor = self.visit(10080)
        target = self.network.attempts[-1].succeed()
        visitor.peer_sends(bytes(7))
        self.run_now(self.mappings.remove(10080, "tcp", 1000.0))
        self.clock.advance(MINUTE)
        visitor.peer_sends(bytes(3))
        visitor.ends_in_order()
        target.peer_resets()
        self.clock.advance(MINUTE)
        self.clock.advance(MINUTE)
        self.assertEqual([7, 3], [sent for _, sent in self.points(10080)])
        self.assertEqual(0, len(self.recorder._departed))

    def test_a_port_that_is_mapped_again_at_once_has_one_record(self):
        self.mappings.tell_departed(self.recorder.departed)
        self.pass_bytes(100)
        self.run_now(self.mappings.remove(10080))
        self.create_direct(10080)
        self.pass_bytes(10)
        self.clock.advance(MINUTE)
        written = [one.sent for one in self.store._history if one.port == 10080]
        self.assertEqual([110], written)

    def test_removed_mappings_are_remembered_up_to_a_bound(self):
        self.mappings.tell_departed(self.recorder.departed)
        self.store.record_fault = StoreError("disk full")
        for _ in range(MOST_DEPARTED + 3):
            self.create(10085)
            self.run_now(self.mappings.remove(10085))
        self.assertEqual(MOST_DEPARTED, len(self.recorder._departed))

    def test_ports_that_nobody_uses_have_no_records(self):
        self.pass_bytes(1)
        for _ in range(5):
            self.clock.advance(MINUTE)
        ports = [one.port for one in self.store._history]
        self.assertEqual(1, ports.count(10080))
        self.assertEqual(0, ports.count(10081))
        self.assertEqual(10, ports.count(0))

    def test_what_passed_ever_goes_on_after_a_restart(self):
        self.pass_bytes(100)
        self.assertEqual((1, 100), (self.lifetime().connections, self.lifetime().sent))
        self.clock.advance(MINUTE)
        self.assertEqual(100, self.lifetime().sent)
        self.pass_bytes(5)
        self.assertEqual(105, self.lifetime().sent)
        self.run_now(self.recorder.stop())
        self.run_now(self.recorder.stop())
        again = self.start(enabled=False)  # the numbers of the rig have not begun anew
        self.assertEqual(Lifetime(2, 2, 105, 0), again._stored)

    def test_the_last_words_are_written_at_the_stop(self):
        self.pass_bytes(7)
        self.clock.advance(1)
        self.run_now(self.recorder.stop())
        self.assertEqual([7], [sent for _, sent in self.points()])
        self.clock.advance(10 * MINUTE)
        self.assertEqual([7], [sent for _, sent in self.points()])

    def test_switched_off_nothing_is_written(self):
        self.run_now(self.recorder.stop())
        self.store._history.clear()
        self.recorder = self.start(enabled=False)
        self.pass_bytes(7)
        self.clock.advance(10 * MINUTE)
        self.run_now(self.recorder.stop())
        self.assertEqual([], self.store._history)


class TroubleTests(RecorderCase):
    """Stores that fail, and clocks that jump."""

    def test_what_could_not_be_written_is_written_later(self):
        fault = StoreError("the disk is full")
        self.store.record_fault = fault
        for _ in range(30):
            self.pass_bytes(1)
            self.clock.advance(MINUTE)
        self.assertEqual(30, self.lifetime().sent)
        complaints = self.lines("cannot be recorded, and is counted on in memory")
        self.assertEqual(30 * MINUTE // COMPLAIN_SECONDS, len(complaints))
        self.store.record_fault = None
        self.clock.advance(MINUTE)
        self.assertEqual(1, len(self.lines("traffic is recorded again")))
        self.assertEqual([30], [sent for _, sent in self.points()])
        self.assertEqual(30, self.run_now(self.store.load_lifetime()).sent)

    def test_a_store_that_fails_at_the_start_and_at_the_stop(self):
        self.store.record_fault = StoreError("locked")
        recorder = self.start()
        self.pass_bytes(3)
        self.assertEqual(3, recorder.lifetime(self.now(self.traffic.total())).sent)
        self.run_now(recorder.stop())

    def test_a_slow_store_is_asked_once(self):
        gate = self.store.hold_record()
        self.pass_bytes(3)
        for _ in range(5):
            self.clock.advance(MINUTE)
        self.assertEqual(1, self.store.record_calls)
        stopping = self.ensure(self.recorder.stop())
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(2, self.store.record_calls)
        self.assertEqual(3, self.run_now(self.store.load_lifetime()).sent)

    def test_old_records_go_hour_by_hour(self):
        self.pass_bytes(1)
        for _ in range(8 * 24 * 60):
            self.clock.advance(MINUTE)
        fine = [one for one in self.store._history if one.step == 60]
        self.assertLess(len(fine), 2 * (2 * 24 * 60 + 2 * 60))
        oldest = min(one.recorded_at for one in self.store._history)
        self.assertGreater(oldest, NOON + 1 * DAY - 2 * TIDY_SECONDS)

    def test_a_clock_that_is_wrong_for_a_while_costs_no_record(self):
        self.pass_bytes(1)
        self.clock.advance(TIDY_SECONDS - MINUTE)
        self.clock.advance(MINUTE)
        self.wall = 3650.0 * DAY
        for _ in range(50):
            self.clock.advance(MINUTE)
        self.wall = -365.0 * DAY
        for _ in range(50):
            self.clock.advance(MINUTE)
        self.wall = 0.0
        self.pass_bytes(2)
        self.clock.advance(MINUTE)
        self.assertEqual([1, 2], [sent for _, sent in self.points()])
        self.assertEqual(3, len(self.lines("the clock was set")))
        self.assertEqual(3, self.lifetime().sent)

    def test_a_clock_before_the_epoch(self):
        self.wall = -2.0 * NOON
        self.pass_bytes(1)
        self.clock.advance(MINUTE)
        self.assertEqual(1, self.run_now(self.store.load_lifetime()).sent)
