"""`GET /api/stats/history`, and what passed ever."""

from twisted.internet.defer import Deferred

from gateway.errors import StoreError
from gateway.policy.history import History, Lifetime, Point
from gateway.server.recorder import RecorderSettings
from tests.api.calls import ApiTestCase
from tests.api.fakes import NOON


class FakeRecorder:
    """Tells a past, and what it was asked for."""

    settings = RecorderSettings(True, 60.0, 604800.0, 1000)

    def lifetime(self, total):
        return Lifetime(7, 1, 1000, 2000)

    def __init__(self):
        self.asked = []
        self.fault = None

    async def history(self, *asked):
        self.asked.append(asked)
        if self.fault is not None:
            raise self.fault
        await Deferred.fromCoroutine(self.nothing())
        return History(300, [Point(NOON, 10, 20, 1, 3)])

    async def nothing(self):
        pass


class HistoryTests(ApiTestCase):
    """Over a recorder that makes its past up."""

    def setUp(self):
        super().setUp()
        self.recorder = FakeRecorder()
        self.start(recorder=self.recorder)

    def test_points_of_one_port(self):
        answer = self.get(f"/api/stats/history?port=80&since={NOON - 600}&limit=5")
        self.assertEqual((answer.code, answer.json["success"]), (200, True))
        self.assertEqual(
            answer.json["data"],
            {
                "port": 80,
                "step_seconds": 300,
                "points": [
                    {
                        "at_unix": NOON,
                        "bytes_sent": 10,
                        "bytes_received": 20,
                        "connections": 1,
                        "active": 3,
                    }
                ],
            },
        )
        self.assertEqual(self.recorder.asked, [(80, False, NOON - 600, NOON, 5)])

    def test_left_out_it_is_the_last_hundred_records_of_all(self):
        self.assertIsNone(self.get("/api/stats/history").json["data"]["port"])
        self.get("/api/stats/history?links=true&until=1000&limit=1000")
        self.assertEqual(
            self.recorder.asked,
            [(0, False, NOON - 6000, NOON, 100), (0, True, 0, 1000, 1000)],
        )

    def test_what_makes_no_sense_is_refused(self):
        for query, words in (
            ("limit=1001", "limit: '1001' is not a number from 1 to 1000"),
            ("limit=0", "limit: '0'"),
            ("port=65536", "port: '65536'"),
            ("since=5&until=5", "since: 5 is not before until (5)"),
            ("since=x", "since: 'x'"),
            ("links=1", "links: '1' is neither true nor false"),
            ("links=true&port=1", "links have no port"),
        ):
            self.assertSays(self.get(f"/api/stats/history?{query}"), 400, words)
        self.assertEqual(self.recorder.asked, [])

    def test_a_store_that_fails_is_told(self):
        self.recorder.fault = StoreError("locked")
        self.assertSays(self.get("/api/stats/history"), 500, "locked")

    def test_what_passed_ever(self):
        self.assertEqual(
            self.get("/api/stats").json["data"]["lifetime"],
            {
                "connections": 7,
                "errors": 1,
                "bytes_sent": 1000,
                "bytes_received": 2000,
            },
        )
