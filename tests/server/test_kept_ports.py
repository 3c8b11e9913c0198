"""Ports of agents that are away, over a restart of the gateway."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gateway.errors import StoreError
from gateway.policy.reservations import Reservation
from gateway.server.kept_ports import RETRY_SECONDS, WRITE_SECONDS, KeptPorts
from gateway.store.memory import MemoryMappingStore
from tests.server.rig import LogCase

NOON = 1_700_000_000


class CountingStore(MemoryMappingStore):
    """Counts writes, and fails when told to."""

    writes = 0
    broken = False

    async def write_reservations(self, put, gone):
        self.writes += 1
        if self.broken:
            raise StoreError("the disk is full")
        await super().write_reservations(put, gone)


class KeptPortsTests(LogCase):
    """`KeptPorts`."""

    def setUp(self):
        super().setUp()
        self.clock = Clock()
        self.store = CountingStore()
        self.done(self.store.open())
        self.start()

    def done(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def start(self, seconds=1000):
        self.kept = KeptPorts(self.clock, self.store, self.now, seconds)
        self.done(self.kept.restore())

    def now(self):
        return NOON + self.clock.seconds()

    def stored(self):
        return self.done(self.store.load_reservations())

    def test_it_is_stored_at_once(self):
        self.kept.use("web", "site", 10000)
        self.assertEqual([Reservation("web", "site", 10000)], self.stored())

    def test_after_a_kill_it_counts_as_left_now(self):
        self.kept.use("web", "site", 10000)
        self.clock.advance(5000)
        self.start()
        until = NOON + 6000
        self.assertEqual([Reservation("web", "site", 10000, until)], self.stored())
        self.clock.advance(999)
        self.assertEqual(10000, self.kept.port_of("web", "site"))
        self.clock.advance(1)
        self.assertIsNone(self.kept.port_of("web", "site"))

    def test_what_was_left_goes_on_ending_then(self):
        self.kept.use("web", "site", 10000)
        self.clock.advance(5)
        self.kept.leave("web", "site")
        self.clock.advance(990)
        self.start()
        self.assertTrue(self.kept.is_kept(10000))
        self.clock.advance(10)
        self.assertFalse(self.kept.is_kept(10000))

    def test_what_has_ended_meanwhile_is_removed(self):
        self.kept.use("web", "site", 10000)
        self.clock.advance(1)
        self.kept.leave("web", "site")
        self.clock.advance(2000)
        self.start()
        self.assertEqual([], self.stored())

    def test_a_shorter_time_holds_for_what_is_stored(self):
        self.kept.use("web", "site", 10000)
        self.clock.advance(1)
        self.kept.leave("web", "site")
        self.clock.advance(1)
        self.start(seconds=10)
        self.clock.advance(10)
        self.assertFalse(self.kept.is_kept(10000))

    def test_without_a_time_nothing_is_kept(self):
        self.kept.use("web", "site", 10000)
        self.start(seconds=0)
        self.kept.use("web", "other", 10001)
        self.assertEqual([], self.stored())
        self.assertFalse(self.kept.is_kept(10001))

    def test_an_edited_row_is_passed_over(self):
        wrong = Reservation("web", "site", 70000)
        self.done(self.store.write_reservations([wrong], []))
        self.start()
        self.assertIsNone(self.kept.port_of("web", "site"))
        self.assertEqual(1, len(self.lines("stored port 70000")))

    def test_writes_are_bounded_whatever_agents_do(self):
        for number in range(1000):
            self.kept.use("web", "site", 10000 + number % 7)
            self.kept.forget("web", "site")
            self.kept.use("web", "site", 10000)
        self.assertEqual(1, self.store.writes)
        self.clock.advance(WRITE_SECONDS)
        self.assertEqual(2, self.store.writes)
        self.assertEqual([Reservation("web", "site", 10000)], self.stored())
        self.clock.advance(WRITE_SECONDS)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_what_cannot_be_stored_is_tried_again(self):
        self.store.broken = True
        self.kept.use("web", "site", 10000)
        self.assertEqual(1, len(self.lines("the disk is full")))
        self.clock.advance(RETRY_SECONDS - 1)
        self.assertEqual(1, self.store.writes)
        self.store.broken = False
        self.clock.advance(1)
        self.assertEqual([Reservation("web", "site", 10000)], self.stored())

    def test_the_stop_writes_what_is_left_and_leaves_no_timer(self):
        self.kept.use("web", "site", 10000)
        self.kept.use("web", "other", 10001)
        for _ in range(2):
            self.done(self.kept.stop())
        self.assertEqual(2, len(self.stored()))
        self.assertEqual([], self.clock.getDelayedCalls())
