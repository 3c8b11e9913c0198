"""An agent with a good key tries what it may not; nobody but itself is the worse."""

from twisted.internet.defer import Deferred

from gateway.server.link_admission import MOST_REGISTERING
from gateway.wire import frames
from gateway.wire.hello import RegisterAck
from tests.link.rig import KEEP_ALIVE, answer, data, window
from tests.server.hostile import (
    DEEDS,
    ENDS,
    FOREIGN_PORT,
    OWN,
    SCOPE_PORT,
    deeds,
    scope,
)
from tests.server.test_credentials import KeyCase
from tests.strategies import json_frame


class HostileAgentTests(KeyCase):
    """One deed after the other, each on a link of its own."""

    def setUp(self):
        super().setUp()
        self.key = self.made("mallory", **scope())
        self.good, _ = self.prove(self.made("office"), "office")
        self.good.says(json_frame(frames.REGISTER, id="x", local=80, port=FOREIGN_PORT))
        self.good.heard()
        self.visitor = self.visit(FOREIGN_PORT)
        self.good.says(answer(1))
        self.create(SCOPE_PORT, agent="mallory", target_port=80)

    def assert_unharmed(self, name):
        """The good agent's visitor is served, on the same link as ever."""
        self.visitor.peer_sends(b"question")
        self.assertIn((frames.DATA, b"\0\0\0\1question"), self.good.heard(), name)
        self.good.says(data(1, b"answer"), window(1, 8))
        self.visitor.peer_reads()
        self.assertTrue(self.visitor.value().endswith(b"answer"), name)
        self.assertIsNone(self.good.transport.lost, name)

    def enter(self):
        """Let the hostile agent join, with a visitor who waits for its target."""
        agent, heard = self.prove(self.key, "mallory")
        self.assert_admitted(heard)
        visitor = self.visit(SCOPE_PORT)
        self.assertEqual([frames.OPEN], agent.kinds())
        return agent, visitor

    def leave(self, agent, visitor):
        """Let everybody go, and be forgotten."""
        agent.transport.peer_resets()
        visitor.peer_resets()
        self.assertFalse(self.links.has("mallory"))
        for _ in range(5):  # so that a refusal is a line in the log again
            self.clock.advance(30)
            self.good.says(KEEP_ALIVE)
        self.good.heard()

    def test_every_kind_of_frame_has_a_row(self):
        self.assertEqual(set(frames.KIND_NAMES), set(DEEDS) & set(frames.KIND_NAMES))
        self.assertTrue(set(DEEDS) - set(frames.KIND_NAMES))

    def test_every_deed(self):
        for name, deed in deeds():
            agent, visitor = self.enter()
            self.events.clear()
            agent.says(deed.said)
            self.clock.advance(0)  # as many turns as it takes
            kinds = agent.kinds()
            over = not self.links.has("mallory")
            self.assertEqual(deed.outcome == ENDS, over, name)
            if deed.words:
                self.assertTrue(self.lines(deed.words), (name, self.lines()))
            if deed.heard is None and not over:
                self.assertEqual([], kinds, name)
            elif deed.heard is not None:
                self.assertEqual({deed.heard}, set(kinds), name)
            if over:
                self.assertTrue(
                    agent.transport.half_closed or agent.transport.lost, name
                )
                visitor.pump()
                self.assertTrue(visitor.lost, name)
            self.assertFalse([e for e in self.events if "log_failure" in e], name)
            self.assert_unharmed(name)
            self.leave(agent, visitor)
        self.assertEqual(OWN, 1)
        views = [(view.mapping.port, view.source) for view in self.mappings.views()]
        self.assertEqual([(SCOPE_PORT, "stored"), (FOREIGN_PORT, "agent")], views)

    def test_a_flood_of_refusals_is_one_line_a_minute(self):
        agent, _ = self.enter()
        for number in range(500):
            agent.says(json_frame(frames.REGISTER, id=f"x{number}", port=1, local=80))
            agent.heard()
        self.assertEqual(1, len(self.lines("Denied")))
        self.clock.advance(30)
        agent.says(KEEP_ALIVE)
        self.clock.advance(31)
        self.assertEqual(1, len(self.lines("499 more requests from agent mallory")))

    def test_no_more_than_a_hundred_wishes_of_a_link_are_in_progress(self):
        waiting: list[Deferred[RegisterAck]] = []

        def registers(name, wish, scope):
            waiting.append(Deferred())
            return waiting[-1]

        self.patch(self.links.admission._events, "agent_registers", registers)
        agent, _ = self.enter()
        for number in range(MOST_REGISTERING + 1):
            agent.says(json_frame(frames.REGISTER, id=f"x{number}", local=80))
        self.clock.advance(0)
        self.assertEqual(MOST_REGISTERING, len(waiting))
        [(_, refusal)] = agent.heard()
        self.assertIn(b"wait for their answers", refusal)
        waiting[0].callback(RegisterAck(id="x0", port=1))
        waiting[1].errback(ValueError("a bug"))
        self.flushLoggedErrors(ValueError)
        self.assertEqual(2, len(agent.heard()))
        agent.says(json_frame(frames.REGISTER, id="again", local=80))
        self.assertEqual(MOST_REGISTERING + 1, len(waiting))

    def test_a_flood_of_wishes_gets_a_hundred_ports(self):
        self.build(last_port=10400)
        self.visitor = self.good = None
        key = self.made("greedy")
        agent, _ = self.prove(key, "greedy")
        for number in range(120):
            agent.says(json_frame(frames.REGISTER, id=f"x{number}", local=80))
            agent.heard()
        self.assertEqual(100, len(self.mappings.views()))
        self.assertTrue(self.lines("max tunnels reached"))
