"""Records of the past add up, however coarse they become."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.history import (
    DAY,
    HOUR,
    Lifetime,
    Point,
    TrafficRecord,
    coarser,
    end_of,
    step_for,
    sum_up,
)

SECONDS = st.integers(1, 4_000_000_000)
RECORDS = st.lists(
    st.builds(
        TrafficRecord,
        port=st.sampled_from([0, 80, 81]),
        is_tunnel=st.booleans(),
        recorded_at=st.integers(1, 10 * DAY),
        step=st.sampled_from([1, 60, HOUR, DAY]),
        sent=st.integers(0, 1 << 40),
        received=st.integers(0, 1 << 40),
        connections=st.integers(0, 1000),
        active=st.integers(0, 1000),
    ),
    max_size=30,
)


def totals(records):
    return (
        sum(one.sent for one in records),
        sum(one.received for one in records),
        sum(one.connections for one in records),
        max((one.active for one in records), default=0),
    )


class StepTests(SynchronousTestCase):
    """How far apart points are."""

    @given(SECONDS, SECONDS, st.integers(1, 1000), st.sampled_from([1, 60, HOUR, DAY]))
    def test_the_points_are_never_more_than_wanted(self, one, other, limit, least):
        since, until = min(one, other) - 1, max(one, other)
        step = step_for(since, until, limit, least)
        self.assertGreaterEqual(step, least)
        ends = {end_of(since + 1, step), end_of(until, step)}
        self.assertLessEqual((max(ends) - min(ends)) // step + 1, limit)

    def test_steps_are_such_as_people_like(self):
        now = 1_700_000_000
        for span, limit, least, step in (
            (100 * 60, 101, 1, 60),
            (100 * 60, 100, 1, 120),
            (DAY, 100, 60, 900),
            (DAY, 1000, 60, 120),
            (30 * DAY, 1000, HOUR, HOUR),
            (30 * DAY, 100, HOUR, 12 * HOUR),
            (3600 * DAY, 100, DAY, 56 * DAY),
        ):
            self.assertEqual(step_for(now - span, now, limit, least), step, span)


class SumTests(SynchronousTestCase):
    """Many become few."""

    def test_a_record_belongs_to_the_step_that_it_ends_in(self):
        self.assertEqual(
            [end_of(at, 60) for at in (1, 59, 60, 61, 120)], [60, 60, 60, 120, 120]
        )

    def test_points_add_bytes_and_keep_the_most_visitors(self):
        records = [
            TrafficRecord(0, False, at, 60, 10, 20, 1, active)
            for at, active in ((60, 5), (120, 3), (3660, 4))
        ]
        self.assertEqual(
            sum_up(records, HOUR),
            [Point(3600, 20, 40, 2, 5), Point(7200, 10, 20, 1, 4)],
        )

    @given(RECORDS, st.sampled_from([HOUR, DAY]), st.integers(0, 12))
    def test_nothing_is_lost_when_records_become_coarser(self, records, step, days):
        found = coarser(records, days * DAY, step)
        self.assertEqual(totals(found), totals(records))
        for one in found:
            if one.recorded_at <= days * DAY:
                self.assertGreaterEqual(one.step, step)
        self.assertEqual(sorted(coarser(found, days * DAY, step)), sorted(found))

    def test_lifetimes_add_up(self):
        self.assertEqual(
            Lifetime(1, 2, 3, 4).plus(Lifetime(10, 20, 30, 40)),
            Lifetime(11, 22, 33, 44),
        )
