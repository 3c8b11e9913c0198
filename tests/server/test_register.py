"""Ports that agents ask for, and for how long they stay."""

import errno
import json

from gateway.errors import PortRangeError
from gateway.policy.credentials import AgentScope
from gateway.policy.reservations import MOST_PER_AGENT
from gateway.wire import frames
from gateway.wire.hello import Register
from tests.link.rig import OTHER_INSTANCE
from tests.server.rig import GatewayCase, PortsNetwork
from tests.strategies import json_frame


class RegisterCase(GatewayCase):
    """Wishes over a link."""

    def setUp(self):
        super().setUp()
        self.web = self.agent("web", features=["register"])
        self.web.heard()

    def ask(self, agent=None, **wish):
        """Send a wish and return the answer."""
        agent = agent or self.web
        wish.setdefault("id", "site")
        if not wish.get("remove"):
            wish.setdefault("local", 80)
        agent.says(json_frame(frames.REGISTER, **wish))
        heard = agent.heard()
        (answer,) = [body for kind, body in heard if kind == frames.REGISTER_ACK]
        return json.loads(answer)


class GrantTests(RegisterCase):
    """What is granted."""

    def test_a_port_is_opened_at_once(self):
        answer = self.ask()
        self.assertEqual(
            {"id": "site", "public_url": "tcp://:10000", "port": 10000}, answer
        )
        view = self.mappings.get(10000)
        self.assertEqual(("agent", "listening"), (view.source, view.state))
        self.assertEqual(
            ("web", "site", 80),
            (view.mapping.agent, view.mapping.name, view.mapping.target_port),
        )
        self.visit(10000)
        self.assertEqual([frames.OPEN], self.web.kinds())

    def test_nothing_is_stored(self):
        self.ask()
        stored = self.successResultOf(self.ensure(self.store.load()))
        self.assertEqual([], stored.mappings)

    def test_a_port_can_be_named(self):
        self.assertEqual(10050, self.ask(port=10050)["port"])

    def test_two_wishes_get_two_ports(self):
        self.assertNotEqual(self.ask()["port"], self.ask(id="db")["port"])

    def test_the_same_wish_again_changes_nothing(self):
        first = self.ask()
        self.visit(10000)
        self.assertEqual(first, self.ask())
        self.assertEqual(first, self.ask(port=10000))
        self.assertEqual(1, len(self.network.opened))
        self.assertEqual(1, self.mappings.visitors)

    def test_another_target_gets_the_same_port(self):
        self.ask(id="other")
        first = self.ask()
        self.assertEqual(10001, first["port"])
        self.ask(id="other", remove=True)
        second = self.ask(local=81)
        self.assertEqual(10001, second["port"])
        self.assertEqual(81, self.mappings.get(10001).mapping.target_port)
        self.assertEqual([10001], self.network.open_ports())

    def test_another_host_or_port_is_another_target(self):
        self.ask(host="db.test")
        self.assertEqual("db.test", self.mappings.get(10000).mapping.target_host)
        self.assertEqual(10050, self.ask(port=10050, host="db.test")["port"])
        self.assertEqual([10050], self.network.open_ports())

    def test_a_port_can_be_given_back(self):
        self.ask()
        answer = self.ask(remove=True)
        self.assertEqual({"id": "site", "public_url": "", "port": 0}, answer)
        self.assertEqual([], self.network.open_ports())
        self.assertNotIn("error", self.ask(remove=True))

    def test_ids_of_different_agents_do_not_meet(self):
        other = self.agent("db", OTHER_INSTANCE)
        other.heard()
        self.assertEqual(10000, self.ask()["port"])
        self.assertEqual(10001, self.ask(other)["port"])
        self.ask(other, remove=True)
        self.assertEqual([10000], self.network.open_ports())


