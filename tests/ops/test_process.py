"""What a process does around its service."""

import atexit
import gc
import io
import os
import resource
import signal
import subprocess
import sys
import textwrap
from typing import Any, cast

from twisted.application.service import Application, IService, Service
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.gateway import GatewayConfig
from gateway.errors import ConfigError, OperatorError
from gateway.ops import early, process
from gateway.ops.early import EarlySignals
from gateway.ops.levels import Levels
from gateway.ops.log_settings import gateway_log_settings
from gateway.ops.process import (
    GARBAGE_THRESHOLDS,
    LoggedService,
    ProcessEnd,
    fitting_limit,
    raise_descriptor_limit,
    say_operator_errors_plainly,
    spare_the_collector,
)
from gateway.ops.process_log import ProcessLog
from gateway.ops.starting import (
    say_at_start,
    say_problems_and_exit,
    say_settings_and_exit,
    say_version_and_exit,
)

PATIENCE_SECONDS = 20


class StubReactor:
    """A reactor that does what it is told when the test says so."""

    def __init__(self):
        self.waiting: list[Any] = []
        self.from_threads: list[Any] = []
        self.stops = 0

    def callWhenRunning(self, call, *given, **named):
        self.waiting.append(lambda: call(*given, **named))

    def callFromThread(self, call, *given, **named):
        self.from_threads.append(lambda: call(*given, **named))

    def stop(self):
        self.stops += 1

    def run(self):
        """Do what waits."""
        calls = self.waiting + self.from_threads
        self.waiting, self.from_threads = [], []
        for call in calls:
            call()


class EndTests(SynchronousTestCase):
    """By a signal, or because the process cannot go on."""

    def setUp(self):
        self.reactor = StubReactor()
        self.forced = 0
        self.installed: dict[int, Any] = {}
        self.exits: list[int] = []
        self.at_exit: list[Any] = []
        self.patch(signal, "signal", self.installed.__setitem__)
        self.patch(os, "_exit", self.exits.append)
        self.patch(atexit, "register", self.at_exit.append)
        self.end = ProcessEnd(cast(Any, self.reactor), self.force)

    def force(self):
        self.forced += 1

    def watch(self):
        self.end.watch()
        self.reactor.run()

    def send(self, number=signal.SIGTERM):
        self.installed[number](number, None)

    def test_the_signals_are_taken_over_once_the_reactor_runs(self):
        self.end.watch()
        self.assertEqual({}, self.installed)
        self.reactor.run()
        taken = {signal.SIGTERM, signal.SIGINT, *early.HELD}
        self.assertEqual(taken, set(self.installed))

    def test_what_came_before_is_done_then(self):
        reloads = []
        early_signals = EarlySignals()
        early_signals._noted = [signal.SIGUSR1, signal.SIGHUP]
        self.end = ProcessEnd(
            cast(Any, self.reactor),
            self.force,
            lambda: reloads.append(1),
            early=early_signals,
        )
        self.watch()
        self.assertEqual([1], reloads)

    def hung_up(self, *, ignored=False):
        """Return what reloads are counted in, with a terminal that is closed now."""
        reloads = []
        early_signals = EarlySignals()
        early_signals.hang_ups_ignored = ignored
        self.patch(early_signals.terminal, "is_gone", lambda: True)
        self.end = ProcessEnd(
            cast(Any, self.reactor),
            self.force,
            lambda: reloads.append(1),
            early=early_signals,
        )
        self.watch()
        return reloads

    def test_a_closed_terminal_stops_it_once(self):
        reloads = self.hung_up()
        for _ in range(2):  # from the kernel and from the shell
            self.send(signal.SIGHUP)
        self.reactor.run()
        self.assertEqual((1, 0), (self.reactor.stops, self.forced))
        self.assertEqual([], reloads)

    def test_under_nohup_the_first_hang_up_is_ignored_and_others_reload(self):
        reloads = self.hung_up(ignored=True)
        for expected in ([], [1]):
            self.send(signal.SIGHUP)
            self.reactor.run()
            self.assertEqual(expected, reloads)
        self.assertEqual(0, self.reactor.stops)

    def test_a_hang_up_has_files_read_anew_and_stops_nothing(self):
        reloads = []
        self.end = ProcessEnd(
            cast(Any, self.reactor), self.force, lambda: reloads.append(1)
        )
        self.watch()
        self.send(signal.SIGHUP)
        self.assertEqual([], reloads)
        self.reactor.run()
        self.assertEqual([1], reloads)
        self.assertEqual((0, 0), (self.reactor.stops, self.forced))

    def test_a_log_is_opened_anew_and_turned_up_by_signals(self):
        calls: list[str] = []

        class Log:
            def reopen(self):
                calls.append("reopen")

            def toggle_debug(self):
                calls.append("debug")

        self.end = ProcessEnd(
            cast(Any, self.reactor),
            self.force,
            lambda: calls.append("reload"),
            cast(Any, Log()),
        )
        self.watch()
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            self.send(number)
        self.assertEqual([], calls)
        self.reactor.run()
        self.assertEqual(["reopen", "debug", "reopen", "reload"], calls)

    def test_a_hang_up_is_passed_over_where_nothing_can_be_read_anew(self):
        self.watch()
        self.send(signal.SIGHUP)
        self.reactor.run()
        self.assertEqual((0, 0), (self.reactor.stops, self.forced))

    def test_the_first_signal_stops_and_the_second_forces(self):
        self.watch()
        self.send()
        self.reactor.run()
        self.assertEqual((1, 0), (self.reactor.stops, self.forced))
        self.send(signal.SIGINT)
        self.reactor.run()
        self.assertEqual((1, 1), (self.reactor.stops, self.forced))
        self.assertEqual([], self.exits)

    def test_two_signals_at_once_stop_and_force(self):
        self.watch()
        self.send()
        self.send()
        self.reactor.run()
        self.assertEqual((1, 1), (self.reactor.stops, self.forced))

    def test_the_third_signal_ends_the_process(self):
        self.watch()
        for _ in range(3):
            self.send()
        self.assertEqual([128 + signal.SIGTERM], self.exits)

    def test_a_failure_stops_once_with_status_1(self):
        self.end.fail("no store")
        self.end.fail("nothing at all")
        self.assertEqual(0, self.reactor.stops)
        self.reactor.run()
        self.assertEqual(1, self.reactor.stops)
        (leave,) = self.at_exit
        leave()
        self.assertEqual([1], self.exits)

    def test_a_failure_is_logged_as_fatal(self):
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self.end.fail("no {store}")
        (event,) = events
        self.assertEqual("critical", event["log_level"].name)
        self.assertEqual("no {store}", formatEvent(event))

    def test_a_signal_after_a_failure_forces(self):
        self.watch()
        self.end.fail("no store")
        self.reactor.run()
        self.send()
        self.reactor.run()
        self.assertEqual((1, 1), (self.reactor.stops, self.forced))

    def test_a_failure_during_a_stop_stops_nothing_twice(self):
        self.watch()
        self.send()
        self.end.fail("no store")
        self.reactor.run()
        self.assertEqual(1, self.reactor.stops)


