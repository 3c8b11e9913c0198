"""Each tool of the debug site by itself."""

from __future__ import annotations

import io
import pstats
import threading
from xml.etree import ElementTree

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.debug.cmdline import HIDDEN, without_secrets
from gateway.debug.measuring import BusyError, Measuring
from gateway.debug.profiles import collapsed, flame, pstats_of, table
from gateway.debug.sampling import (
    ELSEWHERE,
    MOST_STACKS,
    Place,
    Sampler,
    Samples,
)
from gateway.debug.turns import NoTurnsError, TurnTrace

MAIN = Place("/app/gateway/main.py", 1, "main")
WORK = Place("/app/gateway/work.py", 7, "Work.<locals>.do;it")


def samples():
    """Two seconds of which the inner function took three quarters."""
    found = Samples()
    found.add((MAIN, WORK), 1.5)
    found.add((MAIN,), 0.5)
    return found


class CommandLineTests(SynchronousTestCase):
    """The command line without secrets."""

    def test_values_behind_secret_names_are_hidden(self):
        words = ["x", "--token", "abc", "--api-key=def", "--token-file", "/t", "--port"]
        wanted = ["x", "--token", HIDDEN, f"--api-key={HIDDEN}", "--token-file", "/t"]
        self.assertEqual(without_secrets(words), [*wanted, "--port"])
        self.assertEqual(
            without_secrets(["--token", "--debug"]), ["--token", "--debug"]
        )

    def test_logins_in_addresses_are_hidden(self):
        [shown] = without_secrets(["http://joe:secret@host/path"])
        self.assertEqual(shown, f"http://{HIDDEN}@host/path")


class ProfileTests(SynchronousTestCase):
    """Samples as files."""

    def test_pstats_reads_it(self):
        name = self.mktemp()
        with open(name, "wb") as file:
            file.write(pstats_of(samples()))
        said = io.StringIO()
        stats = pstats.Stats(name, stream=said)
        self.assertEqual(stats.total_tt, 2.0)  # type: ignore[attr-defined]
        stats.sort_stats("cumulative").print_stats().print_callers()
        self.assertIn("Work.<locals>.do;it", said.getvalue())

    def test_a_function_that_calls_itself_counts_once(self):
        found = Samples()
        found.add((MAIN, WORK, WORK), 1.0)
        self.assertIn(" 1.000   1.000  gateway.work.", table(found))
        self.assertIn(" 0.000   1.000  gateway.main.main", table(found))

    def test_stacks_are_lines(self):
        lines = collapsed(samples()).splitlines()
        work = "gateway.main.main;gateway.work.Work.<locals>.do,it 1500"
        self.assertEqual(lines, ["gateway.main.main 500", work])

    def test_the_drawing_is_well_formed(self):
        for found in (samples(), Samples()):
            tree = ElementTree.fromstring(flame(found))
            self.assertTrue(tree.tag.endswith("svg"))
        titles = [node.text for node in ElementTree.fromstring(flame(samples())).iter()]
        self.assertIn("gateway.work.Work.<locals>.do,it: 1.500 s", titles)

    def test_too_many_stacks_share_one_place(self):
        found = Samples()
        for number in range(MOST_STACKS + 5):
            found.add((Place("f", number, "g"),), 1.0)
        self.assertEqual(found.stacks[ELSEWHERE], (5, 5.0))


class SamplerTests(SynchronousTestCase):
    """Real threads."""

    def test_only_who_works_is_seen(self):
        clock = {"now": 0.0}
        enough = threading.Event()

        def used(ident: int) -> float:
            if ident != threading.main_thread().ident:
                return 0.0
            clock["now"] += 0.01
            if clock["now"] > 0.05:
                enough.set()
            return clock["now"]

        sampler = Sampler(used)
        sampler.start()
        self.assertTrue(enough.wait(20))
        found = sampler.stop()
        self.assertGreater(found.seconds, 0.02)
        for stack in found.stacks:
            self.assertIn(
                "SamplerTests.test_only_who_works_is_seen", stack_names(stack)
            )


def stack_names(stack):
    """Return the names of a stack's functions."""
    return [place.name for place in stack]


class MeasuringTests(SynchronousTestCase):
    """One measurement at a time."""

    def setUp(self):
        self.clock = Clock()
        self.measuring = Measuring(self.clock)
        self.said: list[str] = []

    def end(self, _measured):
        self.said.append("end")
        return b"done"

    def measure(self):
        return Deferred.fromCoroutine(
            self.measuring.measure(
                "a profile",
                5.0,
                lambda: self.said.append("begin"),
                self.end,
                lambda _: self.said.append("abandon"),
            )
        )

    def test_it_begins_waits_and_ends(self):
        answer = self.measure()
        self.assertNoResult(answer)
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(answer), b"done")
        self.assertEqual(self.said, ["begin", "end"])

    def test_a_second_one_is_refused_while_the_first_runs(self):
        first = self.measure()
        fault = self.failureResultOf(self.measure(), BusyError)
        self.assertIn("a profile is under way", fault.getErrorMessage())
        self.clock.advance(5)
        self.successResultOf(first)
        self.measure()
        self.assertEqual(self.said, ["begin", "end", "begin"])

    def test_who_goes_away_ends_it(self):
        answer = self.measure()
        answer.cancel()
        self.failureResultOf(answer)
        self.assertEqual(self.said, ["begin", "abandon"])
        self.assertFalse(self.clock.getDelayedCalls())
        self.assertNoResult(self.measure())


class Loop:
    """A reactor as far as its turns go."""

    def __init__(self):
        self.clock = 0.0

    def runUntilCurrent(self):
        self.clock += 0.002

    def doIteration(self, delay):
        self.clock += 1.0  # it waits
        self._doReadOrWrite("a descriptor", 3, 1)

    def _doReadOrWrite(self, selectable, fd, event):
        self.clock += 0.02


class TurnTests(SynchronousTestCase):
    """A trace of the event loop."""

    def test_turns_are_timed_without_the_waiting(self):
        loop = Loop()
        trace = TurnTrace(loop, lambda: loop.clock)
        trace.start()
        for _ in range(3):
            loop.runUntilCurrent()
            loop.doIteration(None)
        report = trace.stop()
        self.assertIn("3 turns in 3.07 s, busy for 0.066 s", report)
        self.assertIn("3  below 50 ms", report)
        self.assertIn("22.000 ms at   0.000 s: 2.000 ms of delayed calls", report)
        self.assertEqual(set(vars(loop)), {"clock"})  # as it was
        self.assertEqual(trace.stop(), report)

    def test_a_reactor_of_another_kind_is_left_alone(self):
        self.assertRaises(NoTurnsError, TurnTrace(Clock(), lambda: 0.0).start)
