"""Keys of agents, with real processes."""

from __future__ import annotations

import json
import signal
import sqlite3
from typing import Any

from tests.integration.processes import reactor, until
from tests.integration.rig import RigCase, script
from tests.integration.traffic import Plan, RawVisitor, Target

SMALL = Plan(1, 1000, 1000)


class KeyCase(RigCase):
    """A gateway without a shared token; agents get keys of their own."""

    async def start_open_gateway(self, **changes: Any):
        """Start a gateway that asks for nothing yet."""
        return await self.start_gateway(tunnel={"auth_token_file": None}, **changes)

    async def command(self, *words: str, expect: int | None = 0) -> str:
        """Run a command of `gotunnel agent-key`."""
        done = await self.run_program(
            *(script("gotunnel"), "agent-key", *words),
            *("--url", f"http://127.0.0.1:{self.api_port}"),
            expect=expect,
        )
        return done.text()

    async def key_for(self, name: str, *options: str) -> str:
        """Make a key and put it into a file; return its name."""
        said = await self.command("create", name, *options)
        return self.keep(name, said.splitlines()[0])

    def keep(self, name: str, key: str) -> str:
        """Put a key into a file of its agent's; return its name."""
        self.assertTrue(key.startswith("gtk_"), key)
        file = self.folder / f"{name}.key"
        file.write_text(key)
        file.chmod(0o600)
        return str(file)


class KeyTests(KeyCase):
    """From the first key to the last."""

    async def test_from_a_first_key_to_its_end(self):
        gateway = await self.start_open_gateway()
        self.assertIn("NO CREDENTIAL", gateway.text())
        stranger = await self.start_agent("stranger", token_file=None)
        file = await self.key_for("office", "--ports", str(self.first_port))
        await stranger.says("agents need a key now")
        await stranger.says("the gateway refused the link: authentication failed")
        await stranger.kill()
        office = await self.start_agent("office", token_file=file)
        port = await self.map(self.serve(Target()), agent="office")
        await self.exchange(port, SMALL)
        # another key, while the first one is in use
        newer = (await self.command("rotate", "office")).splitlines()[0]
        said = await self.command("retire", "office", expect=1)
        self.assertIn("has never used its newest key", said)
        await self.command("retire", "office", "--force")
        await self.exchange(port, SMALL)
        await office.kill()
        await self.agent_gone()
        late = self.launch_agent(called="office")
        await late.says("the gateway refused the link: authentication failed")
        await gateway.says("Unauthorized: link from 127.0.0.1 refused")
        await late.kill()
        await self.start_agent("office", token_file=self.keep("office", newer))
        visitor = await self.connect(RawVisitor(), port)
        said = await self.command("revoke", "office")
        self.assertIn("has no key any more", said)
        await until(lambda: not visitor.connected, "its visitor is gone")
        await self.agent_gone()
        for secret in (file, newer):
            self.assertNotIn(secret.removeprefix(str(self.folder)), gateway.text())
        self.assertIn("no agent has a key", await self.command("list"))

    async def test_a_key_is_replaced_on_a_box_that_only_its_tunnel_reaches(self):
        gateway = await self.start_open_gateway()
        file = await self.key_for("office")
        office = await self.start_agent("office", token_file=file)
        port = await self.map(self.serve(Target()), agent="office")
        session = await self.connect(RawVisitor(), port)  # the operator's
        newer = (await self.command("rotate", "office")).splitlines()[0]
        self.assertIn("(unused)", await self.command("list"))
        self.keep("office", newer)
        office.signal(signal.SIGHUP)
        await office.says("the gateway takes the new token")
        self.assertNotIn("(unused)", await self.command("list"))
        await self.command("retire", "office")
        self.assertTrue(session.connected)
        self.assertEqual(office.text().count("agent link up"), 1)
        session.transport.abortConnection()
        # after this, only the newer key can be what lets it in
        gateway.signal()
        await gateway.ended()
        await self.gateway_up(self.launch_gateway())
        await self.agent_up(office)
        await self.exchange(port, SMALL)

    async def test_a_wrong_file_keeps_no_agent_out(self):
        gateway = await self.start_open_gateway()
        file = await self.key_for("office")
        office = await self.start_agent("office", token_file=file)
        self.keep("office", "gtk_00000000_" + "A" * 43)
        office.signal(signal.SIGHUP)
        await office.says("the gateway refused the new token")
        gateway.signal()
        await gateway.ended()
        await self.gateway_up(self.launch_gateway())
        await self.agent_up(office)

    async def test_keys_survive_a_restart_and_are_not_in_the_store(self):
        gateway = await self.start_open_gateway()
        file = await self.key_for("office")
        gateway.signal()
        await gateway.ended()
        gateway = self.launch_gateway()
        await self.gateway_up(gateway)
        self.assertNotIn("NO CREDENTIAL", gateway.text())
        await self.start_agent("office", token_file=file)
        with sqlite3.connect(self.folder / "mappings.db") as store:
            [[content]] = store.execute("SELECT content FROM agent_keys")
        store.close()
        secret = (self.folder / "office.key").read_text()
        self.assertNotIn(secret.rpartition("_")[2], content)

    async def test_another_name_is_refused(self):
        gateway = await self.start_open_gateway()
        file = await self.key_for("office")
        thief = self.agent_config("boss", token_file=file)
        agent = self.launch_agent(called="boss")
        await agent.says("the gateway refused the link: authentication failed")
        await gateway.says("agent boss: wrong key")
        self.assertTrue(thief.exists())

    async def test_an_agent_without_a_name_takes_that_of_its_key(self):
        await self.start_open_gateway()
        file = await self.key_for("office")
        target = self.serve(Target())
        agent = self.start(
            *(script("gotunnel"), "agent", "--token-file", file),
            *("--server", f"127.0.0.1:{self.link_port}"),
            *("--expose", f"{self.first_port + 3}:{target}"),
        )
        await agent.says(f"public address: tcp://127.0.0.1:{self.first_port + 3}")
        [row] = await self.mappings()
        self.assertEqual("office", row["agent"])
        await self.exchange(self.first_port + 3, SMALL)

    async def test_a_key_of_the_configuration(self):
        made = await self.run_program(
            *(script("gotunnel"), "agent-key", "create", "office", "--offline"),
            *("--ports", f"{self.first_port}", "--json"),
        )
        found = json.loads(made.text())
        await self.start_gateway(
            tunnel={"auth_token_file": None, "agents": [found["entry"]]}
        )
        await self.start_agent(
            "office", token_file=self.keep("office", found["secret"])
        )
        said = await self.command("revoke", "office", expect=1)
        self.assertIn("stands in the configuration", said)


