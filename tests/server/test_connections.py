"""Who is connected: found, sorted, timed and ended."""

from gateway.ops.slices import Slices
from gateway.server.connections import Connections, Wanted
from gateway.server.sampling import KEPT, Sampler
from gateway.server.traffic import Traffic
from gateway.wire import frames
from tests.link.rig import answer, data
from tests.server.rig import GatewayCase
from tests.strategies import with_id


class ConnectionCase(GatewayCase):
    """Two mappings and an agent."""

    def setUp(self):
        super().setUp()
        self.create(agent="web", name="site")
        self.create(10081, agent="web")
        self.peer = self.agent("web")
        slices = Slices(self.clock)
        self.traffic = Traffic(self.mappings, self.links, slices)
        self.connections = Connections(self.clock, self.traffic, slices)

    def page(self, sort="age", *, descending=False, offset=0, count=50, **wanted):
        return self.now(
            self.connections.page(
                Wanted(**wanted),
                sort,
                descending=descending,
                offset=offset,
                count=count,
            )
        )

    def ids(self, *given, **wanted):
        return [one.visit.id for one in self.page(*given, **wanted)[0]]


class PageTests(ConnectionCase):
    """Some of those who are here."""

    def test_youngest_and_oldest_first(self):
        for _ in range(3):
            self.visit()
            self.clock.advance(0.25)
        self.assertEqual(["t-3", "t-2", "t-1"], self.ids())
        self.assertEqual(["t-1", "t-2", "t-3"], self.ids(descending=True))

    def test_pages_hold_everybody_once(self):
        for _ in range(5):
            self.visit()
        pages = [self.ids(offset=offset, count=2) for offset in (0, 2, 4, 6)]
        self.assertEqual([2, 2, 1, 0], list(map(len, pages)))
        self.assertEqual(5, len({one for page in pages for one in page}))
        self.assertEqual(5, self.page(offset=4, count=2)[1])

    def test_of_one_port_and_of_one_state(self):
        self.visit()
        self.visit(10081)
        self.peer.reached(1)
        self.assertEqual(["t-2"], self.ids(port=10081))
        self.assertEqual(["t-1"], self.ids(state="active"))
        self.assertEqual(["t-2"], self.ids(state="pending"))

    def test_of_one_agent_and_by_a_part_of_the_address(self):
        self.visit()
        self.assertEqual(["t-1"], self.ids(agent="web"))
        self.assertEqual([], self.ids(agent="db"))
        self.assertEqual(["t-1"], self.ids(visitor="203.0.113"))
        self.assertEqual([], self.ids(visitor="198.51"))

    def test_who_is_being_flushed_is_closing(self):
        visitor = self.visit()
        self.peer.says(answer(1), data(1, b"last words"), with_id(frames.FIN, 1))
        visitor.peer_finishes()
        self.assertEqual(["t-1"], self.ids(state="closing"))

    def test_rates_are_those_between_two_looks(self):
        visitor = self.visit()
        self.peer.reached()
        self.clock.advance(10)
        visitor.peer_sends(b"x" * 1000)
        (first,), _ = self.page()
        self.assertEqual(100.0, first.rate_sent)
        self.clock.advance(2)
        visitor.peer_sends(b"x" * 5000)
        (second,), _ = self.page()
        self.assertEqual((2500.0, 0.0), (second.rate_sent, second.rate_received))

    def test_rates_are_kept_when_asked_again_at_once(self):
        visitor = self.visit()
        self.peer.reached()
        self.page()
        self.clock.advance(2)
        visitor.peer_sends(b"x" * 5000)
        self.page()
        self.clock.advance(0.25)
        (again,), _ = self.page()
        self.assertEqual(2500.0, again.rate_sent)


class EndTests(ConnectionCase):
    """The operator ends a connection."""

    def test_one_is_found_by_its_id_and_ended_alone(self):
        first, second = self.visit(), self.visit()
        self.peer.reached(1)
        self.peer.reached(2)
        found = self.now(self.connections.find("t-1"))
        assert found is not None
        found[1].close("enough")
        for visitor in (first, second):
            visitor.pump()
        self.assertEqual((True, False), (first.aborted, second.aborted))
        self.assertIsNone(self.now(self.connections.find("t-1")))

    def test_an_agent_is_sent_away_and_may_come_again(self):
        self.assertEqual(1, self.links.disconnect("web", "enough"))
        self.assertFalse(self.links.has("web"))
        self.agent("web")
        self.assertTrue(self.links.has("web"))


class SamplerTests(ConnectionCase):
    """Numbers of the last minutes."""

    def setUp(self):
        super().setUp()
        self.sampler = Sampler(self.clock, self.traffic, self.wall_now)
        self.sampler.start()
        self.addCleanup(self.sampler.stop)

    def test_each_second_has_its_own_numbers(self):
        visitor = self.visit()
        self.peer.reached()
        visitor.peer_sends(b"x" * 100)
        self.clock.advance(1)
        visitor.peer_sends(b"x" * 50)
        self.clock.advance(1)
        self.clock.advance(1)
        rows = [(one.sent, one.connections, one.active) for one in self.sampler.samples]
        self.assertEqual([(100.0, 1.0, 1), (50.0, 0.0, 1), (0.0, 0.0, 1)], rows)

    def test_five_minutes_are_kept(self):
        for _ in range(KEPT + 5):
            self.clock.advance(1)
        self.assertEqual(KEPT, len(self.sampler.samples))

    def test_after_the_stop_nothing_is_planned(self):
        self.clock.advance(0)
        before = len(self.clock.getDelayedCalls())
        self.sampler.stop()
        self.sampler.stop()
        self.assertEqual(before - 1, len(self.clock.getDelayedCalls()))
