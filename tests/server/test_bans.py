"""Bans that are stored, and what they do to those who are here."""

from gateway.errors import BadRequestError, BanMissingError, StoreFailedError
from gateway.server.bans import BanTable
from tests.server.rig import NOON, GatewayCase
from tests.strategies import raw_frame


class BanTests(GatewayCase):
    """The operator keeps somebody out."""

    def now(self, coroutine):
        return self.successResultOf(self.ensure(coroutine))

    def test_visitors_end_and_new_ones_are_turned_away(self):
        self.create()
        self.agent()
        visitor = self.visit()
        self.now(self.bans.add("203.0.113.0/24", 60, "a test"))
        self.mappings.enforce_bans()
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertTrue(self.visit().refused)
        self.assertEqual({"banned": 1}, self.mappings.get(10080).rejected)
        self.clock.advance(60)
        self.assertFalse(self.visit().refused)

    def test_beginnings_and_ends_are_told(self):
        self.build(failures=1, token="a-token-of-the-agents")
        self.now(self.bans.add("203.0.113.0/24", 60, "a test"))
        self.now(self.bans.add("192.0.2.1", None, ""))
        self.now(self.bans.remove("192.0.2.1"))
        self.agent(token="wrong")
        self.clock.advance(600)
        self.bans.lift()
        self.bans.lift()
        self.assertEqual(
            [
                ("added", "203.0.113.0/24", NOON + 60, "a test"),
                ("added", "192.0.2.1/32", None, ""),
                ("removed", "192.0.2.1/32", None, ""),
                ("added", "198.51.100.1", NOON + 600, "wrong credentials"),
                ("lifted", "203.0.113.0/24", NOON + 60, "a test"),
                ("lifted", "198.51.100.1", NOON + 600, "wrong credentials"),
            ],
            [(action, *fields.values()) for _, action, fields in self.told("ban")],
        )

    def test_what_is_over_leaves_the_store(self):
        for network in ("203.0.113.0/24", "192.0.2.0/24"):
            self.now(self.bans.add(network, 60, ""))
        self.clock.advance(60)
        self.store.fail("the disk is full")
        self.bans.lift()
        self.assertEqual(2, len(self.lines("is over and stays in the store")))
        self.store.fault = None
        self.assertEqual(2, len(self.now(self.store.load_bans())))
        self.build()
        self.now(self.bans.restore())
        self.assertEqual([], self.now(self.store.load_bans()))
        self.assertEqual([], self.bans.views())
        self.now(self.bans.add("192.0.2.0/24", 60, ""))
        self.clock.advance(60)
        self.bans.lift()
        self.assertEqual([], self.now(self.store.load_bans()))

    def test_links_are_refused(self):
        self.now(self.bans.add("198.51.100.1", None, ""))
        self.assertIsNone(self.connect())
        self.now(self.bans.remove("198.51.100.1"))
        self.assertIsNotNone(self.connect())

    def test_they_survive_a_restart(self):
        self.now(self.bans.add("198.51.100.1", None, "for good"))
        self.now(self.bans.add("203.0.113.0/24", 60, ""))
        self.build()
        self.now(self.bans.restore())
        self.assertFalse(self.bans.admits("198.51.100.1"))
        self.assertEqual(
            [("198.51.100.1/32", None), ("203.0.113.0/24", NOON + 60)],
            [(one.network, one.until) for one in self.bans.views()],
        )

    def test_what_cannot_be_done(self):
        for change, fault in (
            (self.bans.add("nonsense", None, ""), BadRequestError),
            (self.bans.add("192.0.2.1/24", None, ""), BadRequestError),
            (self.bans.remove("nonsense"), BadRequestError),
            (self.bans.remove("192.0.2.1"), BanMissingError),
        ):
            self.failureResultOf(self.ensure(change), fault)

    def test_a_store_that_fails_changes_nothing(self):
        self.now(self.bans.add("192.0.2.1", None, ""))
        self.store.fail("the disk is full")
        for change in (
            self.bans.add("192.0.2.2", None, ""),
            self.bans.add("192.0.2.1", 5, ""),
            self.bans.remove("192.0.2.1"),
        ):
            self.failureResultOf(self.ensure(change), StoreFailedError)
        self.clock.advance(10)
        self.assertFalse(self.bans.admits("192.0.2.1"))
        self.assertTrue(self.bans.admits("192.0.2.2"))

    def test_a_spoilt_row_costs_itself_alone(self):
        self.now(self.bans.add("192.0.2.1", None, ""))
        good = self.bans.views()[0]
        self.now(self.store.put_ban(good.__class__("nonsense", None, "", True)))
        table = BanTable(self.store, self.bans._bans._settings, self.wall_now)
        self.now(table.restore())
        self.assertEqual([good], table.views())
        self.assertEqual(1, len(self.lines("stored ban of 'nonsense' passed over")))

    def test_strangers_that_flood_are_kept_out(self):
        """As those are who show wrong credentials; other rubbish is no crime."""
        for flood in (raw_frame(0x7F) * 100, raw_frame(0x10, length=1 << 20)):
            self.build(failures=2, token="a-token-of-the-agents")
            for _ in range(2):
                self.connect().says(b"GET / HTTP/1.1\r\n\r\n")
                self.assertTrue(self.bans.admits("198.51.100.1"))
            for _ in range(2):
                self.assertTrue(self.bans.admits("198.51.100.1"))
                self.connect().says(flood)
            self.assertFalse(self.bans.admits("198.51.100.1"))
