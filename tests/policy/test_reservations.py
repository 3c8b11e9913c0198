"""Ports that are kept for agents."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy import reservations
from gateway.policy.reservations import MOST_PER_AGENT, Reservation, Reservations

NOW = 1_700_000_000
SITE = Reservation("web", "site", 10000)
STEPS = st.tuples(
    st.sampled_from(["use", "leave", "forget"]),
    st.sampled_from(["web", "db"]),
    st.sampled_from(["a", "b"]),
    st.integers(10000, 10003),
    st.integers(0, 50),
)


class ReservationTests(SynchronousTestCase):
    """`Reservations`."""

    def setUp(self):
        self.table = Reservations()

    def put(self, agent="web", entry="site", port=10000, until=None, now=NOW):
        self.table.put(Reservation(agent, entry, port, until), now)

    def test_in_use_it_is_kept_for_ever(self):
        self.put()
        self.assertEqual(10000, self.table.port_of(SITE.owner, NOW + 10**9))
        self.assertTrue(self.table.is_kept(10000, NOW + 10**9))
        self.assertIsNone(self.table.port_of(("web", "other"), NOW))
        self.assertFalse(self.table.is_kept(10001, NOW))

    def test_left_it_is_kept_for_a_while(self):
        self.put()
        self.table.leave(SITE.owner, NOW + 100, NOW)
        self.assertEqual(10000, self.table.port_of(SITE.owner, NOW + 99))
        self.assertIsNone(self.table.port_of(SITE.owner, NOW + 100))
        self.assertFalse(self.table.is_kept(10000, NOW + 100))
        self.assertEqual(0, len(self.table))

    def test_used_again_it_is_kept_again(self):
        self.put(until=NOW + 100)
        self.put()
        self.assertTrue(self.table.is_kept(10000, NOW + 101))

    def test_a_port_given_to_another_is_kept_for_that_one(self):
        self.put(until=NOW + 100)
        self.put("db", "main")
        self.assertIsNone(self.table.port_of(SITE.owner, NOW))
        self.assertEqual(10000, self.table.port_of(("db", "main"), NOW))

    def test_an_owner_has_one_port(self):
        self.put()
        self.put(port=10001)
        self.assertFalse(self.table.is_kept(10000, NOW))

    def test_what_is_unknown_can_be_left_and_forgotten(self):
        self.table.leave(SITE.owner, NOW + 1, NOW)
        self.table.forget(SITE.owner)
        self.assertEqual({}, self.table.take_changes())

    def test_changes_are_told_once_and_the_last_counts(self):
        self.put()
        self.put("db", "main", 10001)
        self.table.forget(("db", "main"))
        self.put()
        changes = {SITE.owner: SITE, ("db", "main"): None}
        self.assertEqual(changes, self.table.take_changes())
        self.assertEqual({}, self.table.take_changes())

    def test_changes_given_back_stand_below_newer_ones(self):
        self.put()
        main = Reservation("db", "main", 10001)
        self.table.put(main, NOW)
        before = self.table.take_changes()
        self.table.forget(SITE.owner)
        self.table.give_back(before)
        changes = self.table.take_changes()
        self.assertEqual({SITE.owner: None, main.owner: main}, changes)

    def test_one_agent_has_so_many(self):
        for number in range(MOST_PER_AGENT):
            self.put(entry=f"{number}", port=10000 + number, until=NOW + 500 - number)
        self.put("db", "main", 20000, NOW + 1)
        self.put(entry="more", port=20001)
        self.assertEqual(MOST_PER_AGENT + 1, len(self.table))
        self.assertIsNone(self.table.port_of(("web", "99"), NOW))  # ended first
        self.assertTrue(self.table.is_kept(20000, NOW))

    def test_all_have_so_many(self):
        self.patch(reservations, "MOST_RESERVATIONS", 3)
        self.put("a", port=1)
        self.put("b", port=2, until=NOW + 9)
        self.put("c", port=3, until=NOW + 5)
        self.put("d", port=4)
        self.assertEqual(
            [True, True, False, True],
            [self.table.is_kept(port, NOW) for port in range(1, 5)],
        )

    @given(st.lists(STEPS, max_size=30))
    def test_ports_and_owners_belong_together(self, steps):
        table, stored, now = Reservations(), {}, NOW
        for action, agent, entry, port, seconds in steps:
            now += seconds
            owner = agent, entry
            if action == "use":
                table.put(Reservation(agent, entry, port), now)
            elif action == "leave":
                table.leave(owner, now + 60, now)
            else:
                table.forget(owner)
            stored.update(table.take_changes())
            kept = {
                port: owner
                for owner in [(a, e) for a in ("web", "db") for e in "ab"]
                if (port := table.port_of(owner, now)) is not None
            }
            stored.update(table.take_changes())
            self.assertEqual(len(kept), len(table))
            for port in range(10000, 10004):
                self.assertEqual(port in kept, table.is_kept(port, now))
            self.assertEqual(
                {one.owner: one.port for one in stored.values() if one is not None},
                {owner: port for port, owner in kept.items()},
            )
