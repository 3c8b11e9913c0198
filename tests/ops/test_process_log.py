"""The log of a process: where it goes, and how it changes."""

import io
import os
from dataclasses import replace
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.gateway import GatewayConfig
from gateway.errors import ConfigError, OperatorError
from gateway.ops import process_log
from gateway.ops.levels import Levels
from gateway.ops.log_settings import gateway_log_settings
from gateway.ops.process_log import DEBUG_SECONDS, ProcessLog, open_process_log
from gateway.ops.recent import Wanted
from tests.ops.test_access_log import VISIT

absolute = os.path.abspath
SETTINGS = gateway_log_settings(GatewayConfig())


class PlaceTests(SynchronousTestCase):
    """Where a process logs to."""

    def choose(self, file=None, **twistd):
        return open_process_log(
            twistd, replace(SETTINGS, file=file), cast(Any, Clock())
        )

    def setUp(self):
        self.opened: list[Any] = []

        def open_log(path, max_bytes, keep):
            self.opened.append(path)
            return io.StringIO()

        self.patch(process_log, "open_log", open_log)

    def test_twistds_own_choice_stands(self):
        self.assertIsNone(self.choose(logger="my.observer").observer)
        self.assertIsNone(self.choose(syslog=1).observer)
        self.assertEqual([], self.opened)

    def test_the_configured_file_comes_before_twistds(self):
        self.choose("gw.log", logfile="twistd.log")
        self.choose(None, logfile="other.log")
        self.assertEqual([absolute("gw.log"), absolute("other.log")], self.opened)

    def test_the_foreground_logs_to_standard_output(self):
        self.choose(None, nodaemon=1)
        self.choose(None, nodaemon=1, logfile="-")
        self.assertEqual([None, None], self.opened)

    def test_a_daemon_logs_to_a_file(self):
        self.choose(None)
        self.choose(None, logfile="-")
        self.assertEqual([absolute("twistd.log")] * 2, self.opened)

    def test_a_file_that_cannot_be_written_is_for_the_operator(self):
        def open_log(path, max_bytes, keep):
            raise PermissionError(13, "Permission denied")

        self.patch(process_log, "open_log", open_log)
        fault = self.assertRaises(OperatorError, self.choose, "gw.log")
        self.assertEqual(
            f"log file {absolute('gw.log')}: Permission denied", str(fault)
        )


class ProcessLogTests(SynchronousTestCase):
    """What it does while the process runs."""

    def setUp(self):
        self.clock, self.file = Clock(), io.StringIO()
        self.levels = Levels("info", {}, self.clock)
        self.log = ProcessLog(SETTINGS, self.levels, self.file)
        self.say = Logger("gateway.net", observer=cast(Any, self.log.observer))

    def messages(self, log):
        return [one["message"] for one in log.recent.newest(10, Wanted()).records]

    def test_what_is_written_is_kept_for_those_who_ask(self):
        self.say.info("one")
        self.say.debug("two")
        self.assertEqual(["one"], self.messages(self.log))
        self.assertEqual(1, self.file.getvalue().count("\n"))

    def test_where_twistd_logs_by_itself_lines_are_kept_all_the_same(self):
        log = ProcessLog(SETTINGS, self.levels, None)
        log.start(self.clock)
        Logger("gateway.net").info("one")
        log.release()
        Logger("gateway.net").info("two")
        self.assertEqual(["one"], self.messages(log))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_wrong_levels_change_nothing(self):
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

        def read():
            raise ConfigError(["log_level: loud"])

        self.assertFalse(self.log.configure(read))
        self.assertEqual("info", self.levels.usual)
        self.assertTrue(self.log.configure(lambda: ("warn", {"gateway.net": "debug"})))
        self.assertEqual("warn", self.levels.usual)
        self.assertFalse(self.log.configure(lambda: ("warn", {"gateway.net": "debug"})))
        self.assertEqual(2, len(events))

    def test_everything_means_components_with_a_level_of_their_own_too(self):
        self.levels.configure("info", {"gateway.net": "error"})
        self.log.toggle_debug()
        self.say.debug("one")
        self.log.toggle_debug()
        self.say.warn("two")
        self.assertIn("one", self.messages(self.log))
        self.assertNotIn("two", self.messages(self.log))

    def test_everything_is_written_for_a_while(self):
        self.log.toggle_debug()
        self.say.debug("one")
        self.clock.advance(DEBUG_SECONDS)
        self.say.debug("two")
        self.log.toggle_debug()
        self.say.debug("three")
        self.log.toggle_debug()
        self.say.debug("four")
        self.assertEqual(["one", "three"], self.messages(self.log))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_both_files_are_opened_anew(self):
        folder = self.mktemp()
        os.mkdir(folder)
        places = [os.path.join(folder, name) for name in ("gw.log", "access.log")]
        settings = replace(
            SETTINGS, file=places[0], access="combined", access_file=places[1]
        )
        log = open_process_log({}, settings, cast(Any, self.clock))
        assert log.access is not None
        log.start(self.clock)
        say = Logger("gateway.net", observer=cast(Any, log.observer))
        for _ in range(2):
            say.info("one")
            log.access.note(VISIT)
            log.reopen()
            for place in places:
                with open(place) as found:
                    self.assertLessEqual(found.read().count("\n"), 1)
            for place in places:
                os.rename(place, place + ".1")
            log.reopen()
        log.release()
        for place in places:
            with open(place + ".1") as found:
                self.assertEqual(1, found.read().count("\n"))
