"""Several agents, several links of one agent, and ports that agents ask for."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import ensureDeferred, gatherResults

from tests.integration.ports import take_ports
from tests.integration.processes import until
from tests.integration.rig import PUBLIC_PORTS, RigCase
from tests.integration.traffic import (
    Echo,
    Plan,
    RawVisitor,
    Target,
    VisitorProtocol,
)


class LocalhostTests(RigCase):
    """Targets of the agent's own machine, by a port alone."""

    async def test_a_target_that_listens_on_ipv6_only(self):
        local = self.serve(Target(), address="::1")
        await self.start_gateway()
        self.agent_config(expose=[local])
        agent = self.launch_agent()
        await self.agent_up(agent)
        await agent.says("public address: ")
        [row] = await self.mappings()
        await self.exchange(row["port"], Plan(1, 1000, 1000))


class AgentsTests(RigCase):
    """One gateway and the agents that come to it."""

    async def agents(self) -> list[dict[str, Any]]:
        """Return the rows of the agents that are connected."""
        answer = await self.api("GET", "/api/agents")
        rows: list[dict[str, Any]] = answer.body["data"]["agents"]
        return rows

    async def names_are(self, *names: str) -> None:
        """Wait until exactly these agents are connected."""

        async def named() -> bool:
            return [row["name"] for row in await self.agents()] == list(names)

        await until(named, f"the agents are {names}")

    async def test_mappings_choose_their_agent(self):
        """Each mapping leads to the agent that it names, and to no other."""
        await self.start_gateway()
        await self.start_agent("inner")
        await self.start_agent("outer", allow_targets=["127.0.0.1:1"])
        await self.names_are("inner", "outer")
        target_port = self.serve(Target())
        inner = await self.map(target_port, agent="inner")
        outer = await self.map(target_port, agent="outer")
        await self.exchange(inner, Plan(1, 1000, 1000))
        visitor = await self.connect(RawVisitor(b"hello"), outer)
        await visitor.ends()
        self.assertEqual(visitor.heard, b"")

    async def test_second_agent_takes_the_name_over(self):
        """The newcomer serves; the old one says so and does not fight for it."""
        await self.start_gateway()
        old = await self.start_agent()
        [before] = await self.agents()
        port = await self.map(self.serve(Echo()))
        visitor = await self.connect(RawVisitor(b"a"), port)
        await visitor.hears(1)
        new = self.launch_agent()

        async def taken_over() -> bool:
            rows = await self.agents()
            return [r["instance"] for r in rows] not in ([], [before["instance"]])

        await until(taken_over, "the newcomer has the name")
        await visitor.ends()
        await old.says("another agent uses this name")
        visitor = await self.connect(RawVisitor(b"b"), port)
        self.assertEqual(await visitor.hears(1), b"b")
        self.assertEqual((old.exit_code, new.exit_code), (None, None))

    async def test_links_of_one_agent_share_the_load(self):
        """Streams spread over all links and work on each."""
        await self.start_gateway()
        await self.start_agent(connections=4)

        async def all_links() -> bool:
            return [row["links"] for row in await self.agents()] == [4]

        await until(all_links, "all links are up")
        target = Echo()
        port = await self.map(self.serve(target))
        visitors = [await self.connect(RawVisitor(b"a"), port) for _ in range(40)]
        for visitor in visitors:
            self.assertEqual(await visitor.hears(1), b"a")
        [row] = await self.agents()
        self.assertEqual((row["links"], row["streams"]), (4, 40))
        bulk = await self.map(self.serve(Target()))
        await gatherResults(
            ensureDeferred(self.exchange(bulk, Plan(seed, 500_000, 500_000)))
            for seed in range(12)
        )

    async def test_agent_asks_for_a_port_and_keeps_it(self):
        """The port lives with the agent's name, also when either end is restarted."""
        gateway = await self.start_gateway()
        local = self.serve(Target())
        wanted = self.first_port + 3
        agent = await self.start_agent(
            expose=[{"name": "web", "local": f"127.0.0.1:{local}", "port": wanted}]
        )
        await self.exposed(wanted)
        await self.exchange(wanted, Plan(1, 1000, 1000))
        await agent.kill()
        agent = self.launch_agent()
        await self.agent_up(agent)
        await self.exposed(wanted)
        await self.exchange(wanted, Plan(2, 1000, 1000))
        await gateway.kill()
        await self.gateway_up(self.launch_gateway())
        await self.agent_up(agent)
        await self.exposed(wanted)
        await self.exchange(wanted, Plan(3, 1000, 1000))

    async def exposed(self, port: int) -> None:
        """Wait until the mapping that the agent asked for is served."""

        async def served() -> bool:
            rows = await self.mappings()
            return [(row["port"], row["source"], row["state"]) for row in rows] == [
                (port, "agent", "listening")
            ] and not await self.refused(port)

        await until(served, "the port that the agent asked for is served")

    async def test_agent_is_given_a_free_port(self):
        """Where it asks for none in particular, it hears which one it got."""
        await self.start_gateway()
        agent = await self.start_agent(expose=[self.serve(Target())])
        await until(self.mappings, "a mapping is there")
        [row] = await self.mappings()
        ports = range(self.first_port, self.first_port + PUBLIC_PORTS)
        self.assertIn(row["port"], ports)
        await agent.says(str(row["port"]))
        await self.exchange(row["port"], Plan(1, 1000, 1000))

    async def test_a_dead_gateway_costs_no_wait(self):
        """All links lead to the one that is alive."""
        await self.start_gateway()
        dead = f"127.0.0.1:{take_ports()}"
        alive = f"127.0.0.1:{self.link_port}"
        agent = await self.start_agent(
            server=[dead, alive],
            connections=3,
            reconnect={"initial": 600, "max": 600, "jitter": 0},
        )

        async def linked() -> bool:
            return [row["links"] for row in await self.agents()] == [3]

        await until(linked, "all links are up")
        self.assertEqual(1, agent.text().count("the next gateway is tried"))

    async def test_a_given_port_stays_over_a_kill_of_either_end(self):
        """Another agent, and the gateway's choice, pass it over meanwhile."""
        gateway = await self.start_gateway()
        agent = await self.start_agent("one", expose=[self.serve(Target())])
        await until(self.mappings, "a mapping is there")
        [row] = await self.mappings()
        port = row["port"]
        await gateway.kill()
        await agent.kill()
        config = self.gateway_config()
        text = config.read_text()
        # so few ports that another agent would get this one by chance
        first, last = (port, port + 1) if port == self.first_port else (port - 1, port)
        text = text.replace(f"from: {self.first_port}", f"from: {first}")
        config.write_text(
            text.replace(f"end: {self.first_port + PUBLIC_PORTS - 1}", f"end: {last}")
        )
        await self.gateway_up(self.launch_gateway())
        other = await self.start_agent("two", expose=[self.serve(Target())])
        await other.says(f"{first if first != port else last}")
        await self.agent_up(self.launch_agent(called="one"))

        async def served() -> bool:
            rows = await self.mappings()
            return [row["agent"] for row in rows if row["port"] == port] == ["one"]

        await until(served, "the first agent has its port again")
        await self.exchange(port, Plan(1, 1000, 1000))

    async def test_agent_dials_loopback_only(self):
        """What is not allowed is refused, the agent says so, others go on."""
        _gateway, agent = await self.start_both()
        other = await self.connect(RawVisitor(b"a"), await self.map(self.serve(Echo())))
        await other.hears(1)
        port = await self.map(80, target_host="192.0.2.1", use_tunnel=True)
        visitor = await self.connect(RawVisitor(b"hello"), port)
        await visitor.ends(5)
        await agent.says("192.0.2.1")
        other.transport.write(b"b")
        self.assertEqual(await other.hears(1), b"b")


class AddressTests(RigCase):
    """Where mappings listen."""

    async def test_mapping_on_the_loopback_of_ipv6(self):
        """It is reached there and nowhere else, or refused where there is none."""
        await self.start_both()
        port = self.first_port
        wish = {"port": port, "listen": "::1", "target_port": self.serve(Target())}
        answer = await self.api("POST", "/api/mapping/create", wish)
        if answer.status != 200:
            self.assertIn("::1", answer.body["message"])
            return
        self.assertTrue(await self.refused(port))
        visitor = await self.connect(VisitorProtocol(Plan(1, 999, 999)), port, "::1")
        await visitor.done
