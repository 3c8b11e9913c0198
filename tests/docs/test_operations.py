"""Numbers and lines of docs/operations.md are those of the code."""

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.access_log import AccessLog
from gateway.ops.log_lines import format_line, message_of
from gateway.ops.logs import LineObserver
from gateway.server.visit_log import VisitLog
from gateway.store.schema import SCHEMA_VERSION
from gateway.texts import Texts

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
WORDS = " ".join(TEXT.split())
STARTED = 1772355600  # 2026-03-01 09:00:00 UTC
VISIT: Any = SimpleNamespace(
    id="5f3a91c2-1f",
    visitor="203.0.113.9:51234",
    agent="home",
    started_at=0.0,
    opened_at=0.004,
)
MAPPING = SimpleNamespace(port=10022, name="ssh", target_host="", target_port=22)


class NumberTests(SynchronousTestCase):
    """Numbers that change with the code."""

    def test_the_copy_before_a_migration_has_the_number_of_the_newest_schema(self):
        self.assertEqual(re.findall(r"before-v(\d+)", TEXT), [str(SCHEMA_VERSION)])


class SampleTests(SynchronousTestCase):
    """Sample lines."""

    def said(self, say):
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        say()
        return events

    def test_a_visitor_in_the_log_and_in_the_access_log(self):
        file = io.StringIO()
        access = AccessLog("combined", file, wall_clock=lambda: STARTED + 12.204)
        log = VisitLog(Texts("en"), access)
        clock = SimpleNamespace(seconds=lambda: 12.204)
        edge: Any = SimpleNamespace(mapping=MAPPING, clock=clock)
        reason = "both sides finished"

        def say():
            log.opened(VISIT, edge)
            log.closed(VISIT, edge, reason, sent=5120, received=90112)

        for event in self.said(say):
            line = f"[INFO] {event['log_namespace']}: {message_of(event)}\n"
            self.assertIn(line, TEXT)
        self.assertIn(file.getvalue(), TEXT)

    def test_the_time_of_a_line(self):
        line = format_line({"log_format": "x", "log_time": STARTED})
        shape = re.compile(r"^2026-0\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[INFO\]", re.M)
        self.assertRegex(line or "", shape)
        self.assertRegex(TEXT, shape)
        self.assertIn("the time of the process's time zone, with its offset", WORDS)

    def test_a_warning_that_repeats(self):
        file, clock = io.StringIO(), Clock()
        observer = LineObserver(file, "info")
        observer.gather(cast(Any, clock))
        log = Logger("gateway.agent", observer=cast(Any, observer))
        for _ in range(8):
            log.warn(
                "{said}",
                said="link 0 to gw.example.com:9000: connection refused; "
                "next try in 30.0 seconds",
            )
        clock.advance(60)
        last = file.getvalue().splitlines()[-1].partition(": ")[2]
        observer.release()
        self.assertIn(f"`{last}`", WORDS)