class RefusalTests(RegisterCase):
    """The documented words."""

    def error(self, **wish):
        answer = self.ask(**wish)
        self.assertEqual(0, answer["port"])
        return answer["error"]

    def test_other_protocols(self):
        self.assertEqual("invalid protocol: udp", self.error(protocol="udp"))

    def test_a_bad_host(self):
        self.assertIn("host name", self.error(host="no good"))

    def test_a_taken_port(self):
        self.create(10001)
        self.assertTrue(self.error(port=10001).startswith("no available port: "))
        self.assertEqual("stored", self.mappings.get(10001).source)

    def test_a_port_outside_of_the_range(self):
        wanted = str(PortRangeError(port=80, first=10000, last=10099))
        self.assertEqual(wanted, self.error(port=80))

    def test_nothing_is_free(self):
        self.build(last_port=10000, blacklist=frozenset({10000}))
        self.web = self.agent("web")
        self.web.heard()
        self.assertTrue(self.error().startswith("no available port: "))

    def test_too_many_mappings(self):
        self.build(max_mappings=1)
        self.web = self.agent("web")
        self.web.heard()
        self.ask()
        self.assertTrue(self.error(id="db").startswith("max tunnels reached: "))

    def test_too_many_of_one_agent(self):
        self.build(last_port=10500, max_mappings=1000)
        self.web = self.agent("web")
        self.web.heard()
        for number in range(MOST_PER_AGENT):
            self.ask(id=f"wish {number}")
        self.assertTrue(self.error().startswith("max tunnels reached: "))
        self.assertEqual(MOST_PER_AGENT, len(self.mappings.views()))
        self.ask(id="wish 7", local=81)  # its own one may be changed

    def test_a_refusal_is_logged(self):
        self.error(protocol="udp")
        self.assertEqual(1, len(self.lines("no public port for site")))

    def test_a_gateway_that_stops(self):
        self.mappings.stop_listening()
        self.assertIn("stops", self.error())


class LifeTests(RegisterCase):
    """A port lives with its agent's name."""

    def again(self, **fields):
        self.web = self.agent("web", **fields)
        self.web.heard()

    def test_it_stays_for_30_seconds_after_the_last_link(self):
        self.ask()
        self.web.transport.peer_resets()
        self.later(29.75)
        self.assertEqual([10000], self.network.served_ports())
        self.later(0.5)
        self.assertEqual([], self.network.open_ports())
        self.assertFalse(self.clock.getDelayedCalls())

    def test_a_reconnect_finds_it(self):
        self.ask()
        self.web.transport.peer_resets()
        self.later(29)
        self.again()
        self.assertEqual(10000, self.ask()["port"])
        self.later(40)
        self.assertEqual([10000], self.network.served_ports())

    def test_a_reconnect_that_does_not_ask_loses_it(self):
        self.ask()
        self.ask(id="db")
        self.web.transport.peer_resets()
        self.later(20)
        self.again()
        self.ask(id="db")
        self.later(11)
        self.assertEqual([10001], self.network.served_ports())

    def test_another_link_keeps_it(self):
        self.ask()
        self.agent("web", link=1)
        self.web.transport.peer_resets()
        self.later(35)
        self.assertEqual([10000], self.network.served_ports())

    def test_another_process_of_the_name_takes_it_over(self):
        self.ask()
        self.ask(id="db")
        self.again(instance=OTHER_INSTANCE)
        self.assertEqual(10000, self.ask()["port"])
        self.later(31)
        self.assertEqual([10000], self.network.served_ports())

    def test_a_visitor_in_between_is_reset(self):
        self.ask()
        self.web.transport.peer_resets()
        self.assertTrue(self.visit(10000).aborted)

    def test_its_visitors_go_with_it(self):
        self.ask()
        visitor = self.visit(10000)
        self.web.reached()
        self.ask(remove=True)
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual(0, self.mappings.visitors)

    def test_the_stop_leaves_no_timer(self):
        self.ask()
        self.ask(id="db")
        self.web.transport.peer_resets()
        self.again()
        self.ask()
        self.mappings.stop_listening()
        for _ in range(2):
            self.registrations.stop()
        self.links.abort()
        self.web.transport.pump()
        self.assertFalse(self.clock.getDelayedCalls())

    def test_without_mappings_a_release_is_forgotten(self):
        self.ask()
        self.registrations.mappings = None
        self.web.transport.peer_resets()
        self.later(31)
        self.assertFalse(self.clock.getDelayedCalls())


