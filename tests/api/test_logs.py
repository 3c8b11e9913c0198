"""The log over the API."""

from typing import Any, cast

from twisted.logger import Logger

from gateway.api.log_routes import LINE, LOOK_SECONDS, MOST_WAITING
from gateway.api.settings import ApiSettings
from gateway.api.tokens import TokenJudge
from gateway.ops.recent import MOST_LINES, RecentLines
from gateway.ops.slices import PER_SLICE, PER_TURN
from tests.api.calls import ApiTestCase
from tests.api.fakes import NOON
from tests.api.test_tokens import SECRET, signed
from tests.fakes import TurnClock


class LinesTests(ApiTestCase):
    """The last lines, and more as they come."""

    def setUp(self):
        super().setUp()
        self.recent = RecentLines("gotunnel", "5c1e")
        self.start(recent=self.recent)
        self.log = Logger("gateway.net", observer=cast(Any, self.recent.keep))

    def lines(self, answer):
        self.assertEqual(200, answer.code, answer.json)
        data = answer.json["data"]
        return [line["message"] for line in data["lines"]], data["cursor"]

    def test_the_newest_lines_that_are_wanted(self):
        self.log.info("one", trace="t-1")
        self.log.warn("two", port=7)
        for query, expected in (
            ("", ["one", "two"]),
            ("?count=1", ["two"]),
            ("?level=warn", ["two"]),
            ("?trace=t-1", ["one"]),
            ("?component=gateway", ["one", "two"]),
            ("?component=gateway.n", []),
        ):
            answer = self.get(f"/api/logs{query}")
            self.assertEqual((expected, "5c1e-2"), self.lines(answer), query)
        self.assertEqual(
            {"port": 7}, self.get("/api/logs").json["data"]["lines"][1]["fields"]
        )

    def test_a_cursor_leads_on(self):
        for word in ("one", "two", "three"):
            self.log.info(word)
        answer = self.get("/api/logs?after=5c1e-1&count=1")
        self.assertEqual((["two"], "5c1e-2"), self.lines(answer))
        answer = self.get("/api/logs?after=5c1e-3")
        self.assertEqual(([], "5c1e-3"), self.lines(answer))

    def test_another_processs_cursor_begins_at_the_first_line(self):
        self.log.info("one")
        for cursor in ("77aa-1", "5c1e-9"):
            answer = self.get(f"/api/logs?after={cursor}&wait=5&level=info")
            self.assertEqual((["one"], "5c1e-1"), self.lines(answer))

    def test_nobody_waits_with_another_processs_cursor(self):
        answer = self.get("/api/logs?after=77aa-9&wait=5")
        self.assertEqual(([], "5c1e-0"), self.lines(answer))

    def test_what_is_no_cursor_and_no_number_is_refused(self):
        for query, part in (
            ("after=x", "after"),
            ("count=2001", "2000"),
            ("wait=26", "25"),
            ("level=loud", "loud"),
        ):
            self.assertSays(self.get(f"/api/logs?{query}"), 400, part)

    def test_a_turn_looks_at_a_bounded_number_of_lines(self):
        clock = self.clock = TurnClock()
        self.start(recent=self.recent)
        for number in range(MOST_LINES):
            self.log.info(f"{number}")
        clock.turn()
        looks: list[int] = [0]
        record = self.recent._record

        def counted(*given):
            looks[-1] += 1
            return record(*given)

        self.patch(self.recent, "_record", counted)
        for query in ("?level=error", "?after=5c1e-0&level=error", "?count=2000"):
            del looks[1:]
            response = self.begin("GET", f"/api/logs{query}")
            while True:
                self.client.flush()
                if response.called and not response.paused:
                    break
                looks.append(0)
                clock.turn()
            self.assertEqual(sum(looks[1:]) + looks[0], MOST_LINES, query)
            self.assertLessEqual(max(looks), (PER_TURN + PER_SLICE) // LINE, query)
            self.answer(response)
            looks[0] = 0

    def test_lines_that_are_lost_are_counted(self):
        for _ in range(MOST_LINES + 5):
            self.log.info("x")
        answer = self.get("/api/logs?after=5c1e-2&count=1")
        self.assertEqual(3, answer.json["data"]["lost"])

    def test_a_caller_may_wait_for_a_line(self):
        waiting = self.begin("GET", "/api/logs?after=5c1e-0&wait=5&level=warn")
        self.log.info("not this")
        self.clock.advance(LOOK_SECONDS)
        self.assertNoResult(waiting)
        self.log.warn("this")
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((["this"], "5c1e-2"), self.lines(self.answer(waiting)))

    def test_nobody_waits_for_ever(self):
        waiting = self.begin("GET", "/api/logs?after=5c1e-0&wait=1")
        self.clock.pump([LOOK_SECONDS] * 4)
        self.assertEqual(([], "5c1e-0"), self.lines(self.answer(waiting)))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_the_number_of_those_who_wait_is_bounded(self):
        waiting = [
            self.begin("GET", "/api/logs?after=5c1e-0&wait=1")
            for _ in range(MOST_WAITING + 1)
        ]
        self.assertEqual(([], "5c1e-0"), self.lines(self.answer(waiting.pop())))
        self.clock.pump([LOOK_SECONDS] * 4)
        for one in waiting:
            self.lines(self.answer(one))


class RoleTests(ApiTestCase):
    """Who may read the log."""

    settings = ApiSettings(
        tokens=TokenJudge(SECRET, None, None, lambda: float(NOON)), rate_limit=None
    )

    def test_a_reader_may_see_the_levels_and_no_lines(self):
        reader = {"authorization": f"Bearer {signed(role='reader')}"}
        admin = {"authorization": f"Bearer {signed(role='admin')}"}
        answer = self.get("/api/logs", **reader)
        self.assertEqual(403, answer.code)
        self.assertEqual(200, self.get("/api/logs", **admin).code)
        self.assertEqual(200, self.get("/api/log/level", **reader).code)
        body = {"level": "debug"}
        self.assertEqual(403, self.post("/api/log/level", body, **reader).code)


class LevelTests(ApiTestCase):
    """Which lines are logged."""

    def test_a_level_is_set_for_a_while(self):
        body = {"component": "gateway.api", "level": "debug", "for_seconds": 60}
        self.assertEqual(200, self.post("/api/log/level", body).code)
        self.clock.advance(20)
        shown = self.get("/api/log/level").json["data"]
        self.assertIn(
            {
                "component": "gateway.api",
                "level": "debug",
                "configured": None,
                "seconds_left": 40,
            },
            shown["components"],
        )
        self.clock.advance(40)
        (left,) = self.get("/api/log/level").json["data"]["components"]
        self.assertEqual("gateway.net", left["component"])

    def test_the_level_of_all_others_is_set_and_set_back(self):
        shown = self.post("/api/log/level", {"level": "warn"}).json["data"]
        self.assertEqual(("warn", "info"), (shown["level"], shown["configured"]))
        shown = self.post("/api/log/level", {"level": None}).json["data"]
        self.assertEqual("info", shown["level"])

    def test_what_is_wrong_is_said(self):
        for body, part in (
            ({}, "level"),
            ({"level": "loud"}, "level"),
            ({"level": "info", "component": "a b"}, "component"),
            ({"level": "info", "for_seconds": 0}, "for_seconds"),
        ):
            self.assertSays(self.post("/api/log/level", body), 400, part)

    def test_the_number_of_components_is_bounded(self):
        for number in range(64):
            self.post("/api/log/level", {"component": f"c{number}", "level": "info"})
        answer = self.post("/api/log/level", {"component": "x", "level": "info"})
        self.assertSays(answer, 400, "64")

    def test_who_set_it_is_in_the_audit_log(self):
        self.post("/api/log/level", {"component": "gateway.api", "level": "debug"})
        (entry,) = self.get("/api/audit").json["data"]["entries"]
        self.assertEqual(
            ("log.level", "gateway.api"), (entry["action"], entry["subject"])
        )
