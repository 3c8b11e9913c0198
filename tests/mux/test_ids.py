"""Free, live and just-closed stream ids."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.ids import Allocator, Tombstones

LAST = (1 << 32) - 1


class AllocatorTests(SynchronousTestCase):
    """The gateway's choice of ids."""

    def test_ids_start_at_one_and_go_up(self):
        """As the examples of the protocol do."""
        ids = Allocator()
        self.assertEqual([ids.take((), ()) for _ in range(4)], [1, 2, 3, 4])

    def test_ids_wrap_past_the_largest_and_skip_zero(self):
        """2^32-1 is used, 0 never."""
        ids = Allocator(LAST - 1)
        found = [ids.take((), ()) for _ in range(4)]
        self.assertEqual(found, [LAST - 1, LAST, 1, 2])

    def test_two_ends_give_out_ids_in_turn(self):
        """Odd and even, also past the largest."""
        odd, even = Allocator(LAST - 2, 2), Allocator(LAST - 1, 2)
        self.assertEqual([odd.take((), ()) for _ in range(3)], [LAST - 2, LAST, 1])
        self.assertEqual([even.take((), ()) for _ in range(3)], [LAST - 1, 2, 4])
        for number in (1, 2, LAST - 1, LAST):
            self.assertEqual(odd.gives(number), number % 2 == 1)
            self.assertEqual(even.gives(number), number % 2 == 0)

    def test_live_and_closed_ids_are_skipped(self):
        """Also across the wrap."""
        ids = Allocator(LAST)
        self.assertEqual(ids.take({LAST: "live", 2: "live"}, {1, 3}), 4)

    @given(st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)), st.integers(1, 12))
    def test_an_id_is_never_in_use(self, live, closed, first):
        """Whatever the tables hold."""
        self.assertNotIn(Allocator(first).take(live, closed), live | closed | {0})


class TombstoneTests(SynchronousTestCase):
    """Two minutes or ten thousand, whichever is less."""

    def test_an_id_is_remembered_for_two_minutes(self):
        """Not a moment longer."""
        closed = Tombstones()
        closed.add(7, now=100.0)
        closed.expire(219.99)
        self.assertIn(7, closed)
        closed.expire(220.0)
        self.assertNotIn(7, closed)
        self.assertEqual(len(closed), 0)

    def test_ids_expire_one_by_one(self):
        """Each by its own time."""
        closed = Tombstones()
        for number in range(5):
            closed.add(number, now=float(number))
        closed.expire(122.5)
        self.assertEqual([number in closed for number in range(5)], [0, 0, 0, 1, 1])

    def test_an_id_is_remembered_until_ten_thousand_newer_ones(self):
        """The table never grows beyond that."""
        closed = Tombstones()
        closed.add(0, now=0.0)
        for number in range(1, 10_000):
            closed.add(number, now=0.0)
        self.assertIn(0, closed)
        closed.add(10_000, now=0.0)
        self.assertNotIn(0, closed)
        self.assertIn(1, closed)
        self.assertEqual(len(closed), 10_000)

    def test_closing_again_starts_anew(self):
        """An id that was used again is as new as its last use."""
        closed = Tombstones()
        closed.add(1, now=0.0)
        closed.add(2, now=50.0)
        closed.add(1, now=100.0)
        closed.expire(171.0)
        self.assertEqual([1 in closed, 2 in closed], [True, False])

    def test_an_id_can_be_forgotten_early(self):
        """It need not be there."""
        closed = Tombstones()
        closed.add(1, now=0.0)
        closed.discard(1)
        closed.discard(2)
        self.assertNotIn(1, closed)
