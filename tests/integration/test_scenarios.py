"""The documented scenarios and usage examples, over real processes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from tests.integration.ports import take_ports
from tests.integration.processes import reactor, require, until
from tests.integration.rig import RigCase
from tests.integration.traffic import Echo, Plan, RawVisitor, Target


class ScenarioTests(RigCase):
    """What the first system was tried with, by the same names."""

    async def test_basic(self):
        await self.start_both()
        port = await self.map(self.serve(Target()))
        await self.exchange(port, Plan(1, 10_000, 100_000))

    async def test_multiple_forwards(self):
        """Three mappings at once, each with its own target."""
        await self.start_both()
        targets = [Target(), Target(), Target()]
        ports = [await self.map(self.serve(target)) for target in targets]
        plans = [Plan(seed, 300_000, 300_000) for seed in range(3)]
        await gatherResults(
            ensureDeferred(self.exchange(port, plan))
            for port, plan in zip(ports, plans, strict=True)
        )
        head = 24
        self.assertEqual([t.received for t in targets], [300_000 + head] * 3)

    async def test_add_remove_readd(self):
        await self.start_both()
        target_port = self.serve(Target())
        port = await self.map(target_port)
        await self.exchange(port, Plan(1, 1000, 1000))
        await self.unmap(port)
        self.assertTrue(await self.refused(port))
        await self.map(target_port, port=port)
        await self.exchange(port, Plan(2, 1000, 1000))

    async def test_ten_concurrent_requests(self):
        await self.start_both()
        port = await self.map(self.serve(Target()))
        await gatherResults(
            ensureDeferred(self.exchange(port, Plan(seed, 50_000, 50_000)))
            for seed in range(10)
        )

    async def test_list(self):
        await self.start_both()
        answer = await self.api("GET", "/api/mapping/list")
        self.assertEqual(answer.body["data"]["mappings"], [])
        self.assertEqual(answer.body["data"]["count"], 0)
        ports = [await self.map(target_port) for target_port in (22, 80, 3306)]
        answer = await self.api("GET", "/api/mapping/list")
        self.assertEqual(answer.body["data"]["count"], 3)
        rows = answer.body["data"]["mappings"]
        self.assertEqual([row["source_port"] for row in rows], ports)
        self.assertEqual([row["target_port"] for row in rows], [22, 80, 3306])
        for row in rows:
            datetime.strptime(row["created_at"], "%Y-%m-%d %H:%M:%S")

    async def test_health(self):
        await self.start_gateway()
        health = await self.health()
        self.assertEqual(
            (health["tunnel_enabled"], health["tunnel_connected"]), (True, False)
        )
        self.assertIn(health["status"], ("ok", "degraded"))
        agent = await self.start_agent()

        async def well() -> bool:
            health = await self.health()
            return bool(health["status"] == "ok" and health["tunnel_connected"])

        await until(well, "all is well")
        agent.signal()
        await self.agent_gone()
        self.assertIn((await self.health())["status"], ("ok", "degraded"))


class UsageExampleTests(RigCase):
    """The three examples: a public port leads to itself less the offset.

    The services listen where the offset takes their ports, for their own ones
    need not be free here.
    """

    def setUp(self):
        super().setUp()
        low, high = sorted((take_ports(3), take_ports(3)))
        self.target_port, self.public_port = low, high
        self.gateway_config(
            port_range={"from": high, "end": high + 2},
            tunnel={"port_offset": high - low},
        )
        self.agent_config()

    async def create_then_start_agent(self, number: int) -> int:
        """Create the mapping first and start the agent after it."""
        await self.gateway_up(self.launch_gateway())
        port = self.public_port + number
        created = await self.order("/api/mapping/create", {"port": port})
        self.assertEqual(created["target_port"], self.target_port + number)
        self.assertEqual(
            (created["use_tunnel"], created["tunnel_connected"]), (True, False)
        )
        await self.agent_up(self.launch_agent())
        return port

    async def test_ssh(self):
        """The server speaks first, and then both do."""
        banner = b"SSH-2.0-OpenSSH_9.2p1\r\n"
        self.serve(Echo(banner), self.target_port)
        port = await self.create_then_start_agent(0)
        visitor = await self.connect(RawVisitor(), port)
        self.assertEqual(await visitor.hears(len(banner)), banner)
        visitor.transport.write(b"SSH-2.0-visitor\r\n")
        self.assertEqual(await visitor.hears(17), b"SSH-2.0-visitor\r\n")

    async def test_web(self):
        """A browser reaches the site on the agent's machine."""
        root = Resource()
        root.putChild(b"page", Data(b"<h1>inside</h1>\n", "text/html"))
        site: Any = Site(root)
        site.noisy = False
        listening = reactor.listenTCP(self.target_port + 1, site)
        self.addCleanup(listening.stopListening)
        port = await self.create_then_start_agent(1)
        url = f"http://127.0.0.1:{port}/page"
        curl = await self.run_program(require("curl")["curl"], "-sS", url)
        self.assertEqual(curl.text(), "<h1>inside</h1>\n")

    async def test_mysql(self):
        """The greeting of the database arrives unasked and unchanged."""
        greeting = b"J\0\0\0\x0a8.0.36\0" + bytes(range(66))
        target = Echo(greeting)
        self.serve(target, self.target_port + 2)
        port = await self.create_then_start_agent(2)
        visitor = await self.connect(RawVisitor(), port)
        self.assertEqual(await visitor.hears(len(greeting)), greeting)
        visitor.transport.loseConnection()
        await until(lambda: target.ends, "the database sees the visitor leave")
