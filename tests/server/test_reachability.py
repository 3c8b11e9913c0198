"""Mappings that listen and cannot serve: the cause, and since when."""

from twisted.internet.defer import ensureDeferred

from gateway.ops.health import HealthStatus
from gateway.ops.slices import Slices
from gateway.policy.mapping import MappingChanges
from gateway.server.fitness import MOST_NAMED, check_mappings
from tests.link.rig import answer
from tests.server.rig import NOON, GatewayCase
from tests.server.test_credentials import KeyCase


class ReachabilityCase(GatewayCase):
    """Mappings of a gateway."""

    def seen(self, port=10080):
        """Return state, cause, sentence and seconds since noon of a mapping."""
        view = self.mappings.get(port)
        since = None if view.since is None else view.since - NOON
        return view.state, view.cause, view.error, since

    def check(self):
        checking = ensureDeferred(check_mappings(self.mappings, Slices(self.clock)))
        self.clock.advance(0)
        return self.successResultOf(checking)


class AgentTests(ReachabilityCase):
    """The agent of a mapping."""

    def test_one_that_was_never_seen(self):
        self.later(100, 100)
        self.create(agent="web")
        self.later(5, 5)
        said = "agent web was never seen here"
        self.assertEqual(("unreachable", "agent_absent", said, 100), self.seen())

    def test_one_that_is_there(self):
        self.create(agent="web")
        self.agent("web")
        self.assertEqual(("listening", None, None, None), self.seen())

    def test_one_that_has_left(self):
        self.create(agent="web")
        peer = self.agent("web")
        self.later(20, 20)
        peer.transport.peer_resets()
        self.later(10, 10)
        self.assertEqual(
            ("unreachable", "agent_absent", "agent web is not connected", 20),
            self.seen(),
        )
        self.agent("web")
        self.assertEqual("listening", self.seen()[0])

    def test_no_default_one(self):
        self.create()
        self.assertEqual(
            ("unreachable", "agent_absent", "no agent is connected", 0), self.seen()
        )
        self.agent("web")
        self.assertEqual("listening", self.seen()[0])
        self.agent("db")
        self.assertEqual(
            (
                "unreachable",
                "no_default_agent",
                "none of the 2 agents is the default one",
            ),
            self.seen()[:3],
        )

    def test_a_disabled_mapping_is_not_judged(self):
        self.create(agent="web")
        disabled = self.ensure(self.mappings.disable(10080))
        self.assertEqual("disabled", self.successResultOf(disabled).state)
        self.assertEqual(("disabled", None, None, None), self.seen())

    def test_an_agent_is_asked_nothing(self):
        self.create(agent="web")
        peer = self.agent("web")
        peer.heard()
        self.seen()
        self.check()
        self.assertEqual([], peer.heard())


class KeyTests(KeyCase, ReachabilityCase):
    """What the key of the agent does not allow."""

    def test_the_public_port(self):
        key = self.made(ports="10081")
        self.create(agent="office")
        self.create(10081, agent="office")
        self.later(10, 10)
        self.prove(key)
        said = "the key of agent office does not allow port 10080"
        self.assertEqual(("unreachable", "port_forbidden", said, 10), self.seen())
        self.assertEqual("listening", self.seen(10081)[0])
        self.later(10, 10)
        self.now(self.credentials.update("office", {"ports": "10080-10081"}))
        self.assertEqual("listening", self.seen()[0])
        self.now(self.credentials.update("office", {"ports": "10081"}))
        self.assertEqual(("unreachable", "port_forbidden", said, 20), self.seen())

    def test_the_target(self):
        key = self.made(targets=("10.0.0.0/8",))
        self.create(agent="office", target_host="192.0.2.7", target_port=22)
        self.create(10081, agent="office", target_host="10.0.0.7", target_port=22)
        self.prove(key)
        state, cause, said, since = self.seen()
        self.assertEqual(("unreachable", "target_forbidden", 0), (state, cause, since))
        self.assertIn("the key of agent office does not allow the target: ", said)
        self.assertEqual("listening", self.seen(10081)[0])


