"""Lines of JSON."""

import json
import re
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.levels import LEVELS
from gateway.ops.log_lines import LONGEST_FIELD, JsonLines, timestamp
from gateway.ops.logs import InfoLogger
from tests.ops.test_logs import an_event


class JsonTests(SynchronousTestCase):
    """One event, one object."""

    def record(self, *args, **fields):
        line = JsonLines("gotunnel")(an_event(*args, **fields))
        assert line is not None
        self.assertTrue(line.endswith("}\n"))
        return json.loads(line)

    def test_it_has_exactly_the_agreed_keys_and_those_of_the_event(self):
        events: list[Any] = []
        InfoLogger("gateway.server.routing", cast(Any, events.append)).info(
            "{phrase}: port {port}",
            phrase="connection closed",
            port=10080,
            trace="t-1",
            agent=None,
            bytes_sent=5,
            duration_seconds=0.25,
        )
        record = json.loads(JsonLines("gotunnel")(events[0]) or "")
        self.assertEqual(
            {
                "timestamp": record["timestamp"],
                "level": "INFO",
                "service": "gotunnel",
                "message": "connection closed: port 10080",
                "component": "gateway.server.routing",
                "port": 10080,
                "trace": "t-1",
                "bytes_sent": 5,
                "duration_seconds": 0.25,
            },
            record,
        )
        self.assertRegex(
            record["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
        )

    def test_times_are_iso_in_utc(self):
        self.assertEqual("2023-11-14T22:13:20.000Z", timestamp(1_700_000_000.0))
        self.assertEqual("2023-11-14T22:13:20.999Z", timestamp(1_700_000_000.9999))

    def test_levels_have_the_names_of_the_text(self):
        for name, level in LEVELS.items():
            self.assertEqual(name.upper(), self.record(log_level=level)["level"])

    def test_no_field_takes_the_place_of_an_agreed_key(self):
        record = self.record(service="forged", level=7, timestamp="never")
        self.assertEqual("gotunnel", record["service"])
        self.assertEqual("forged", record["service_"])
        self.assertEqual(("INFO", 7), (record["level"], record["level_"]))

    def test_fields_of_any_kind_become_text_and_long_ones_are_cut(self):
        record = self.record(place=("a", 1), odd=float("inf"), long="x" * 5000)
        self.assertEqual("('a', 1)", record["place"])
        self.assertEqual("inf", record["odd"])
        self.assertEqual(LONGEST_FIELD, len(record["long"]))

    def test_a_traceback_is_a_field(self):
        record = self.record(log_failure=Failure(ValueError("no")))
        self.assertIn("ValueError: no", record["traceback"])
        only = json.loads(JsonLines("x")({"log_failure": Failure(OSError("o"))}) or "")
        self.assertEqual("", only["message"])

    def test_an_event_without_words_is_no_line(self):
        self.assertIsNone(JsonLines("x")({"log_level": LogLevel.info}))

    def test_letters_of_every_language_stay(self):
        line = JsonLines("x")(an_event("连接关闭")) or ""
        self.assertIn("连接关闭", line)

    @given(st.text())
    def test_whatever_is_said_is_one_printable_line_that_says_it(self, text):
        line = JsonLines("x")(an_event("x" + text, more=text)) or ""
        self.assertEqual(1, len(line.splitlines()))
        line.encode()
        self.assertIsNone(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", line))
        self.assertEqual("x" + text, json.loads(line)["message"])