class SignalTests(SynchronousTestCase):
    """Real signals to a real process."""

    def run_and_signal(self, *signals, fails=False):
        """Run a process whose stop never ends; return its output and status."""
        code = textwrap.dedent(
            f"""
            import sys
            from twisted.application.service import Service
            from twisted.internet import reactor
            from twisted.internet.defer import Deferred
            from gateway.ops.process import ProcessEnd

            done = Deferred()
            def say(word):
                print(word, flush=True)
            def force():
                say("forced")
                done.callback(None)
            end = ProcessEnd(reactor, force)
            end.watch()
            if {fails}:
                end.fail("broken")
                reactor.callWhenRunning(done.callback, None)
            def stop():
                say("stopping")
                return done
            reactor.addSystemEventTrigger("before", "shutdown", stop)
            reactor.callWhenRunning(say, "ready")
            reactor.run()
            say("over")
            """
        )
        running = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.path.dirname(os.path.dirname(process.__file__)) + "/..",
        )
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        assert running.stdout is not None
        said = []
        for number in signals:
            said.append(running.stdout.readline().strip())
            running.send_signal(number)
        rest, _ = running.communicate(timeout=PATIENCE_SECONDS)
        return said + rest.split(), running.returncode

    def test_one_signal_stops_and_another_forces(self):
        self.assertEqual(
            (["ready", "stopping", "forced", "over"], 0),
            self.run_and_signal(signal.SIGTERM, signal.SIGINT),
        )

    def test_a_failure_ends_with_status_1(self):
        said, status = self.run_and_signal(fails=True)
        self.assertEqual(1, status)
        self.assertIn("over", said)


class LimitTests(SynchronousTestCase):
    """Open files."""

    def test_the_soft_limit_becomes_the_hard_one(self):
        limits = [(100, 4000)]
        self.patch(resource, "getrlimit", lambda _what: limits[-1])
        self.patch(resource, "setrlimit", lambda _what, pair: limits.append(pair))
        self.assertEqual(4000, raise_descriptor_limit())
        self.assertEqual((4000, 4000), limits[-1])
        self.assertEqual(4000, raise_descriptor_limit())
        self.assertEqual(2, len(limits))


