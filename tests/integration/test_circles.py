"""Mappings whose target is, in the end, the mapping itself."""

from __future__ import annotations

from typing import Any, Final

from gateway.policy.hops import MOST_HOPS
from tests.integration.names import NamesCase
from tests.integration.processes import Program, until
from tests.integration.traffic import RawVisitor

HERE: Final = "gateway.test"  # this machine
MANY: Final = 20  # connections; a circle that nobody ends makes thousands


class CircleCase(NamesCase):
    """A gateway, an agent beside it, and one visitor."""

    def setUp(self) -> None:
        """Choose two public ports."""
        super().setUp()
        self.ports = self.first_port, self.first_port + 1

    async def start_all(self) -> None:
        """Start both programs."""
        self.gateway_program = await self.gateway()
        self.agent_program = await self.agent()

    async def circle(self, port: int, target: int, **wish: Any) -> None:
        """Map a port to a port of this machine, by name."""
        await self.map(port=port, target_host=HERE, target_port=target, **wish)

    async def visitor_is_reset(self) -> None:
        """Visit the first port, and wait for the end of all that comes of it."""
        visitor = await self.connect(RawVisitor(b"hello"), self.ports[0])
        await visitor.ends()

        async def empty() -> bool:
            return all(row["connections"] == 0 for row in await self.mappings())

        await until(empty, "all connections have ended")

    def ends(self, program: Program) -> int:
        """Return how many connections a program has logged the end of."""
        return program.text().count("connection closed")


class CircleTests(CircleCase):
    """As the programs are."""

    async def test_one_by_the_name_of_this_machine(self):
        await self.start_all()
        one, other = self.ports
        await self.circle(one, one, use_tunnel=True)
        await self.visitor_is_reset()
        await self.gateway_program.says("is a port of this program itself")
        self.assertEqual(self.ends(self.gateway_program), 1)
        self.assertEqual(self.ends(self.agent_program), 0)
        answer = await self.api(
            "POST",
            "/api/mapping/create",
            {
                "port": other,
                "target_host": HERE,
                "target_port": one,
                "use_tunnel": False,
            },
        )
        self.assertEqual(answer.status, 403, answer)


class UnseenCircleTests(CircleCase):
    """A gateway that does not know its own addresses, as behind a router."""

    more = """
from gateway.server.own import OwnPlaces

OwnPlaces.refusal = lambda self, address, port: None
"""

    async def assert_it_ends(self, program: Program) -> None:
        """Visit the first port: what comes of it is little, and is said."""
        await self.visitor_is_reset()
        await program.says(f"it has passed here more than {MOST_HOPS} times")
        self.assertLess(self.ends(self.gateway_program), MANY)

    async def test_through_an_agent(self):
        await self.start_all()
        one, other = self.ports
        await self.circle(one, other, use_tunnel=True)
        await self.circle(other, one, use_tunnel=True)
        await self.assert_it_ends(self.agent_program)

    async def test_straight(self):
        self.gateway_program = await self.gateway()
        one, other = self.ports
        await self.circle(one, other, use_tunnel=False)
        await self.circle(other, one, use_tunnel=False)
        await self.assert_it_ends(self.gateway_program)
