"""The level of each component."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.levels import LEVELS, MOST_KNOWN, MOST_SWITCHED, RANKS, Levels

RANK = {name: RANKS[level.name] for name, level in LEVELS.items()}


class LevelsTests(SynchronousTestCase):
    """Configured, switched, and back."""

    def setUp(self):
        self.clock = Clock()
        self.levels = Levels("info", {"gateway.net": "warn"}, self.clock)

    def test_the_longest_name_that_fits_decides(self):
        levels = Levels("info", {"gateway": "error", "gateway.net.tls": "debug"})
        found = [
            levels.least(name)
            for name in ("gateway.net.tls.ServerTLS", "gateway.net", "gatewayx", "")
        ]
        self.assertEqual(
            [RANK["debug"], RANK["error"], RANK["info"], RANK["info"]], found
        )

    def test_a_switched_level_stands_above_the_configured_one(self):
        self.levels.switch("gateway.net", "debug")
        self.assertEqual(RANK["debug"], self.levels.least("gateway.net.ports"))
        self.levels.switch("gateway.net", None)
        self.assertEqual(RANK["warn"], self.levels.least("gateway.net.ports"))

    def test_a_level_for_a_while_is_set_back(self):
        self.levels.switch("gateway.api", "debug", 60)
        self.clock.advance(20)
        self.assertEqual({"gateway.api": ("debug", 40)}, self.levels.switched())
        self.assertEqual(RANK["debug"], self.levels.least("gateway.api"))
        self.clock.advance(40)
        self.assertEqual({}, self.levels.switched())
        self.assertEqual(RANK["info"], self.levels.least("gateway.api"))

    def test_a_second_switch_replaces_the_first_with_its_time(self):
        self.levels.switch("gateway.api", "debug", 60)
        self.levels.switch("gateway.api", "error")
        self.clock.advance(100)
        self.assertEqual({"gateway.api": ("error", None)}, self.levels.switched())

    def test_the_usual_level_is_switched_by_no_name(self):
        self.levels.switch("", "debug")
        self.assertEqual("debug", self.levels.usual)
        self.assertEqual(RANK["debug"], self.levels.least("twisted.web"))
        self.assertEqual(RANK["warn"], self.levels.least("gateway.net"))

    def test_everything_is_raised_whatever_has_a_level_of_its_own(self):
        self.levels.switch("gateway.api", "error")
        self.levels.raise_all(60)
        for name in ("gateway.net.tls", "gateway.api", "twisted.web", ""):
            self.assertEqual(RANK["debug"], self.levels.least(name), name)
        names = ("", "gateway.api", "gateway.net")
        self.assertEqual(dict.fromkeys(names, ("debug", 60)), self.levels.switched())
        self.clock.advance(60)
        self.assertEqual(RANK["warn"], self.levels.least("gateway.net.tls"))
        self.assertEqual({"gateway.api": ("error", None)}, self.levels.switched())

    def test_what_was_raised_is_lowered_once(self):
        self.levels.raise_all(60)
        self.levels.raise_all(60)
        self.levels.stop()
        self.assertFalse(self.levels.is_raised)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_twisted_speaks_at_its_own_level_if_it_has_one(self):
        self.assertEqual(RANK["warn"], self.levels.least("twisted.web"))
        self.levels.switch("twisted", "info")
        self.assertEqual(RANK["info"], self.levels.least("twisted.web"))

    def test_a_changed_configuration_leaves_switched_levels_alone(self):
        self.levels.switch("gateway.api", "debug")
        self.assertTrue(self.levels.configure("warn", {}))
        self.assertFalse(self.levels.configure("warn", {}))
        self.assertEqual(RANK["warn"], self.levels.least("gateway.net"))
        self.assertEqual(RANK["debug"], self.levels.least("gateway.api"))

    def test_the_number_of_switched_levels_is_bounded(self):
        for number in range(MOST_SWITCHED):
            self.levels.switch(f"c{number}", "debug")
        self.levels.switch("c0", "info")
        fault = self.assertRaises(ValueError, self.levels.switch, "x", "debug")
        self.assertIn(str(MOST_SWITCHED), str(fault))

    def test_what_is_remembered_is_bounded(self):
        for number in range(MOST_KNOWN * 2):
            self.assertEqual(RANK["info"], self.levels.least(f"c{number}"))

    def test_a_stop_leaves_no_timer(self):
        self.levels.switch("gateway.api", "debug", 60)
        self.levels.stop()
        self.levels.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
