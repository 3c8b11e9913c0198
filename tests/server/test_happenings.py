"""What mappings and visitors tell of themselves."""

import errno

from gateway.policy.mapping import MappingChanges
from gateway.policy.visitors import VisitorRules
from tests.server.rig import NOON, GatewayCase


class MappingTests(GatewayCase):
    """From the first to the last of a mapping."""

    def now(self, coroutine):
        return self.successResultOf(self.ensure(coroutine))

    def actions(self):
        return [action for _, action, _ in self.told("mapping")]

    def test_a_mapping_is_described(self):
        self.create(10080, name="ssh", agent="web")
        self.assertEqual(
            [
                (
                    "mapping",
                    "created",
                    {
                        "id": 1,
                        "version": 1,
                        "port": 10080,
                        "protocol": "tcp",
                        "mapping_name": "ssh",
                        "use_tunnel": True,
                        "agent": "web",
                        "source": "stored",
                        "state": "unreachable",
                        "error": "agent web was never seen here",
                    },
                )
            ],
            self.told(),
        )

    def test_changes_are_told_as_what_they_are(self):
        self.create_direct()
        self.now(self.mappings.update(10080, MappingChanges(name="new")))
        self.now(self.mappings.disable(10080))
        self.now(self.mappings.update(10080, MappingChanges(enabled=True)))
        self.now(self.mappings.remove(10080))
        self.assertEqual(
            ["created", "updated", "disabled", "enabled", "removed"], self.actions()
        )
        states = [fields["state"] for _, _, fields in self.told("mapping")]
        self.assertEqual(
            ["listening", "listening", "disabled", "listening", "listening"], states
        )

    def test_what_failed_is_not_told(self):
        self.store.fail()
        self.ensure(self.mappings.remove(10080)).addErrback(lambda _: None)
        self.assertEqual([], self.actions())

    def test_the_end_of_its_time(self):
        self.create(expires_in=60)
        self.later(61, 1)
        self.assertEqual(["created", "expired"], self.actions())

    def test_a_port_that_cannot_be_had_at_the_start(self):
        self.create()
        self.build()
        for one in self.network.opened:
            one.stopListening()
        self.network.faults[10080] = OSError(errno.EADDRINUSE, "in use")
        self.now(self.mappings.restore())
        ((_, action, fields),) = self.told("mapping")
        self.assertEqual(("error", "error"), (action, fields["state"]))
        self.assertIn("in use", fields["error"])


class VisitorTests(GatewayCase):
    """Who comes, and how it ends."""

    def endings(self):
        return [
            (action, fields["outcome"], fields["bytes_sent"], fields["seconds"])
            for _, action, fields in self.told("connection")
            if action != "opened"
        ]

    def test_a_visit_by_a_tunnel(self):
        self.create()
        agent = self.agent("web")
        visitor = self.visit()
        self.assertEqual([], self.told("connection"))
        agent.reached()
        visitor.peer_sends(b"hello")
        ((_, action, fields),) = self.told("connection")
        self.assertEqual(
            (
                "opened",
                {
                    "id": "t-1",
                    "port": 10080,
                    "visitor": "203.0.113.9:5000",
                    "agent": "web",
                },
            ),
            (action, fields),
        )
        self.clock.advance(2)
        self.now_closed(visitor)
        self.assertEqual([("closed", "killed", 5, 2.0)], self.endings())

    def now_closed(self, visitor):
        self.mappings.close_visits("a test")
        visitor.pump()

    def test_without_an_agent_it_is_refused(self):
        self.create()
        self.visit()
        self.assertEqual([("refused", "no_agent", 0, 0.0)], self.endings())

    def test_direct_visits(self):
        self.create_direct()
        visitor = self.visit()
        target = self.network.attempts[-1].succeed()
        ((_, action, fields),) = self.told("connection")
        self.assertEqual(("opened", None), (action, fields["agent"]))
        visitor.peer_sends(b"hello")
        self.now_closed(visitor)
        target.pump()
        visitor = self.visit()
        self.network.attempts[-1].fail(ConnectionRefusedError(111, "refused"))
        visitor.pump()
        self.assertEqual(
            [("closed", "killed", 5, 0.0), ("refused", "unreached", 0, 0.0)],
            self.endings(),
        )

    def test_the_many_that_are_turned_away_are_summed_up(self):
        rules = VisitorRules(max_connections=1)
        self.create(rules=rules)
        self.agent()
        for _ in range(5):
            self.visit()
        self.clock.advance(60)
        self.assertEqual(
            [(1, "max_connections of port 10080 is reached"), (3, None)],
            [
                (fields["count"], fields["reason"])
                for _, _, fields in self.told("refusal")
            ],
        )
        self.assertEqual(NOON + 60, self.happened.since(0, ["refusal"])[-1].at)
