"""Places that are shared between addresses."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.addresses import holder_of
from gateway.policy.shares import HOLD_SECONDS, Shares

LIMIT = 6
ADDRESSES = (
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "2001:db8::1",
    "2001:db8::2",  # shares the network of the one before
    "2001:db8:0:1::1",
)
FRESH = HOLD_SECONDS / 4
STALE = HOLD_SECONDS

arrivals = st.tuples(
    st.sampled_from(ADDRESSES), st.sampled_from((0.0, FRESH, STALE)), st.none()
)
departures = st.tuples(st.none(), st.just(0.0), st.integers(0, LIMIT - 1))


class Table:
    """A table with a limit, and a plain list that says what must be in it.

    Attributes:
        members: number, holder and time of arrival, oldest first.
    """

    def __init__(self):
        self.shares: Shares[int] = Shares()
        self.members = []
        self.now = 0.0
        self._made = 0

    def arrive(self, address):
        """Try to get a newcomer in; return who gave way, and whether it got in."""
        gone = None
        if len(self.shares) >= LIMIT:
            victim = self.shares.victim(address, self.now)
            if victim is None:
                return None, False
            gone = next(one for one in self.members if one[0] == victim)
            self.leave(gone)
        self._made += 1
        self.shares.add(self._made, address, self.now)
        self.members.append((self._made, holder_of(address), self.now))
        return gone, True

    def leave(self, member):
        """Take a member out."""
        self.members.remove(member)
        self.shares.discard(member[0])

    def count(self, holder):
        """Return how many members a holder has."""
        return sum(1 for member in self.members if member[1] == holder)

    def most(self):
        """Return how many members whoever has the most has."""
        return max((self.count(member[1]) for member in self.members), default=0)


class SharesLaws(SynchronousTestCase):
    """Whatever comes and goes."""

    @given(st.lists(arrivals | departures, max_size=60))
    def test_who_gives_way(self, steps):
        """The limit holds, and who has few gives way to nobody who has more."""
        table = Table()
        for address, seconds, leaving in steps:
            table.now += seconds
            if address is None:
                if leaving < len(table.members):
                    table.leave(table.members[leaving])
                continue
            before, most = list(table.members), table.most()
            own = table.count(holder_of(address)) + 1
            gone, entered = table.arrive(address)
            self.assertLessEqual(len(table.shares), LIMIT)
            self.assertEqual(len(table.shares), len(table.members))
            if own < most:
                self.assertTrue(entered, "a light newcomer was rejected")
            if gone is not None:
                self.check_victim(gone, before, most, own, table.now)
                if own >= most > 0 and own > 1:
                    self.assertEqual(gone[1], holder_of(address))

    def check_victim(self, gone, before, most, own, now):
        """Fail unless it is the oldest of who has most, the newcomer counted."""
        _, holder, since = gone
        theirs = [member for member in before if member[1] == holder]
        self.assertEqual(gone, theirs[0])
        self.assertGreaterEqual(max(len(theirs), own), most)
        if own >= most:
            self.assertGreaterEqual(now - since, HOLD_SECONDS)
        else:
            self.assertEqual(len(theirs), most)

    @given(st.lists(st.sampled_from(ADDRESSES[:3]), max_size=200))
    def test_one_with_a_single_place_keeps_it_beside_any_flood(self, flood):
        """As long as the flood comes from fewer addresses than half of the places."""
        table = Table()
        for address in flood:
            table.arrive(address)
        _, entered = table.arrive("198.51.100.9")
        self.assertTrue(entered)
        for address in flood * 2:
            table.now += FRESH
            table.arrive(address)
        self.assertEqual(table.count("198.51.100.9"), 1)

    @given(st.lists(arrivals, max_size=60))
    def test_nothing_is_left_when_all_have_gone(self, steps):
        table = Table()
        for address, seconds, _ in steps:
            table.now += seconds
            table.arrive(address)
        for member in list(table.members):
            table.leave(member)
        shares = table.shares
        left = (shares._holders, shares._members, shares._by_count, shares._most)
        self.assertEqual(left, ({}, {}, {}, 0))


class SharesTests(SynchronousTestCase):
    """Single cases."""

    def setUp(self):
        self.table = Table()

    def fill(self, address):
        for _ in range(LIMIT):
            self.table.arrive(address)

    def test_a_flood_gives_way_at_once_to_another_address(self):
        self.fill("192.0.2.1")
        gone, entered = self.table.arrive("192.0.2.2")
        self.assertTrue(entered)
        self.assertEqual(gone[0], 1)

    def test_a_flood_gives_way_to_its_own_only_after_a_while(self):
        self.fill("192.0.2.1")
        self.assertEqual(self.table.arrive("192.0.2.1"), (None, False))
        self.table.now = HOLD_SECONDS
        gone, entered = self.table.arrive("192.0.2.1")
        self.assertTrue(entered)
        self.assertEqual(gone[0], 1)

    def test_ipv6_neighbours_are_one(self):
        self.fill("2001:db8::1")
        self.assertEqual(self.table.arrive("2001:db8::ffff"), (None, False))
        self.assertTrue(self.table.arrive("2001:db8:0:1::1")[1])

    def test_as_many_addresses_as_places_give_way_oldest_first_after_a_while(self):
        for number in range(LIMIT):
            self.table.arrive(f"192.0.2.{number}")
        self.assertEqual(self.table.arrive("198.51.100.9"), (None, False))
        self.table.now = HOLD_SECONDS
        gone, _ = self.table.arrive("198.51.100.9")
        self.assertEqual(gone[1], "192.0.2.0")

    def test_who_is_not_there_can_be_removed(self):
        shares: Shares[str] = Shares()
        shares.discard("nobody")
        shares.add("one", "192.0.2.1", 0.0)
        self.assertIn("one", shares)
        shares.discard("one")
        self.assertNotIn("one", shares)
        self.assertIsNone(shares.victim("192.0.2.1", 9.0))
