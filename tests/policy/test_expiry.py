"""Names and the times at which they expire."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.expiry import Expiries

NAMES = st.sampled_from("abcdef")
STEPS = st.lists(
    st.tuples(NAMES, st.none() | st.integers(0, 20)), min_size=1, max_size=60
)


class ExpiriesTests(SynchronousTestCase):
    """The heap against a plain dictionary."""

    @given(STEPS, st.integers(0, 20))
    def test_agrees_with_a_search_of_all_names(self, steps, now):
        heap = Expiries()
        plain: dict[str, int] = {}
        for name, at in steps:
            heap.put(name, at)
            plain.pop(name, None)
            if at is not None:
                plain[name] = at
            self.assertEqual(heap.next_at(), min(plain.values(), default=None))
            self.assertLessEqual(len(heap._heap), 2 * len(plain) + 16)
        due = heap.due(now)
        self.assertCountEqual(due, [one for one, at in plain.items() if at <= now])
        self.assertEqual([plain[one] for one in due], sorted(plain[one] for one in due))
        self.assertEqual(len(heap), sum(at > now for at in plain.values()))
        self.assertEqual(heap.due(now), [])

    def test_a_name_that_goes_on_is_not_due_at_its_old_time(self):
        heap = Expiries()
        heap.put("a", 5)
        heap.put("a", 9)
        self.assertEqual(heap.due(7), [])
        self.assertEqual(heap.due(9), ["a"])
