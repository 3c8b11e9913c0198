"""`gotunnel logs`: over the API, and from a file."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.cli.log_file import Filter, LogFollower
from tests.cli.cases import COMMAND, ENVIRON, GatewayCase, run

PATIENCE_SECONDS = 30


def text_line(message, level="INFO", component="gateway.net"):
    return f"2026-03-01T09:00:00+0000 [{level}] {component}: {message}\n"


def json_line(message, level="INFO", component="gateway.net", **fields):
    record = {"level": level, "component": component, "message": message, **fields}
    return json.dumps(record) + "\n"


class ApiTests(GatewayCase):
    """Asked of the gateway."""

    def answer(self, path, *messages, cursor="e-1", **fields):
        lines = [
            {
                "number": number,
                "timestamp": "2026-03-01T09:00:00.000Z",
                "level": "WARN",
                "component": "gateway.net",
                "message": message,
                "fields": fields,
            }
            for number, message in enumerate(messages, 1)
        ]
        data: dict[str, Any] = {"lines": lines, "cursor": cursor, "lost": 0}
        self.can(path, data)

    def can(self, path, data):
        answer = {"success": True, "message": "done", "data": data}
        self.gateway.canned[path] = 200, json.dumps(answer).encode()

    def test_the_last_lines(self):
        self.answer("/api/logs?level=warn&trace=t-1&count=5", "no\x1broom")
        result = self.run_it("logs", "--level", "warn", "--trace", "t-1", "-n", "5")
        self.assertEqual(
            "2026-03-01T09:00:00.000Z [WARN] gateway.net: no\\x1broom\n", result.output
        )

    def test_a_traceback_follows_its_line(self):
        self.answer("/api/logs?count=100", "it broke", traceback="one\ntwo")
        self.assertIn(": it broke\n    one\n    two\n", self.run_it("logs").output)

    def test_lines_as_json(self):
        self.answer("/api/logs?count=100", "one", "two", port=7)
        lines = self.run_it("logs", "--json").output.splitlines()
        self.assertEqual([7, 7], [json.loads(one)["fields"]["port"] for one in lines])

    def test_lines_are_followed(self):
        self.answer("/api/logs?count=100", "one", cursor="e-1")
        self.answer("/api/logs?wait=10&count=500&after=e-1", "two", cursor="e-2")
        self.can("/api/logs?wait=10&count=500&after=e-2", None)  # of no use: it ends
        with subprocess.Popen(
            [*COMMAND, "logs", "-f", "--url", self.gateway.url],
            env=ENVIRON,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                for word in ("one", "two"):
                    self.assertIn(word, process.stdout.readline())
            finally:
                process.kill()

    def test_levels_are_shown_and_set(self):
        component = {
            "component": "gateway.net",
            "level": "debug",
            "configured": None,
            "seconds_left": 600,
        }
        levels = {
            "level": "info",
            "configured": "info",
            "seconds_left": None,
            "components": [component],
        }
        self.can("/api/log/level", levels)
        for words in ([], ["gateway.net", "debug", "--for", "10m"], ["all", "info"]):
            output = self.run_it("logs", "level", *words).output
            self.assertRegex(output, r"all others +info +info +-\n")
            self.assertRegex(output, r"gateway\.net +debug +- +600\n")
        shown = self.run_it("logs", "level", "--json").output
        self.assertEqual(levels, json.loads(shown))

    def test_a_component_without_a_level_is_wrong_usage(self):
        self.assertEqual(2, run("logs", "level", "gateway.net").exit_code)
        self.assertEqual(2, run("logs", "level", "gateway.net", "loud").exit_code)

    def run_it(self, *words):
        result = run(*words, env={"GOTUNNEL_URL": self.gateway.url})
        self.assertEqual(0, result.exit_code, result.output)
        return result


class FileTests(SynchronousTestCase):
    """Read from a file."""

    def setUp(self):
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "gw.log")
        self.write()

    def write(self, *lines):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(lines))

    def open(self, **wanted):
        follower = LogFollower(self.path, Filter(**wanted))
        self.addCleanup(follower.close)
        return follower

    def test_the_last_lines_of_either_form_that_are_wanted(self):
        self.write(
            text_line("closed: t-1: done"),
            text_line("closed: t-11: done"),
            text_line("it broke", "ERROR", "gateway.server.links.Links"),
            "    Traceback\n",
            json_line("closed", trace="t-1"),
            json_line("odd", "WARN", "gateway.network"),
            "{not json\n",
        )
        for wanted, count in (
            ({}, 7),
            ({"trace": "t-1"}, 2),
            ({"level": "error"}, 2),
            ({"component": "gateway.server"}, 2),
            ({"component": "gateway.net"}, 3),
            ({"level": "fatal"}, 0),
        ):
            self.assertEqual(count, len(self.open(**wanted).last(100)), wanted)
        self.assertEqual(["{not json"], self.open().last(1))

    def test_the_command_prints_them(self):
        self.write(text_line("one\x1b[2J"), text_line("two"))
        result = run("logs", "--file", self.path, "-n", "2")
        self.assertIn("one\\x1b[2J\n", result.output)
        result = run("logs", "--file", self.path, "-n", "1", "--json")
        self.assertIn("two", json.loads(result.output)["line"])

    def test_a_file_that_cannot_be_read_is_told(self):
        result = run("logs", "--file", self.path + ".no")
        self.assertEqual(1, result.exit_code)
        self.assertIn("No such file", result.output)

    def follow(self, follower, *events):
        """Follow, with an event instead of each nap; return the lines."""
        left = list(events)

        def nap(seconds):
            if not left:
                raise InterruptedError
            left.pop(0)()

        lines = []
        try:
            for line in follower.follow(nap):
                lines.append(line)  # noqa: PERF402 - it ends by the exception
        except InterruptedError:
            return lines
        return None

    def test_lines_are_followed_over_a_rotation(self):
        self.write("one\n")
        follower = self.open()
        self.assertEqual(["one"], follower.last(10))

        def rotate():
            self.write("three\n")
            os.rename(self.path, self.path + ".1")

        lines = self.follow(
            follower,
            lambda: self.write("two\n"),
            rotate,
            lambda: self.write("four\n"),
            lambda: self.write("five\n"),
        )
        self.assertEqual(["two", "three", "four", "five"], lines)

    def test_a_file_that_is_cut_is_read_from_its_beginning(self):
        self.write("one, which is long\n")
        follower = self.open()
        follower.last(10)
        lines = self.follow(
            follower,
            lambda: Path(self.path).write_text("two\n", encoding="utf-8"),
        )
        self.assertEqual(["two"], lines)

    def test_half_a_line_waits_for_its_other_half(self):
        follower = self.open()
        lines = self.follow(
            follower, lambda: self.write("one and "), lambda: self.write("two\n")
        )
        self.assertEqual(["one and two"], lines)
