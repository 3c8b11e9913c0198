"""A name server that says nothing to some questions, and everybody else."""

from __future__ import annotations

import signal
from typing import Final

from twisted.internet.defer import DeferredList, ensureDeferred

from tests.integration.names import NamesCase
from tests.integration.traffic import Echo, RawVisitor

CROWD: Final = 50  # visitors that wait for a name


class SilentNamesTests(NamesCase):
    """Real processes, whose resolver hangs for some names."""

    async def crowd(self, port: int, *, stay: bool) -> None:
        """Have visitors come to a port, most of whom leave at once or stay."""
        for number in range(CROWD):
            visitor = await self.connect(RawVisitor(b"?"), port)
            if number and not stay:
                visitor.transport.abortConnection()

    async def test_a_gateway_serves_the_other_mappings(self):
        silent = self.first_port + 10
        gateway = await self.gateway(
            protocols=[{"listen": f":{silent}", "target": "a.silent.test:80"}]
        )
        other = await self.map(
            self.serve(Echo()), target_host="b.test", use_tunnel=False
        )
        for stay in (False, True):
            await self.crowd(silent, stay=stay)
        await self.echoes(other)
        self.assertEqual((await self.api("GET", "/health")).status, 200)
        creating = [
            self.api(
                "POST",
                "/api/mapping/create",
                {
                    "port": self.first_port + 11 + number,
                    "target_host": f"{number}.silent.test",
                    "target_port": 80,
                    "use_tunnel": False,
                },
            )
            for number in range(4)
        ]
        waiting = [ensureDeferred(one) for one in creating]
        await self.order("/api/mapping/disable", {"port": other})
        self.assertFalse(any(one.called for one in waiting))
        gateway.signal(signal.SIGTERM)
        self.assertEqual(await gateway.ended(10), 0, gateway.tail())
        await DeferredList(waiting, consumeErrors=True)

    async def test_an_agent_comes_back_while_its_targets_names_hang(self):
        gateway = await self.gateway()
        agent = await self.agent(
            server=f"gateway.test:{self.link_port}",
            allow_targets=["127.0.0.0/8", "a.silent.test"],
        )
        other = await self.map(
            self.serve(Echo()), target_host="b.test", use_tunnel=True
        )
        silent = await self.map(80, target_host="a.silent.test", use_tunnel=True)
        await self.crowd(silent, stay=True)
        await gateway.kill()
        await self.gateway_up(self.launch_gateway(env=self.resolver))
        await self.agent_up(agent)
        await self.echoes(other)
        agent.signal(signal.SIGTERM)
        self.assertEqual(await agent.ended(10), 0, agent.tail())
