"""Certificates and mappings change under load, and no byte is lost."""

from __future__ import annotations

import signal
from typing import Final

from twisted.internet.defer import ensureDeferred, gatherResults

from tests.integration.processes import pause, reactor
from tests.integration.test_tls import HOST, SealedCase
from tests.integration.traffic import Plan, RawVisitor, Target, VisitorProtocol

MIB: Final = 1 << 20
STREAMS: Final = 8
TURNS: Final = 5


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
