"""The last lines, in memory."""

from typing import Any, cast

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.levels import LEVELS, RANKS
from gateway.ops.logs import InfoLogger
from gateway.ops.recent import MOST_LINES, RecentLines, Wanted


class RecentLinesTests(SynchronousTestCase):
    """Ask for the newest, then for what came after."""

    def setUp(self):
        self.recent = RecentLines("gotunnel", "e")
        self.observer = cast(Any, self.recent.keep)
        self.log = Logger("gateway.net", observer=self.observer)
        self.visits = InfoLogger("gateway.server.routing", self.observer)

    def said(self, lines):
        return [record["message"] for record in lines.records]

    def test_the_newest_lines_oldest_first(self):
        for word in ("one", "two", "three"):
            self.log.info(word)
        found = self.recent.newest(2, Wanted())
        self.assertEqual(["two", "three"], self.said(found))
        self.assertEqual((3, 0), (found.last, found.lost))
        self.assertEqual([2, 3], [record["number"] for record in found.records])

    def test_what_came_after(self):
        for word in ("one", "two", "three"):
            self.log.info(word)
        found = self.recent.after(1, 1, Wanted())
        self.assertEqual((["two"], 2), (self.said(found), found.last))
        found = self.recent.after(2, 10, Wanted())
        self.assertEqual((["three"], 3), (self.said(found), found.last))
        found = self.recent.after(3, 10, Wanted())
        self.assertEqual(([], 3, 0), (self.said(found), found.last, found.lost))

    def test_lines_of_a_level_a_component_and_a_visitor(self):
        self.log.warn("a warning")
        self.visits.info("closed", trace="t-1")
        self.visits.info("closed", trace="t-11")
        Logger("gateway.network", observer=self.observer).info("other")
        warn = RANKS[LEVELS["warn"].name]
        for wanted, expected in (
            (Wanted(least=warn), ["a warning"]),
            (Wanted(component="gateway.net"), ["a warning"]),
            (Wanted(component="gateway.server"), ["closed", "closed"]),
            (Wanted(trace="t-1"), ["closed"]),
        ):
            self.assertEqual(expected, self.said(self.recent.newest(10, wanted)))
            found = self.recent.after(0, 10, wanted)
            self.assertEqual((expected, 4), (self.said(found), found.last))

    def test_what_is_kept_is_bounded_and_a_gap_is_told(self):
        for number in range(MOST_LINES + 10):
            self.visits.info("{number}", number=number)
        found = self.recent.after(4, 1, Wanted())
        self.assertEqual((["10"], 6), (self.said(found), found.lost))
        self.assertEqual(
            MOST_LINES, len(self.recent.newest(MOST_LINES * 2, Wanted()).records)
        )

    def test_a_line_is_as_it_was_when_it_was_said(self):
        things = ["a"]
        self.log.info("{things}", things=things)
        things.append("b")
        self.assertEqual(["['a']"], self.said(self.recent.newest(1, Wanted())))

    def test_an_event_without_words_is_not_kept(self):
        self.recent.keep({"log_namespace": "x"})
        self.assertEqual(0, self.recent.last)
