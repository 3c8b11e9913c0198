"""Routes over large tables: how much of them is read in one turn of the event loop."""

import json
from typing import Any

from gateway.ops.slices import PER_SLICE, PER_TURN
from gateway.policy.mapping import Mapping, Target
from gateway.server.mappings import MappingView
from tests.api.calls import ApiTestCase
from tests.api.fakes import NOON, FakeMappings, FakeVisit, busy_edge
from tests.fakes import TurnClock

VISITORS = 4000
MAPPINGS = 3000
PATHS = (
    "/api/connections?count=500&sort=sent&order=desc",
    "/api/stats",
    "/api/stats/traffic",
    "/api/stats/connections",
    "/api/agents",
    "/metrics?format=json",
)


class LargeMappings(FakeMappings):
    """Mappings whose visitors share what those of an edge share."""

    crowd: Any = None


class CountedVisit(FakeVisit):
    """A visitor whose bytes are read under the eyes of the test."""

    reads = 0

    @property
    def sent(self):  # type: ignore[override] # a number of the test
        CountedVisit.reads += 1
        return 1

    def __init__(self, edge, number):
        self.id = f"5c1e-{number:05}"
        edge._crowd.slots.acquire()
        super().__init__(edge)


def mapping(port):
    return Mapping(
        id=port,
        port=port,
        targets=(Target(host="", port=22, use_tunnel=True),),
        created_at=NOON,
        updated_at=NOON,
    )


def is_there(result):
    """Return whether a Deferred has its result, and waits for no other."""
    return result.called and not result.paused


class LargeTableTests(ApiTestCase):
    """Thousands of visitors, or of mappings."""

    clock: Any
    mappings: Any

    def setUp(self):
        super().setUp()
        self.clock = TurnClock()
        self.edge = busy_edge(self.clock, mapping(10022))
        self.visits = [CountedVisit(self.edge, number) for number in range(VISITORS)]
        self.mappings = LargeMappings()
        self.mappings.crowd = self.edge._crowd
        self.mappings.busy = [self.edge]
        self.start()

    def turns(self, response):
        """Return how many visitors are read in each turn until there is an answer."""
        reads = []
        while True:
            reads.append(CountedVisit.reads)
            CountedVisit.reads = 0
            self.client.flush()
            if is_there(response):
                return reads
            self.clock.turn()

    def ask(self, path):
        CountedVisit.reads = 0
        return self.begin("GET", path)

    def test_a_turn_reads_a_bounded_number_of_visitors(self):
        for path in PATHS:
            response = self.ask(path)
            reads = self.turns(response)
            # some routes read a number of each twice
            self.assertLessEqual(max(reads), 2 * (PER_TURN + PER_SLICE), path)
            self.assertGreater(sum(map(bool, reads)), 1, path)
            self.assertEqual(self.answer(response).code, 200)

    def test_whoever_asks_meanwhile_shares_what_is_under_way(self):
        for path in PATHS[:1] + PATHS[4:]:
            alone = sum(self.turns(self.ask(path)))
            self.clock.advance(0.1)
            responses = [self.ask(path) for _ in range(5)]
            together = sum(map(sum, map(self.turns, responses)))
            self.assertLessEqual(together, alone, path)
            for response in responses:
                self.assertEqual(self.answer(response).code, 200)

    def test_many_callers_share_the_turns(self):
        responses = [self.ask(f"/api/connections?offset={n}") for n in range(10)]
        for response in responses:
            reads = self.turns(response)
            self.assertLessEqual(max(reads), 2 * (PER_TURN + PER_SLICE))

    def test_visitors_may_leave_meanwhile(self):
        for path in PATHS:
            response = self.ask(path)
            while not is_there(response):
                for visit in self.visits[:50]:
                    visit.close("enough")
                    self.visits.remove(visit)
                self.clock.turn()
                self.client.flush()
            self.assertEqual(self.answer(response).code, 200)

    def test_who_leaves_meanwhile_is_counted_once(self):
        """What a counter says never goes back."""
        before = 0
        for _ in range(5):
            response = self.ask("/metrics?format=json")
            while not is_there(response):
                for visit in self.visits[:100]:
                    visit.close("enough")
                    self.visits.remove(visit)
                self.clock.turn()
                self.client.flush()
            found = self.answer(response).json["BytesIn"]
            self.assertGreaterEqual(found, before)
            before = found

    def test_pages_hold_every_visitor_once_in_order(self):
        found = []
        for offset in range(0, VISITORS, 500):
            path = f"/api/connections?sort=visitor&count=500&offset={offset}"
            rows = self.get(path).json["data"]["connections"]
            found += [row["id"] for row in rows]
        self.assertEqual(found, [visit.id for visit in self.visits])

    def test_a_long_list_is_sent_while_it_is_made(self):
        for port in range(10000, 10000 + MAPPINGS):
            view = MappingView(mapping(port), "listening", None, 0, "stored")
            self.mappings.put(view)
        response = self.begin("GET", "/api/mapping/list")
        turns = 0
        while not is_there(response):
            self.clock.turn()
            self.client.flush()
            turns += 1
        self.assertLess(turns, MAPPINGS * 25 / PER_TURN / 4)
        body = self.client.content(self.successResultOf(response))
        while not is_there(body):
            self.clock.turn()
            self.client.flush()
            turns += 1
        self.assertGreater(turns, MAPPINGS * 25 / (PER_TURN + PER_SLICE))
        rows = json.loads(self.successResultOf(body))["data"]
        self.assertEqual(rows["count"], MAPPINGS)
        self.assertEqual(
            [row["port"] for row in rows["mappings"]],
            [*range(10000, 10000 + MAPPINGS)],
        )