class ScopeTests(KeyCase):
    """An agent gets what its key allows, and nothing else."""

    async def test_ports_and_targets(self):
        await self.start_open_gateway()
        target = self.serve(Target())
        allowed = (self.first_port, self.first_port + 1)
        file = await self.key_for(
            "office",
            *("--ports", f"{allowed[0]}-{allowed[1]}"),
            *("--targets", f"127.0.0.1:{target}"),
        )
        agent = await self.start_agent(
            "office",
            token_file=file,
            expose=[
                {"name": "free", "local": target},
                {"name": "beyond", "local": target, "port": self.first_port + 5},
                {"name": "elsewhere", "local": target + 1},
            ],
        )
        await agent.says("denied", times=2)
        [granted] = [row for row in await self.mappings() if row["source"] == "agent"]
        self.assertIn(granted["port"], allowed)
        await self.exchange(granted["port"], SMALL)
        # what an operator maps there in spite of the scope leads nowhere
        beyond = await self.map(target, port=self.first_port + 6, agent="office")
        other = next(port for port in allowed if port != granted["port"])
        elsewhere = await self.map(22, port=other, agent="office")
        for port in (beyond, elsewhere):
            visitor = await self.connect(RawVisitor(), port)
            await self.is_gone(visitor)

    async def is_gone(self, visitor: RawVisitor) -> None:
        """Wait until a visitor is turned away."""
        await until(lambda: not visitor.connected, "the visitor is turned away")

    async def test_streams_and_links(self):
        await self.start_open_gateway()
        file = await self.key_for("office", "--max-streams", "2", "--max-links", "1")
        agent = await self.start_agent("office", token_file=file, connections=2)
        await agent.says("agent link up: link 0")
        port = await self.map(self.serve(Target()), agent="office")
        visitors = [await self.connect(RawVisitor(), port) for _ in range(3)]
        await until(
            lambda: [one.connected for one in visitors].count(False) == 1,
            "one of three is turned away",
        )
        # the gateway has told the agent how many links it may have
        [row] = (await self.api("GET", "/api/agents")).body["data"]["agents"]
        self.assertEqual((row["name"], row["links"]), ("office", 1))

    async def test_what_it_may_do_changes_while_it_is_here(self):
        gateway = await self.start_open_gateway()
        file = await self.key_for("office")
        agent = await self.start_agent("office", token_file=file)
        target = self.serve(Target())
        port = await self.map(target, agent="office")
        other = await self.map(target, agent="office")
        await self.exchange(port, SMALL)
        said = await self.command(
            *("update", "office", "--ports", f"{port}", "--expires", "90d")
        )
        self.assertIn(f"{port}", said)
        await self.exchange(port, SMALL)
        await self.is_gone(await self.connect(RawVisitor(), other))
        said = await self.command("update", "office", expect=2)
        self.assertIn("nothing to change was named", said)
        await self.command("update", "office", "--expires", "1s", "--ports", "")
        await agent.says("the key has expired")
        await self.agent_gone()
        await gateway.says("office")
        self.assertIn("expired", await self.command("list"))

    async def test_the_rate_of_all_its_visitors(self):
        await self.start_open_gateway()
        file = await self.key_for("office", "--rate", "400000")
        await self.start_agent("office", token_file=file)
        port = await self.map(self.serve(Target()), agent="office")
        started = reactor.seconds()
        await self.exchange(port, Plan(2, 1000, 600_000))
        self.assertGreater(reactor.seconds() - started, 1.3)
