"""Warnings that are said again and again."""

import io

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.logs import InfoLogger, LineObserver
from gateway.ops.repeats import MOST_TOLD, WINDOW_SECONDS


class RepeatsTests(SynchronousTestCase):
    """What an observer with a clock writes."""

    def setUp(self):
        self.file, self.clock = io.StringIO(), Clock()
        self.observer = LineObserver(self.file, "info")
        self.observer.gather(self.clock)
        self.log = Logger("gateway.x", observer=self.observer)

    def lines(self, part=""):
        self.observer.flush()
        lines = self.file.getvalue().splitlines()
        return [line.partition(": ")[2] for line in lines if part in line]

    def test_the_first_is_written_at_once_and_the_rest_in_one_line_a_minute(self):
        for _ in range(5):
            self.log.warn("the disk is full")
        self.assertEqual(["the disk is full"], self.lines())
        self.clock.advance(WINDOW_SECONDS)
        self.assertEqual(
            "the disk is full (4 times more in the last minute)", self.lines()[-1]
        )

    def test_what_goes_on_has_a_line_a_minute_and_what_ended_none(self):
        for _ in range(3):
            self.log.error("no gateway")
            self.log.error("no gateway")
            self.clock.advance(WINDOW_SECONDS)
        self.assertEqual(
            [
                "no gateway",
                "no gateway (1 times more in the last minute)",
                "no gateway (2 times more in the last minute)",
                "no gateway (2 times more in the last minute)",
            ],
            self.lines(),
        )
        self.clock.advance(WINDOW_SECONDS)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.log.error("no gateway")
        self.assertEqual("no gateway", self.lines()[-1])

    def test_what_differs_is_said(self):
        for host in ("a", "b"):
            self.log.warn("{host} is silent", host=host)
        self.log.error("a is silent")
        Logger("gateway.y", observer=self.observer).warn("a is silent")
        self.assertEqual(4, len(self.lines()))

    def test_an_event_may_name_what_it_is_known_by(self):
        for delay in (1.0, 2.0, 4.0):
            self.log.warn("next try in {delay} s", delay=delay, log_same="try")
        self.assertEqual(["next try in 1.0 s"], self.lines())
        self.clock.advance(WINDOW_SECONDS)
        self.assertIn("next try in 4.0 s (2 times more", self.lines()[-1])

    def test_failures_are_equal_if_they_say_the_same(self):
        for words in ("x", "x", "y"):
            failure = Failure(ValueError(words))
            self.log.failure("it broke", failure)
        self.assertEqual(2, len(self.lines("it broke")))
        self.clock.advance(WINDOW_SECONDS)
        self.assertIn("it broke: ValueError: x (1 times more", self.lines()[-1])

    def test_no_line_about_a_visitor_is_ever_left_out(self):
        for _ in range(3):
            InfoLogger("gateway.x", self.observer).info("connection closed")
            self.log.info("link up")
        self.assertEqual(6, len(self.lines()))

    def test_the_end_of_the_process_is_said_each_time(self):
        self.log.critical("no store")
        self.log.critical("no store")
        self.assertEqual(2, len(self.lines()))

    def test_a_release_tells_what_was_counted(self):
        self.log.warn("x")
        self.log.warn("x")
        self.observer.release()
        self.assertIn("x (1 times more", self.lines()[-1])
        self.assertEqual([], self.clock.getDelayedCalls())
        self.log.warn("x")
        self.log.warn("x")
        self.assertEqual(4, len(self.lines()))

    def test_what_is_remembered_is_bounded_and_the_rest_is_written(self):
        for _ in range(2):
            for number in range(MOST_TOLD + 10):
                self.log.warn("{number}", number=number)
        self.assertEqual(MOST_TOLD + 20, len(self.lines()))