class PlainWordsTests(SynchronousTestCase):
    """What ends a process before it runs."""

    def setUp(self):
        self.errors, self.output = io.StringIO(), io.StringIO()
        self.patch(sys, "stderr", self.errors)
        self.patch(sys, "stdout", self.output)

    def test_an_operator_reads_one_line(self):
        self.patch(sys, "excepthook", sys.excepthook)
        say_operator_errors_plainly()
        fault = OperatorError("port 9000: in use")
        sys.excepthook(OperatorError, fault, None)
        self.assertEqual("gotunnel: port 9000: in use\n", self.errors.getvalue())

    def test_a_bug_has_a_traceback(self):
        self.patch(sys, "excepthook", sys.excepthook)
        say_operator_errors_plainly()
        sys.excepthook(ValueError, ValueError("x"), None)
        self.assertIn("ValueError: x", self.errors.getvalue())
        self.assertNotIn("gotunnel:", self.errors.getvalue())

    def test_every_problem_is_said(self):
        for problems, noun in (
            (["one"], "1 problem "),
            (["one", "two"], "2 problems "),
        ):
            fault = ConfigError(problems)
            end = self.assertRaises(SystemExit, say_problems_and_exit, fault)
            self.assertEqual(1, end.code)
            self.assertIn(
                f"gotunnel: {noun}in the configuration", self.errors.getvalue()
            )
            for problem in problems:
                self.assertIn(f"  {problem}\n", self.errors.getvalue())

    def test_a_good_configuration_is_shown(self):
        end = self.assertRaises(
            SystemExit, say_settings_and_exit, ["a: 1"], ["no token"]
        )
        self.assertEqual(0, end.code)
        self.assertEqual("a: 1\nconfiguration ok\n", self.output.getvalue())
        self.assertEqual("WARNING: no token\n", self.errors.getvalue())

    def test_the_version_is_shown(self):
        end = self.assertRaises(SystemExit, say_version_and_exit)
        self.assertEqual(0, end.code)
        self.assertRegex(self.output.getvalue(), r"^gotunnel \d+\.\d+")

    def test_warnings_are_loud(self):
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        say_at_start(["no {token}"])
        self.assertEqual(["info", "warn"], [one["log_level"].name for one in events])
        self.assertEqual("WARNING: no {token}", formatEvent(events[1]))


class Inner(Service):
    """Notes what happens to it."""

    def __init__(self):
        self.calls: list[str] = []

    def privilegedStartService(self):
        self.calls.append("privileged")

    def startService(self):
        self.calls.append("start")

    def stopService(self):
        self.calls.append("stop")
        return succeed(None)


class Ending(Clock):
    """A clock that also tells of the reactor's end."""

    def __init__(self):
        super().__init__()
        self.triggers: list[Any] = []

    def addSystemEventTrigger(self, phase, event, call):
        self.triggers.append((phase, event, call))


class LoggedServiceTests(SynchronousTestCase):
    """The service that twistd gets."""

    def log(self, file):
        levels = Levels("info")
        return ProcessLog(gateway_log_settings(GatewayConfig()), levels, file)

    def test_lines_are_gathered_from_the_start_to_the_very_end(self):
        file, reactor = io.StringIO(), Ending()
        log = self.log(file)
        service = LoggedService(Inner(), log, cast(Any, reactor))
        event = {"log_format": "hello", "log_level": LogLevel.info}
        service.startService()
        log.observer(event)
        self.assertEqual("", file.getvalue())
        [(phase, name, call)] = reactor.triggers
        self.assertEqual(("after", "shutdown"), (phase, name))
        call()
        self.assertEqual(1, file.getvalue().count("hello"))
        log.observer(event)
        self.assertEqual(2, file.getvalue().count("hello"))

    def test_everything_is_passed_on(self):
        inner, reactor = Inner(), Ending()
        service = LoggedService(inner, self.log(None), cast(Any, reactor))
        service.privilegedStartService()
        service.startService()
        self.addCleanup(reactor.triggers[0][2])
        self.successResultOf(service.stopService())
        self.assertEqual(["privileged", "start", "stop"], inner.calls)

    def test_it_brings_its_observer_to_the_application(self):
        log = self.log(io.StringIO())
        application = Application("test")
        service = LoggedService(Inner(), log, cast(Any, Ending()))
        service.setServiceParent(application)
        self.assertIs(log.observer, application.getComponent(ILogObserver))
        self.assertIs(IService(application), service.parent)

    def test_without_an_observer_twistd_chooses(self):
        application = Application("test")
        service = LoggedService(Inner(), self.log(None), cast(Any, Ending()))
        service.setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver))


class DescriptorTests(SynchronousTestCase):
    """Whether the visitors that are admitted can be served."""

    def test_what_fits_stays(self):
        self.assertEqual((10000, []), fitting_limit("limits.x", 10000, 20000))

    def test_too_many_are_clamped_and_told_of_with_the_numbers(self):
        limit, (warning,) = fitting_limit("limits.x", 10000, 1024)
        self.assertEqual(960, limit)
        for part in ("limits.x is 10000", "1024 files", "clamped to 960"):
            self.assertIn(part, warning)

    def test_a_few_are_served_with_very_few_descriptors(self):
        limit, (warning,) = fitting_limit("limits.x", 10000, 64)
        self.assertEqual(16, limit)
        self.assertIn("clamped to 16", warning)

    def test_no_limit_is_more_than_any_number(self):
        limit, (warning,) = fitting_limit("limits.x", 0, 20000)
        self.assertEqual(19936, limit)
        self.assertIn("unlimited", warning)


class CollectorTests(SynchronousTestCase):
    """What the garbage collector is spared."""

    def test_what_lives_for_ever_is_passed_over(self):
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        spare_the_collector()
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertEqual(GARBAGE_THRESHOLDS, gc.get_threshold())
