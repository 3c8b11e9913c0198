"""What an address may use of what is scarce."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.fairness import NEWCOMER_BYTES, MemoryShares, places_refused

LIMIT = 1 << 28
ADDRESSES = st.integers(0, 9).map("192.0.2.{}".format)


class PlaceTests(SynchronousTestCase):
    """A limited number of places."""

    def test_nobody_is_refused_while_there_is_plenty(self):
        self.assertFalse(places_refused(1000, 874, 874))

    def test_unlimited_places_are_refused_to_nobody(self):
        self.assertFalse(places_refused(0, 1 << 20, 1 << 20))

    def test_the_last_eighth_is_not_for_who_has_the_most(self):
        self.assertTrue(places_refused(1000, 875, 875))
        self.assertFalse(places_refused(1000, 875, 124))

    @given(st.integers(1, 2000), st.lists(ADDRESSES, max_size=200), st.integers(1, 5))
    def test_few_addresses_leave_a_place_for_one_that_has_none(
        self, limit, others, greedy
    ):
        counts = dict.fromkeys((f"198.51.100.{index}" for index in range(greedy)), 0)
        used = 0
        for _ in range(limit):
            for one in (*counts, *others[used : used + 1]):
                if used < limit and not places_refused(
                    limit, used, counts.setdefault(one, 0)
                ):
                    counts[one] += 1
                    used += 1
        if limit >= 8 * (len(counts) + 1):
            self.assertLess(used, limit)
            self.assertFalse(places_refused(limit, used, 0))


class ShareTests(SynchronousTestCase):
    """Memory that is nearly used up."""

    def setUp(self):
        self.shares = MemoryShares(LIMIT)

    def test_who_uses_the_share_is_refused_and_others_are_admitted(self):
        self.shares.update({"192.0.2.1": LIMIT})
        self.assertFalse(self.shares.admits("192.0.2.1"))
        self.assertTrue(self.shares.admits("192.0.2.2"))

    def test_an_ipv6_network_of_64_bits_is_one_address(self):
        self.shares.update({"2001:db8::/64": LIMIT})
        self.assertFalse(self.shares.admits("2001:db8::17"))
        self.assertTrue(self.shares.admits("2001:db8:0:1::17"))

    def test_the_share_shrinks_with_the_number_of_addresses(self):
        self.shares.update({"192.0.2.1": 1})
        self.assertEqual(LIMIT // 2, self.shares.share)
        self.shares.update({"192.0.2.1": 1, "192.0.2.2": 1, "192.0.2.3": 1})
        self.assertEqual(LIMIT // 4, self.shares.share)

    @given(st.lists(ADDRESSES, max_size=600), st.dictionaries(ADDRESSES, st.just(1)))
    def test_newcomers_take_one_sixteenth_between_two_looks(self, comers, uses):
        self.shares.update(uses)
        admitted = [one for one in comers if self.shares.admits(one)]
        self.assertLessEqual(len(admitted) * NEWCOMER_BYTES, LIMIT // 16)

    @given(st.lists(ADDRESSES, max_size=2000))
    def test_newcomers_of_one_address_leave_room_for_another_one(self, comers):
        self.shares.update({})
        for _ in range(1000):
            self.shares.admits("198.51.100.1")
        self.assertTrue(self.shares.admits("192.0.2.1"))

    def test_a_look_makes_room_for_newcomers(self):
        while self.shares.admits("192.0.2.1"):
            pass
        self.shares.update({})
        self.assertTrue(self.shares.admits("192.0.2.1"))
