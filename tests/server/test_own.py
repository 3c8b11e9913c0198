"""Mappings that would lead back to the gateway."""

from gateway.errors import TargetDeniedError, UnresolvableError
from gateway.policy.access import OwnPorts
from gateway.policy.hops import MOST_HOPS
from gateway.policy.mapping import MappingWish
from gateway.policy.visitors import VisitorRules
from gateway.server.own import OwnPlaces
from gateway.server.upstreams import LOOK_UP_SECONDS
from gateway.wire import frames
from gateway.wire.messages import decode_open
from tests.server.rig import API_PORT, LINK_PORT, GatewayCase


class OwnPlaceTests(GatewayCase):
    """Its own ports, its public ports, and what an agent beside it may reach."""

    def refuse_direct(self, host, target_port):
        """Check that a direct mapping on port 10080 is refused."""
        wish = MappingWish(
            port=10080, target_host=host, target_port=target_port, use_tunnel=False
        )
        making = self.ensure(self.mappings.create(wish))
        self.network.answer(host)
        self.failureResultOf(making, TargetDeniedError)

    def test_a_direct_mapping_may_not_lead_to_itself(self):
        for host in ("127.0.0.1", "192.0.2.1", "::1", "0.0.0.0"):
            self.refuse_direct(host, 10080)
        self.assertEqual([], self.mappings.views())

    def test_nor_to_another_public_port(self):
        self.create(10090)
        self.refuse_direct("127.0.0.1", 10090)

    def test_the_same_port_of_another_machine_is_another_place(self):
        self.create_direct(host="192.0.2.7", target_port=10080)

    def test_the_same_port_is_free_on_an_address_that_is_not_listened_on(self):
        self.create_direct(host="127.0.0.1", target_port=10080, listen="192.0.2.1")

    def test_a_port_that_became_public_later_is_not_dialled(self):
        self.create_direct(host="127.0.0.1", target_port=10090)
        self.create(10090)
        self.visit()
        self.assertEqual(1, len(self.lines("is a port of this program itself")))

    def test_an_agent_on_this_machine_is_not_asked_for_the_gateway_itself(self):
        agent = self.agent("beside", address="127.0.0.1")
        agent.heard()
        places = (("", LINK_PORT), ("localhost", API_PORT), ("127.0.0.1", 10083))
        for port, (host, target) in enumerate(places, 10081):
            self.create(port, use_tunnel=True, target_host=host, target_port=target)
            self.assertTrue(self.visit(port).aborted, msg=f"{host}:{target}")
        self.assertEqual([], agent.heard())

    def test_an_agent_elsewhere_has_ports_of_its_own(self):
        agent = self.agent("far")
        agent.heard()
        self.create(use_tunnel=True, target_port=API_PORT)
        self.assertFalse(self.visit().aborted)
        self.assertEqual(1, len(agent.heard()))

    def test_nor_at_a_name_of_this_machine(self):
        agent = self.agent("beside", address="192.0.2.1")
        agent.heard()
        self.create(use_tunnel=True, target_host="gw.test", target_port=10080)
        visitor = self.visit()
        self.network.answer("198.51.100.7", "192.0.2.1")  # any of them is enough
        self.assertTrue(visitor.aborted)
        self.assertEqual([], agent.heard())
        self.assertEqual(1, len(self.lines("is a port of this program itself")))

    def test_a_name_of_another_machine_is_asked_for(self):
        agent = self.agent("beside", address="127.0.0.1")
        self.create(use_tunnel=True, target_host="other.test", target_port=10080)
        self.visit()
        self.network.answer("198.51.100.7")
        (request,) = self.requests(agent)
        self.assertEqual("other.test", request.host)

    def test_only_what_might_be_the_gateway_is_looked_up(self):
        agent = self.agent("far")
        targets = (("web.test", 80), ("web.test", API_PORT), ("192.0.2.7", 10080))
        for port, (host, target) in enumerate(targets, 10080):
            self.create(port, use_tunnel=True, target_host=host, target_port=target)
            self.visit(port)
        self.assertEqual([], self.network.lookups)
        self.assertEqual(3, len(self.requests(agent)))

    def test_a_name_that_the_gateway_does_not_know_is_the_agents_to_judge(self):
        agent = self.agent("far")
        self.create(use_tunnel=True, target_host="lan.test", target_port=10080)
        for _ in range(2):
            self.visit()
        self.network.lookups[0][1].errback(UnresolvableError("nothing"))
        self.clock.advance(LOOK_UP_SECONDS)
        self.assertEqual(2, len(self.requests(agent)))

    def test_a_visitor_that_leaves_during_the_look_up_is_forgotten(self):
        agent = self.agent("far")
        agent.heard()
        self.create(use_tunnel=True, target_host="lan.test", target_port=10080)
        before = len(self.clock.getDelayedCalls())
        visitor = self.visit()
        visitor.peer_resets()
        self.assertEqual(["lan.test"], self.network.given_up)
        self.assertEqual((0, 0), (self.mappings.visitors, self.slots.active))
        self.assertEqual([], self.requests(agent))
        self.assertEqual(before, len(self.clock.getDelayedCalls()))

    def test_an_agent_that_goes_during_the_look_up_is_not_asked(self):
        agent = self.agent("far")
        self.create(use_tunnel=True, target_host="lan.test", target_port=10080)
        visitor = self.visit()
        agent.transport.peer_resets()
        self.network.answer("198.51.100.7")
        self.assertTrue(visitor.aborted)
        self.assertEqual(1, len(self.lines("no agent is connected")))

    def test_a_public_address_is_the_gateways_for_agents_everywhere(self):
        own = OwnPlaces(OwnPorts([("", 80)]), {"8.8.8.8", "10.0.0.1"}.__contains__)
        for address, refused in (("8.8.8.8", True), ("10.0.0.1", False)):
            for found in (
                own.refusal_through("198.51.100.1", address, 80),
                own.refusal_through("198.51.100.1", "gw.test", 80, [address]),
            ):
                self.assertEqual(refused, found is not None, address)

    def test_an_agent_is_told_that_the_gateway_has_the_port_too(self):
        agent = self.agent("far")
        for port, target in enumerate((10081, LINK_PORT, API_PORT, 80), 10080):
            self.create(port, use_tunnel=True, target_port=target)
            self.visit(port)
        told = [
            (request.port, request.meta.get("gateway_port"))
            for request in self.requests(agent)
        ]
        # the API listens on loopback only, and 10081 was opened after the first visit
        self.assertEqual(
            [(10081, None), (LINK_PORT, True), (API_PORT, None), (80, None)], told
        )
        self.visit(10080)
        (request,) = self.requests(agent)
        self.assertTrue(request.meta["gateway_port"])

    def requests(self, agent):
        """Return what an agent was asked for since the last call."""
        heard = agent.heard()
        return [decode_open(payload) for kind, payload in heard if kind == frames.OPEN]


