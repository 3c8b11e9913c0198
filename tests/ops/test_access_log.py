"""A line for each connection that is over."""

import errno
import io
import json
import shlex
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.access_log import AccessLog, Visited
from gateway.ops.log_files import GATHER_SECONDS
from gateway.ops.log_lines import format_line

VISIT = Visited(
    visitor="203.0.113.9:5000",
    port=10022,
    mapping_name="my ssh",
    agent="home",
    target="127.0.0.1:22",
    open_seconds=0.0042,
    duration_seconds=12.5,
    bytes_sent=5,
    bytes_received=3,
    reason="both sides finished",
    trace="t-1",
)


class AccessLogTests(SynchronousTestCase):
    """Forms, and places."""

    def written(self, form, visit=VISIT):
        file = io.StringIO()
        log = AccessLog(form, file, wall_clock=lambda: 1_700_000_012.5)
        log.note(visit)
        return file.getvalue()

    def heard(self):
        events: list[Any] = []
        note: Any = events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return events

    def test_the_fields_of_a_combined_line(self):
        self.assertEqual(
            "203.0.113.9:5000 [14/Nov/2023:22:13:20 +0000] 10022 "
            '"my ssh" home 127.0.0.1:22 0.004 12.500 5 3 "both sides finished" t-1\n',
            self.written("combined"),
        )

    def test_what_there_is_not_is_a_hyphen(self):
        visit = VISIT._replace(mapping_name="", agent=None, open_seconds=None)
        self.assertIn(' "-" - 127.0.0.1:22 - 12.500 ', self.written("combined", visit))

    def test_nobody_forges_a_field_or_a_line(self):
        visit = VISIT._replace(mapping_name='a" b\\', reason="x\ny")
        line = self.written("combined", visit)
        self.assertEqual(1, line.count("\n"))
        fields = shlex.split(line)
        self.assertEqual(('a" b\\', 13), (fields[4], len(fields)))

    def test_the_fields_of_json(self):
        found = json.loads(self.written("json"))
        expected = VISIT._asdict() | {"timestamp": "2023-11-14T22:13:20.000Z"}
        self.assertEqual(expected, found)

    def test_without_a_file_lines_stand_in_the_log(self):
        events = self.heard()
        AccessLog("combined", None).note(VISIT)
        line = format_line(events[0]) or ""
        self.assertIn("[INFO] gateway.access: 203.0.113.9:5000 [", line)
        self.assertEqual("t-1", events[0]["trace"])

    def test_lines_wait_for_each_other_a_moment(self):
        file, clock = io.StringIO(), Clock()
        log = AccessLog("json", file)
        log.gather(clock)
        log.note(VISIT)
        log.note(VISIT)
        self.assertEqual("", file.getvalue())
        clock.advance(GATHER_SECONDS)
        self.assertEqual(2, file.getvalue().count("\n"))
        log.note(VISIT)
        log.release()
        log.release()
        self.assertEqual(3, file.getvalue().count("\n"))

    def test_a_full_disk_is_told_of_in_the_log_itself(self):
        class Full(io.StringIO):
            full = True

            def write(self, text):
                if self.full:
                    raise OSError(errno.ENOSPC, "full")
                return super().write(text)

        events = self.heard()
        file = Full()
        log = AccessLog("json", file)
        log.note(VISIT)
        log.note(VISIT)
        file.full = False
        log.note(VISIT)
        self.assertEqual(1, file.getvalue().count("\n"))
        self.assertIn("2 lines of the access log lost", format_line(events[0]) or "")
