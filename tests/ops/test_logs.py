"""Log lines, and where they go."""

import errno
import io
import json
import os
import re
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.levels import LEVELS
from gateway.ops.log_files import (
    GATHER_CHARACTERS,
    GATHER_SECONDS,
    LineWriter,
    open_log,
)
from gateway.ops.log_lines import format_line
from gateway.ops.logs import InfoLogger, LineObserver


def an_event(text="hello", **fields):
    usual = {
        "log_format": "{text}",
        "text": text,
        "log_level": LogLevel.info,
        "log_namespace": "gateway.server.links",
        "log_time": 1_700_000_000.0,
    }
    return {**usual, **fields}


class FormatTests(SynchronousTestCase):
    """One event, one line."""

    def line(self, *args, **fields):
        found = format_line(an_event(*args, **fields))
        assert found is not None
        return found

    def test_a_line_has_time_level_component_and_message(self):
        self.assertRegex(
            self.line(),
            r"^2023-11-1[45]T\d\d:\d\d:\d\d[+-]\d{4} "
            r"\[INFO\] gateway\.server\.links: hello\n$",
        )

    def test_levels_have_the_names_of_the_configuration(self):
        for name, level in LEVELS.items():
            self.assertIn(f" [{name.upper()}] ", self.line(log_level=level))

    def test_an_event_without_a_level_is_info(self):
        self.assertIn("[INFO]", self.line(log_level=None))

    def test_an_event_without_words_is_no_line(self):
        self.assertIsNone(format_line({}))

    def test_nobody_forges_a_line(self):
        line = self.line("bye\r\n2026-01-01 [INFO] x: link up")
        self.assertEqual(1, line.count("\n"))
        self.assertIn("bye\\r\\n2026", line)

    def test_nobody_commands_the_terminal(self):
        self.assertIn("\\x1b[2J\\x07\\x9b\\u2028", self.line("\x1b[2J\x07\x9b\u2028"))

    def test_nobody_turns_the_direction_of_a_line(self):
        signs = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
        for sign in map(chr, signs):
            line = self.line(f"agent a{sign}b")
            self.assertNotIn(sign, line)
            self.assertIn(f"a{ascii(sign)[1:-1]}b", line)

    def test_letters_of_every_language_stay(self):
        self.assertIn("隧道客户端已连接 ß", self.line("隧道客户端已连接 ß"))

    @given(st.text())
    def test_whatever_is_said_is_one_printable_line(self, text):
        line = self.line("x" + text)
        self.assertEqual(1, len(line.splitlines()))
        line.encode()
        self.assertIsNone(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", line))

    def test_a_traceback_is_indented(self):
        try:
            raise ValueError("one\n2026-01-01T00:00:00+0000 [INFO] x: two\x1b[2J")
        except ValueError:
            failure = Failure()
        for text in ("it failed", ""):
            lines = self.line(text, log_failure=failure).splitlines()
            self.assertGreater(len(lines), 3)
            for line in lines[1:]:
                self.assertTrue(line.startswith("    "), line)
            self.assertNotIn("\x1b", "".join(lines))

    def test_a_failure_alone_is_a_line(self):
        failure = Failure(ValueError("x"))
        self.assertIn("ValueError", format_line({"log_failure": failure}))


class ObserverTests(SynchronousTestCase):
    """What is written at which level."""

    def written(self, level, *events):
        file = io.StringIO()
        observer = LineObserver(file, level)
        for event in events:
            observer(event)
        return file.getvalue()

    def test_lower_levels_are_left_out(self):
        for wanted in LEVELS.values():
            for level, limit in LEVELS.items():
                found = self.written(level, an_event(log_level=wanted))
                self.assertEqual(wanted >= limit, bool(found))

    def test_twisted_speaks_from_warnings_upward(self):
        for namespace in ("twisted.web", "log_legacy"):
            quiet = an_event(log_namespace=namespace)
            loud = an_event(log_namespace=namespace, log_level=LogLevel.warn)
            self.assertEqual("", self.written("info", quiet))
            self.assertNotEqual("", self.written("info", loud))
            self.assertNotEqual("", self.written("debug", quiet))


class FullFile(io.StringIO):
    """Takes nothing while `full`."""

    full = False

    def write(self, text):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


class GatherTests(SynchronousTestCase):
    """Lines that wait for each other."""

    def setUp(self):
        self.file, self.clock = FullFile(), Clock()
        self.observer = LineObserver(self.file, "info")
        self.observer.gather(self.clock)

    def count(self):
        return self.file.getvalue().count("\n")

    def test_a_line_waits_a_moment_and_no_longer(self):
        self.observer(an_event())
        self.observer(an_event())
        self.assertEqual(0, self.count())
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(2, self.count())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_warning_waits_for_nobody(self):
        self.observer(an_event("first"))
        self.observer(an_event("second", log_level=LogLevel.warn))
        self.assertRegex(self.file.getvalue(), "(?s)first.*second")

    def test_what_waits_is_bounded(self):
        line = an_event("x" * 1000)
        for _ in range(GATHER_CHARACTERS // 1000 + 1):
            self.observer(line)
        self.assertGreater(self.count(), 0)

    def test_a_release_ends_the_waiting(self):
        self.observer(an_event())
        self.observer.release()
        self.assertEqual(1, self.count())
        self.observer(an_event())
        self.assertEqual(2, self.count())
        self.observer.release()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_full_disk_costs_lines_that_are_counted(self):
        self.file.full = True
        for _ in range(3):
            self.observer(an_event())
            self.observer.flush()
        self.file.full = False
        self.observer(an_event("again"))
        self.observer.flush()
        self.assertRegex(self.file.getvalue(), "(?s)ERROR.* 3 lines lost.*again")
        self.observer(an_event())
        self.observer.flush()
        self.assertEqual(1, self.file.getvalue().count("lost"))


class EncodingTests(SynchronousTestCase):
    """Names that the encoding of a file or of standard output lacks."""

    def written(self, line, encoding):
        raw = io.BytesIO()
        writer = LineWriter(io.TextIOWrapper(raw, encoding))
        writer.add(line)
        writer.add("next\n")
        return raw.getvalue().decode(encoding)

    def test_no_line_is_lost(self):
        self.assertEqual(
            self.written("café 网站\n", "latin-1"), "café \\u7f51\\u7ad9\nnext\n"
        )
        self.assertEqual(self.written("half \udcff\n", "utf-8"), "half \\udcff\nnext\n")

    def test_a_line_of_json_stays_one(self):
        name = "café 网 \U0001f600"
        for encoding in ("ascii", "latin-1", "utf-8"):
            line = json.dumps({"name": name}, ensure_ascii=False) + "\n"
            first = self.written(line, encoding).splitlines()[0]
            self.assertEqual(json.loads(first), {"name": name}, encoding)

    def test_neither_is_one_of_a_file(self):
        path = self.mktemp()
        file = open_log(path, 1000, 1)
        self.addCleanup(file.close)
        LineWriter(file).add("half \udcff\n")
        with open(path, encoding="utf-8") as found:
            self.assertEqual(found.read(), "half \\udcff\n")


class InfoLoggerTests(SynchronousTestCase):
    """The short way to an event."""

    def test_its_events_are_those_of_twisted(self):
        ours: list[Any] = []
        theirs: list[Any] = []
        InfoLogger("here", cast(Any, ours.append)).info("{a} and {b}", a=1, b=2)
        Logger("here", observer=cast(Any, theirs.append)).info("{a} and {b}", a=1, b=2)
        self.assertEqual(set(ours[0]), set(theirs[0]))
        for key in set(ours[0]) - {"log_time", "log_logger"}:
            self.assertEqual(ours[0][key], theirs[0][key])
        self.assertLess(abs(ours[0]["log_time"] - theirs[0]["log_time"]), 10)

    def test_everybody_hears_of_them(self):
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        InfoLogger("here").info("hello {name}", name="you")
        self.assertEqual(["hello you"], [formatEvent(event) for event in events])


class FileTests(SynchronousTestCase):
    """Log files of bounded size."""

    def setUp(self):
        self.path = os.path.join(self.mktemp(), "gw.log")
        os.mkdir(os.path.dirname(self.path))

    def names(self):
        return sorted(os.listdir(os.path.dirname(self.path)))

    def test_without_a_path_lines_go_to_standard_output(self):
        stream = io.StringIO()
        self.patch(__import__("sys"), "stdout", stream)
        self.assertIs(stream, open_log(None, 100, 1))

    def test_lines_are_appended(self):
        for _ in range(2):
            file = open_log(self.path, 1000, 1)
            LineObserver(file, "info")(an_event("grüße"))
            file.close()
        with open(self.path, encoding="utf-8") as found:
            self.assertEqual(2, found.read().count("grüße"))

    def test_a_full_file_is_put_aside_and_only_some_are_kept(self):
        file = open_log(self.path, 200, 2)
        observer = LineObserver(file, "info")
        for _ in range(20):
            observer(an_event("x" * 100))
        file.close()
        self.assertEqual(["gw.log", "gw.log.1", "gw.log.2"], self.names())
        for name in self.names():
            path = os.path.join(os.path.dirname(self.path), name)
            self.assertLess(os.path.getsize(path), 500)

    def test_one_old_file_is_kept_at_least(self):
        file = open_log(self.path, 10, 0)
        for _ in range(5):
            file.write("x" * 20)
        file.close()
        self.assertEqual(["gw.log", "gw.log.1"], self.names())

    def test_a_file_put_aside_by_another_program_is_opened_anew_when_asked(self):
        file = open_log(self.path, 1000, 1)
        observer = LineObserver(file, "info")
        observer(an_event("one"))
        os.rename(self.path, self.path + ".old")
        observer(an_event("two"))
        observer.reopen()
        observer(an_event("three"))
        file.close()
        with open(self.path) as new, open(self.path + ".old") as old:
            self.assertIn("three", new.read())
            self.assertRegex(old.read(), "(?s)one.*two")

    def test_a_file_that_cannot_be_opened_anew_is_tried_again_with_each_line(self):
        folder = os.path.dirname(self.path)
        observer = LineObserver(open_log(self.path, 1000, 1), "info")
        os.rename(folder, folder + ".gone")
        observer.reopen()
        observer(an_event("one"))
        os.mkdir(folder)
        observer(an_event("two"))
        with open(self.path) as new:
            self.assertRegex(new.read(), "(?s)1 lines lost.*two")

    def test_a_file_cut_by_another_program_has_no_gap(self):
        observer = LineObserver(open_log(self.path, 1000, 1), "info")
        observer(an_event("x" * 300))
        os.truncate(self.path, 0)
        observer(an_event("two"))
        with open(self.path) as found:
            text = found.read()
        self.assertNotIn("\0", text)
        self.assertEqual(1, text.count("\n"))

    def test_others_may_not_read_it(self):
        open_log(self.path, 1000, 1).close()
        self.assertEqual(0o640, os.stat(self.path).st_mode & 0o777)

    def test_a_folder_that_is_missing_is_an_os_error(self):
        self.assertRaises(OSError, open_log, self.path + "/x/y", 1000, 1)