class TargetTests(ReachabilityCase):
    """A target that did not take its latest connections."""

    def setUp(self):
        super().setUp()
        self.create(agent="web")
        self.peer = self.agent("web")
        self.streams = 0

    def fails(self, status=0x02):
        self.streams += 1
        visitor = self.visit()
        self.peer.says(answer(self.streams, status))
        visitor.peer_resets()

    def test_a_closed_one_is_known_from_connections(self):
        self.later(10, 10)
        self.fails()
        self.assertEqual("listening", self.seen()[0])
        self.later(10, 10)
        self.fails()
        state, cause, said, since = self.seen()
        self.assertEqual(("unreachable", "target_unreached", 10), (state, cause, since))
        self.assertIn("the last 2 connections did not reach the target: ", said)
        self.assertIn("refused", said)
        self.assertEqual({"unreached": 2}, self.mappings.get(10080).failed)

    def test_what_the_agent_forbids_is_said_to_be_forbidden(self):
        self.fails(0x05)
        self.fails(0x05)
        state, cause, said, _ = self.seen()
        self.assertEqual(("unreachable", "target_forbidden"), (state, cause))
        self.assertIn("denied by the agent's policy", said)

    def test_a_connection_that_reaches_it_ends_that(self):
        self.fails()
        self.fails()
        self.visit()
        self.peer.reached(self.streams + 1)
        self.assertEqual(("listening", None, None, None), self.seen())

    def test_visitors_who_leave_say_nothing_of_it(self):
        for _ in range(3):
            self.visit().peer_resets()
        self.assertEqual("listening", self.seen()[0])

    def test_another_target_is_judged_by_its_own_connections(self):
        self.fails()
        self.fails()
        changes = MappingChanges(target_port=8080)
        self.successResultOf(self.ensure(self.mappings.update(10080, changes)))
        self.assertEqual("listening", self.seen()[0])

    def test_a_new_name_changes_nothing(self):
        self.fails()
        self.fails()
        changes = MappingChanges(name="new")
        self.successResultOf(self.ensure(self.mappings.update(10080, changes)))
        self.assertEqual("unreachable", self.seen()[0])

    def test_an_agent_that_comes_again_may_reach_it(self):
        self.fails()
        self.fails()
        self.later(1, 1)
        self.peer.transport.peer_resets()
        self.assertEqual("agent_absent", self.seen()[1])
        self.later(1, 1)
        self.agent("web")
        self.assertEqual("listening", self.seen()[0])


class HealthTests(ReachabilityCase):
    """The check `mappings`."""

    def test_mappings_that_serve(self):
        self.create(agent="web")
        self.agent("web")
        self.assertEqual((HealthStatus.HEALTHY, ""), self.facts())

    def facts(self):
        result = self.check()
        return result.status, result.message

    def test_one_that_cannot_is_named_and_harms_nothing(self):
        self.create(agent="web")
        self.assertEqual(
            (
                HealthStatus.HEALTHY,
                "1 mappings unreachable: port 10080 (agent absent)",
            ),
            self.facts(),
        )

    def test_one_that_is_expected_degrades(self):
        self.create(agent="web")
        self.create(10081, agent="db", expected=True)
        self.assertEqual(
            (
                HealthStatus.DEGRADED,
                "2 mappings unreachable, 1 of them expected to serve: port 10081 "
                "(agent absent), 10080 (agent absent)",
            ),
            self.facts(),
        )

    def test_few_of_many_are_named_expected_ones_first(self):
        for port in range(10080, 10080 + 2 * MOST_NAMED):
            self.create(port, agent="web")
        self.create(10070, agent="db", expected=True)
        status, said = self.facts()
        self.assertEqual(HealthStatus.DEGRADED, status)
        self.assertEqual(MOST_NAMED, said.count("(agent absent)"))
        self.assertIn("port 10070", said)
        self.assertTrue(said.endswith(" and 11 more"), said)
