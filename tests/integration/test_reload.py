"""Certificates and mappings change under load, and no byte is lost."""

from __future__ import annotations

import signal
from typing import Final

from twisted.internet.defer import ensureDeferred, gatherResults

from tests.integration.processes import pause, reactor
from tests.integration.rig import RigCase
from tests.integration.test_tls import HOST, SealedCase
from tests.integration.traffic import Plan, RawVisitor, Target, VisitorProtocol

MIB: Final = 1 << 20
STREAMS: Final = 8
TURNS: Final = 5


class ConfigurationTests(RigCase):
    """What SIGHUP makes of an edited file."""

    async def test_forwards_come_and_go_and_a_fault_changes_nothing(self):
        target = self.serve(Target())
        old, new = self.first_port, self.first_port + 1

        def forward(port: int) -> list[dict[str, str]]:
            return [{"listen": f"127.0.0.1:{port}", "target": f"127.0.0.1:{target}"}]

        gateway = await self.start_gateway(protocols=forward(old))
        await self.exchange(old, Plan(1, 1000, 1000))
        self.gateway_config(protocols=forward(new), limits={"connections": 55})
        gateway.signal(signal.SIGHUP)
        await gateway.says("reloaded: protocols is applied")
        await gateway.says("reloaded: limits.connections is applied")
        await self.exchange(new, Plan(1, 1000, 1000))
        self.assertTrue(await self.refused(old))
        self.gateway_config(protocols=forward(old), limits={"connections": "many"})
        gateway.signal(signal.SIGHUP)
        await gateway.says("not reloaded, nothing changes")
        await self.exchange(new, Plan(1, 1000, 1000))


class ReloadTests(SealedCase):
    """Streams over a link with TLS, while everything that can change does."""

    async def test_nothing_is_dropped(self):
        gateway = await self.start_sealed_gateway()
        agent = await self.start_agent(tls=self.trust())
        port = await self.map(self.serve(Target()))
        idle = await self.connect(RawVisitor(), port)
        long = [
            await self.connect(VisitorProtocol(Plan(seed, 4 * MIB, 24 * MIB)), port)
            for seed in range(STREAMS)
        ]
        for turn in range(TURNS):
            short = [
                ensureDeferred(self.exchange(port, Plan(turn, 100_000, 100_000)))
                for _ in range(STREAMS)
            ]
            self.authority.issue("gateway", HOST)
            if turn % 2:
                gateway.signal(signal.SIGHUP)
            else:
                await self.order("/api/reload", {})
            await self.order(
                "/api/mapping/update",
                {
                    "port": port,
                    "access_rule": "blacklist",
                    "access_ips": [f"192.0.2.{turn}"],
                    "max_connections": 1000 + turn,
                    "idle_timeout": 600 + turn,
                    "bandwidth_limit": 1 << (30 + turn),
                },
            )
            row = await self.order("/api/mapping/reload", {"port": port})
            self.assertEqual(row["max_connections"], 1000 + turn)
            await gateway.says("certificate of the link port read anew", times=turn + 1)
            await gatherResults(short)
            await pause(0)
        for visitor in long:
            await visitor.done.addTimeout(60, reactor)
        self.assertTrue(idle.connected)
        self.assertEqual(agent.text().count("agent link up"), 1)
        [row] = await self.mappings()
        self.assertEqual(row["rejected"], {})
