"""Whose bytes wait, and who goes first."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.backlogs import (
    SMALL_BYTES,
    WHEN_OVER,
    WHEN_REFUSING,
    WHEN_TIGHT,
    Backlogs,
    Flow,
    Rule,
)

LARGE = SMALL_BYTES * 10
SHARE = LARGE * 3


class BacklogCase(SynchronousTestCase):
    """Connections that are looked at once a second."""

    def setUp(self):
        self.backlogs: Backlogs[str] = Backlogs()
        self.now = 0.0
        self.crowd: dict[str, Any] = {}

    def come(self, name, address, kernel=LARGE, pace=0, held=0):
        """Add a connection whose peer takes `pace` bytes a second."""
        self.crowd[name] = [address, kernel, pace, held, 0]

    def look(self, times=1):
        """Let seconds pass."""
        for _ in range(times):
            self.now += 1.0
            for name, one in self.crowd.items():
                address, kernel, pace, held, _ = one
                one[-1] += pace
                flows = [Flow(held, kernel, one[-1])]
                self.backlogs.observe(name, address, flows, self.now)
            self.backlogs.finish()

    def going(self, rules=WHEN_OVER):
        """Return all that would go, in order."""
        victims = self.backlogs.victims(self.now, SHARE, rules)
        return [one.holder for one in victims]


class CountTests(BacklogCase):
    """What counts."""

    def test_the_kernels_bytes_count_once_a_peer_is_known_not_to_read(self):
        self.come("deaf", "a")
        self.look()
        self.assertEqual((0, LARGE), (self.backlogs.kernel, self.backlogs.unknown))
        self.look()
        self.assertEqual(
            (LARGE, 0, 1),
            (self.backlogs.kernel, self.backlogs.unknown, self.backlogs.stalled),
        )
        self.assertEqual({"a": LARGE}, self.backlogs.uses)

    def test_what_a_fast_peer_takes_soon_does_not_count(self):
        self.come("fast", "a", pace=LARGE)
        self.look(3)
        self.assertEqual((0, 0), (self.backlogs.kernel, self.backlogs.stalled))
        self.assertEqual({}, self.backlogs.uses)

    def test_what_a_trickle_leaves_waiting_counts_but_does_not_stall(self):
        self.come("trickle", "a", pace=1)
        self.look(2)
        self.assertEqual((LARGE, 0), (self.backlogs.kernel, self.backlogs.stalled))

    def test_bytes_of_the_process_count_whoever_reads(self):
        self.come("fast", "a", kernel=0, held=7, pace=LARGE)
        self.look(3)
        self.assertEqual(({"a": 7}, 0), (self.backlogs.uses, self.backlogs.kernel))

    def test_one_direction_that_moves_does_not_hide_one_that_stalls(self):
        for second in range(3):
            flows = [Flow(0, LARGE, 5), Flow(0, 10, second * 100)]
            self.backlogs.observe("deaf", "a", flows, float(second))
            self.backlogs.finish()
        self.assertEqual((LARGE, 1), (self.backlogs.kernel, self.backlogs.stalled))

    def test_who_is_gone_is_forgotten(self):
        self.come("deaf", "a")
        self.look(2)
        self.crowd.clear()
        self.look()
        self.assertEqual(
            (0, 0, {}), (len(self.backlogs), self.backlogs.kernel, self.backlogs.uses)
        )


class OrderTests(BacklogCase):
    """Who goes first."""

    def test_the_oldest_stall_of_one_address_goes_first(self):
        for name in "abc":
            self.come(name, "a", kernel=LARGE * 2)
            self.look()
        self.look(4)
        self.assertEqual(["a", "b", "c"], self.going())

    def test_an_older_stall_of_an_address_within_its_share_goes_later(self):
        self.come("paused", "honest")
        self.look(100)
        for name in "abcdef":
            self.come(name, "greedy")
        self.look(2)
        going = self.going()  # three make the greedy one keep to its share
        self.assertEqual(3, going.index("paused"))

    def test_one_that_moves_now_and_then_stays_within_its_share(self):
        self.come("pausing", "honest", pace=1)
        self.come("deaf", "greedy", kernel=LARGE * 9)
        self.look(5)
        self.assertEqual(["deaf"], self.going())

    def test_trickles_above_the_share_go_behind_stalls_the_slowest_first(self):
        for name, pace in (("quick", 900), ("slow", 1), ("slower", 0.1)):
            self.come(name, "greedy", pace=pace, kernel=LARGE * 2)
        self.come("deaf", "greedy")
        self.look(5)
        self.assertEqual(["deaf", "slower", "slow"], self.going()[:3])

    def test_a_short_pause_within_the_share_outlives_trickles_above_it(self):
        for name in "abcdefg":
            self.come(name, "greedy", pace=1)
        self.come("paused", "honest")
        self.look(4)
        self.assertEqual("paused", self.going()[-1])
        self.look(15)
        self.assertEqual("paused", self.going()[0])

    def test_trickles_go_until_their_address_is_within_its_share(self):
        for name in "abcd":
            self.come(name, "greedy", pace=1)
        self.look(3)
        self.assertEqual(1, len(self.going()))

    def test_the_more_memory_is_used_the_shorter_may_a_stall_be(self):
        self.come("deaf", "greedy", kernel=LARGE * 4)
        self.come("trickle", "greedy", kernel=LARGE * 4, pace=1)
        for rules, seconds in ((WHEN_TIGHT, 60), (WHEN_REFUSING, 2), (WHEN_OVER, 1)):
            self.forget()
            self.look(seconds)
            self.assertEqual([], self.going(rules))
            self.look()
            self.assertEqual("deaf", self.going(rules)[0])

    def forget(self):
        """Forget what was seen, but not who is there."""
        self.backlogs = Backlogs()

    def test_nobody_who_moves_goes_below_the_limit(self):
        for name in "abcd":
            self.come(name, "greedy", pace=1)
        self.look(100)
        self.assertEqual([], self.going(WHEN_REFUSING) + self.going(WHEN_TIGHT))

    def test_only_who_is_above_the_share_goes_while_nobody_is_kept_out(self):
        self.come("deaf", "honest")
        self.look(100)
        self.assertEqual([], self.going(WHEN_TIGHT))

    def test_a_little_that_waits_for_long_goes_last(self):
        self.come("little", "a", kernel=SMALL_BYTES)
        self.look(50)
        self.come("much", "a")
        self.look(4)
        self.assertEqual(["much", "little"], self.going())

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abcd"),
                st.integers(0, LARGE * 4),
                st.sampled_from([0, 0, 1, 1000, LARGE]),
            ),
            max_size=30,
        ),
        st.booleans(),
    )
    def test_laws(self, crowd, moving):
        """The sums agree; nobody within a share loses a connection that moves."""
        self.setUp()
        for number, (address, kernel, pace) in enumerate(crowd):
            self.come(f"{number}", address, kernel, pace)
        self.look(4)
        uses = dict(self.backlogs.uses)
        self.assertEqual(sum(uses.values()), self.backlogs.kernel)
        gone: set[str] = set()
        for victim in self.backlogs.victims(
            self.now, SHARE, WHEN_OVER if moving else [Rule(0.5, small=True)]
        ):
            self.assertNotIn(victim.holder, gone)
            gone.add(victim.holder)
            if not victim.stalled:
                self.assertTrue(moving)
                self.assertGreater(uses[victim.address], SHARE)
            uses[victim.address] = uses.get(victim.address, 0) - victim.size
        self.assertTrue(all(size >= 0 for size in uses.values()))
        stalled = {name for name, one in self.crowd.items() if one[1] and not one[2]}
        self.assertLessEqual(stalled, gone)
