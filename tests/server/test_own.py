"""Mappings that would lead back to the gateway."""

from gateway.errors import TargetDeniedError
from gateway.policy.mapping import MappingWish
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
