"""How many links an agent holds, and what a link counts as."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.links import (
    BUSY_BYTES,
    MOST_WEIGHT,
    REST_SECONDS,
    RETRY_SECONDS,
    LinkCount,
    LinkUse,
    Recent,
)

LOOK = 0.5
LIMIT = 16
USES = st.builds(
    LinkUse,
    streams=st.integers(0, 40),
    waiting=st.booleans(),
    arrived=st.sampled_from([0, BUSY_BYTES]),
    round_trip=st.sampled_from([None, 0.001, 0.1]),
)


def use(streams=10, *, waiting=True, arrived=0, round_trip=0.1):
    """Return a link, which is pressed if nothing else is said."""
    return LinkUse(streams, waiting, arrived, round_trip)


class CountTests(SynchronousTestCase):
    """One link, and more while they are what limits."""

    def setUp(self):
        self.count = LinkCount()
        self.count.limit = LIMIT
        self.now = 1000.0

    def looks(self, number, *links):
        """Look several times at the same links; return what is wanted."""
        for _ in range(number):
            self.now += LOOK
            self.count.look(links, self.now)
        return self.count.wanted

    def ten(self):
        """Have ten links because of ten downloads."""
        self.looks(2, use())
        self.assertEqual(10, self.looks(1, use(), *[use(0, waiting=False)] * 3))

    def test_one_when_idle(self):
        self.assertEqual(1, self.looks(10, use(0, waiting=False)))

    def test_one_pressed_moment_changes_nothing(self):
        for _ in range(10):
            self.assertEqual(1, self.looks(1, use()))
            self.assertEqual(1, self.looks(1, use(waiting=False)))

    def test_ten_downloads_have_ten_links_within_two_seconds(self):
        self.assertEqual(4, self.looks(2, use()))
        self.assertEqual(10, self.looks(1, use(10), *[use(0, waiting=False)] * 3))

    def test_one_stream_needs_one_link(self):
        self.assertEqual(1, self.looks(10, use(1)))

    def test_uploads_show_by_what_arrives(self):
        busy = use(3, waiting=False, arrived=BUSY_BYTES)
        self.assertEqual(3, self.looks(2, busy))

    def test_small_messages_of_many_need_one_link(self):
        calm = use(100, waiting=False, arrived=BUSY_BYTES - 1)
        self.assertEqual(1, self.looks(10, calm))

    def test_a_short_path_needs_one_link(self):
        self.assertEqual(1, self.looks(10, use(round_trip=0.004)))
        self.assertEqual(1, self.looks(10, use(round_trip=None)))

    def test_after_5_minutes_of_rest_there_is_one_again(self):
        self.ten()
        idle = use(0, waiting=False)
        self.assertEqual(10, self.looks(int(REST_SECONDS / LOOK) - 1, idle))
        self.assertEqual(1, self.looks(1, idle))

    def test_pressure_begins_the_rest_again(self):
        self.ten()
        for _ in range(3):
            self.looks(int(REST_SECONDS / LOOK) - 1, use(0, waiting=False))
            self.assertEqual(10, self.looks(1, use(2)))

    def test_a_gateway_that_takes_fewer_gets_fewer(self):
        self.ten()
        self.count.limit = 2
        self.assertEqual(2, self.looks(1, use()))

    def test_a_refused_link_is_not_asked_for_again_for_5_minutes(self):
        self.ten()
        self.count.refused(3, self.now)
        self.assertEqual(3, self.looks(int(RETRY_SECONDS / LOOK) - 1, *[use()] * 3))
        self.assertEqual(10, self.looks(1, use(4), use(3), use(3)))

    @given(st.lists(st.tuples(st.lists(USES, max_size=4), st.floats(0, 400))))
    def test_laws(self, steps):
        """Within the limits always; fewer only after a rest; more only for streams."""
        count, now, pressed_at = LinkCount(), 0.0, 0.0
        count.limit = LIMIT
        for links, seconds in steps:
            now += seconds
            before = count.wanted
            wanted = count.look(links, now)
            streams = sum(link.streams for link in links)
            long = [link for link in links if link.round_trip == 0.1]
            if streams > 1 and any(link.waiting for link in long):
                pressed_at = now
            self.assertLessEqual(1, wanted)
            self.assertLessEqual(wanted, LIMIT)
            if wanted > before:
                self.assertLessEqual(wanted, max(streams, 1))
                self.assertEqual(wanted, count.look([], now))
            if wanted < before:
                self.assertEqual(wanted, 1)
                self.assertGreaterEqual(now - pressed_at, REST_SECONDS)


class RecentTests(SynchronousTestCase):
    """What bytes count as beside streams."""

    def test_an_idle_link_weighs_nothing(self):
        self.assertEqual(0, Recent().weight(0, 5.0))

    def test_a_download_weighs_as_much_as_some_idle_streams(self):
        recent = Recent()
        recent.weight(0, 1000.0)
        self.assertAlmostEqual(2.0, recent.weight(524_288, 1000.5))

    def test_what_is_a_second_old_weighs_nothing(self):
        recent = Recent()
        recent.weight(0, 1000.0)
        recent.weight(524_288, 1000.5)
        self.assertAlmostEqual(0.0, recent.weight(524_288, 1001.5))

    @given(st.lists(st.tuples(st.integers(0, 1 << 30), st.floats(0, 100))))
    def test_the_weight_is_bounded(self, steps):
        """A dead link, which moves nothing, must not attract every stream."""
        recent, moved, now = Recent(), 0, 0.0
        for size, seconds in steps:
            moved, now = moved + size, now + seconds
            weight = recent.weight(moved, now)
            self.assertTrue(0 <= weight <= MOST_WEIGHT, weight)