class KeptTests(RegisterCase):
    """A port that was given without being asked for stays the agent's."""

    def setUp(self):
        super().setUp()
        self.ask(id="first")
        self.port = self.ask()["port"]
        self.ask(id="first", remove=True)

    def afresh(self, **changes):
        """Begin again with another gateway."""
        self.network = PortsNetwork()
        self.build(**changes)
        self.again()

    def away(self, seconds=31):
        """The agent goes, for long enough that its port is closed."""
        self.web.transport.peer_resets()
        self.later(seconds)

    def again(self):
        self.web = self.agent("web")
        self.web.heard()

    def test_after_an_hour_it_gets_its_port(self):
        self.away(3600)
        self.assertEqual([], self.network.open_ports())
        self.again()
        self.assertEqual(10001, self.port)
        self.assertEqual(10001, self.ask()["port"])

    def test_after_a_day_any(self):
        self.away(86400 + 31)
        self.again()
        self.assertEqual(10000, self.ask()["port"])

    def test_others_are_given_other_ports_meanwhile(self):
        self.away()
        db = self.agent("db", features=["register"])
        db.heard()
        ports = [self.ask(db, id=f"{number}")["port"] for number in range(2)]
        self.assertEqual([10000, 10002], ports)
        self.assertEqual(10003, self.create(0).mapping.port)

    def test_unless_no_other_is_left(self):
        self.afresh(last_port=10001)
        self.assertEqual(10000, self.ask()["port"])
        self.away()
        self.again()
        self.assertEqual([10001, 10000], [self.ask(id=i)["port"] for i in "ab"])
        self.assertIn("no available port", self.ask()["error"])

    def test_who_asks_for_it_by_number_gets_it(self):
        self.away()
        self.create(10001)
        self.again()
        self.assertEqual(10000, self.ask()["port"])
        # the new port is kept now, although the old one is free again
        self.now(self.mappings.remove(10001))
        self.away()
        self.again()
        self.assertEqual(10000, self.ask()["port"])

    def test_a_port_that_was_asked_for_is_not_kept(self):
        self.assertEqual(10050, self.ask(id="named", port=10050)["port"])
        self.away()
        self.assertFalse(self.kept.is_kept(10050))
        self.assertTrue(self.kept.is_kept(10001))

    def test_who_gives_it_back_does_not_keep_it(self):
        self.ask(remove=True)
        self.assertFalse(self.kept.is_kept(10001))
        self.assertEqual(10000, self.ask()["port"])

    def test_another_target_has_the_same_port_after_an_hour(self):
        self.away(3600)
        self.again()
        self.assertEqual(10001, self.ask(local=81)["port"])

    def test_a_port_that_the_key_forbids_is_not_given_again(self):
        self.away()
        scope = AgentScope(ports="10005-10006")
        wish = Register(id="site", local=80)
        asking = self.registrations.agent_registers("web", wish, scope)
        answer = self.successResultOf(asking)
        self.assertEqual(10005, answer.port)

    def test_a_bound_port_is_replaced_by_another(self):
        self.away()
        self.network.faults[10001] = OSError(errno.EADDRINUSE, "in use")
        self.again()
        self.assertEqual(10000, self.ask()["port"])

    def test_without_a_time_it_is_as_free_as_any(self):
        self.afresh(reservation=0)
        self.ask(id="first")
        self.assertEqual(10001, self.ask()["port"])
        self.ask(id="first", remove=True)
        self.away()
        self.again()
        self.assertEqual(10000, self.ask()["port"])
