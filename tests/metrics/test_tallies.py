"""Numbers of visits that are over."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.metrics.tallies import (
    BROKEN,
    CAUSES,
    FINISHED,
    KILLED,
    LEFT,
    LINK,
    NO_AGENT,
    Histogram,
    Stalls,
    Tally,
)


class HistogramTests(SynchronousTestCase):
    """Values by range."""

    def test_a_bound_belongs_to_its_range(self):
        found = Histogram((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 2.0, 2.5):
            found.observe(value)
        self.assertEqual([2, 2, 1], found.counts)
        self.assertEqual(7.5, found.sum)

    @given(st.lists(st.floats(0, 1000)))
    def test_cumulated_counts_are_those_of_the_values(self, values):
        found = Histogram((0.1, 1.0, 10.0))
        for value in values:
            found.observe(value)
        for bound, count in found.cumulated():
            self.assertEqual(sum(value <= bound for value in values), count)


class TallyTests(SynchronousTestCase):
    """What visits have carried."""

    def test_visits_add_up(self):
        tally = Tally()
        tally.ended(3, 5, FINISHED, 0.5)
        tally.ended(4, 6, BROKEN, 1.5)
        self.assertEqual(
            (7, 11, 2.0), (tally.sent, tally.received, tally.durations.sum)
        )

    def test_leaving_early_and_being_sent_away_are_no_errors(self):
        tally = Tally()
        for outcome in (FINISHED, LEFT, KILLED, BROKEN, NO_AGENT):
            tally.ended(0, 0, outcome, 0.0)
        self.assertEqual(2, tally.errors)


class StallTests(SynchronousTestCase):
    """What bytes had to wait for."""

    def test_each_cause_is_counted_for_itself(self):
        stalls = Stalls()
        stalls.note(LINK, 0.25)
        stalls.note(LINK, 0.5)
        self.assertEqual((2, 0.75), (stalls.counts[LINK], stalls.seconds[LINK]))
        self.assertEqual(2, sum(stalls.counts[cause] for cause in CAUSES))