class CircleTests(GatewayCase):
    """Connections that come back by a way that the gateway does not see."""

    def come_back(self, port):
        """Visit a port again and again from where the latest dial began."""
        visitor = self.visit(port)
        for _ in range(20):
            if visitor.aborted:
                return
            visitor = self.visit(port, self.network.attempts[-1].local)
        self.fail("it goes on for ever")

    def test_a_direct_mapping_that_leads_to_itself_ends_soon(self):
        self.create_direct(host="198.51.100.7", target_port=8080)
        self.come_back(10080)
        self.assertEqual(MOST_HOPS + 1, len(self.network.attempts))
        self.assertEqual(1, len(self.lines("it has passed here more than 4 times")))

    def test_so_does_one_by_name(self):
        wish = MappingWish(port=10080, target_host="gw.test", target_port=80)
        self.ensure(self.mappings.create(wish))
        self.network.answer("198.51.100.7")
        visitor = self.visit()
        for _ in range(MOST_HOPS):
            self.network.answer("198.51.100.7")
            visitor = self.visit(10080, self.network.attempts[-1].local)
        self.network.answer("198.51.100.7")
        self.assertFalse(visitor.aborted)
        visitor = self.visit(10080, self.network.attempts[-1].local)
        self.assertTrue(visitor.aborted)

    def test_a_circle_of_two_mappings_ends_too(self):
        self.create_direct(10080, host="198.51.100.7", target_port=8080)
        self.create_direct(10081, host="198.51.100.7", target_port=8081)
        source = "203.0.113.9", 5000
        visitors = []
        for turn in range(MOST_HOPS + 2):
            visitors.append(self.visit(10080 + turn % 2, source))
            source = self.network.attempts[-1].local
        self.assertEqual(
            [False] * (MOST_HOPS + 1) + [True], [one.aborted for one in visitors]
        )

    def test_a_header_does_not_hide_a_connection_that_comes_back(self):
        agent = self.agent()
        rules = VisitorRules(trusted_proxies=("192.0.2.1",))
        self.create_direct(10080, host="198.51.100.7", rules=rules)
        self.create(10081, use_tunnel=True, rules=rules)
        for port in (10080, 10081):
            self.network.at(port).factory.doStart()
        agent.heard()
        header = b"PROXY TCP4 203.0.113.9 192.0.2.1 5000 80\r\n"
        visitor = self.visit(10080)
        for _ in range(MOST_HOPS):
            visitor = self.visit(10080, self.network.attempts[-1].local)
            visitor.peer_sends(header)
            self.assertFalse(visitor.aborted)
        local = self.network.attempts[-1].local
        last = self.visit(10080, local)
        last.peer_sends(header)
        self.assertTrue(last.aborted)
        host, port = local
        self.hops.note(host, port, "198.51.100.7", -1, 0)
        self.visit(10081, local).peer_sends(header)
        ((_, payload),) = agent.heard()
        meta = decode_open(payload).meta
        self.assertEqual(
            ("203.0.113.9:5000", "{}:{}".format(*local), 1),
            (meta["visitor"], meta["peer"], meta["hops"]),
        )

    def test_what_came_with_a_header_waits_for_the_look_up(self):
        agent = self.agent("far")
        agent.heard()
        rules = VisitorRules(trusted_proxies=("192.0.2.1",))
        self.create(
            use_tunnel=True, target_host="lan.test", target_port=10080, rules=rules
        )
        self.network.at(10080).factory.doStart()
        visitor = self.visit(source=("192.0.2.1", 4000))
        visitor.peer_sends(b"PROXY TCP4 203.0.113.9 192.0.2.1 5000 80\r\nearly")
        self.network.answer("198.51.100.7")
        self.assertEqual([frames.OPEN, frames.DATA], agent.kinds())

    def test_an_agent_is_told_how_often_the_gateway_was_passed(self):
        agent = self.agent()
        self.create_direct(10080, host="198.51.100.7", target_port=8080)
        self.create(10081, use_tunnel=True)
        agent.heard()
        self.visit(10080)
        self.visit(10081, self.network.attempts[-1].local)
        self.visit(10081)
        hops = [decode_open(body).meta.get("hops") for _, body in agent.heard()]
        self.assertEqual([1, None], hops)

    def test_a_tunnel_is_refused_to_what_has_passed_too_often(self):
        agent = self.agent()
        self.create(10080, use_tunnel=True)
        agent.heard()
        self.hops.note("192.0.2.1", 50000, "198.51.100.7", -1, MOST_HOPS)
        self.assertTrue(self.visit(10080, ("192.0.2.1", 50000)).aborted)
        self.assertEqual([], agent.heard())
        self.assertEqual(1, len(self.lines("leads back to the mapping")))
