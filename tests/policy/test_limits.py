"""Counted places."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.limits import Slots


class SlotsTests(SynchronousTestCase):
    """`Slots`."""

    def test_no_more_than_the_limit(self):
        slots = Slots(2)
        self.assertEqual([slots.acquire() for _ in range(3)], [True, True, False])
        self.assertEqual((slots.active, slots.total, slots.rejected), (2, 2, 1))

    def test_a_place_that_is_given_back_is_free(self):
        slots = Slots(1)
        slots.acquire()
        slots.release()
        self.assertTrue(slots.acquire())
        self.assertEqual((slots.active, slots.total, slots.rejected), (1, 2, 0))

    def test_zero_is_unlimited(self):
        slots = Slots(0)
        self.assertTrue(all(slots.acquire() for _ in range(1000)))
        self.assertEqual((slots.limit, slots.active), (0, 1000))

    def test_giving_back_too_much_is_a_bug(self):
        slots = Slots(1)
        self.assertRaises(RuntimeError, slots.release)
        self.assertEqual(slots.active, 0)

    @given(st.integers(0, 5), st.lists(st.booleans()))
    def test_counts_always_agree(self, limit, steps):
        """Every place is either active or given back, and the limit holds."""
        slots, taken, returned, refused = Slots(limit), 0, 0, 0
        for take in steps:
            if take:
                if slots.acquire():
                    taken += 1
                else:
                    refused += 1
            elif taken > returned:
                slots.release()
                returned += 1
            self.assertEqual(slots.active, taken - returned)
            self.assertEqual((slots.total, slots.rejected), (taken, refused))
            self.assertTrue(not limit or slots.active <= limit)
