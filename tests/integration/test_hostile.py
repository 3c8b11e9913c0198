"""A hostile agent with a good key, on real sockets, beside an agent at work."""

from __future__ import annotations

import contextlib
from typing import Final

from twisted.internet.threads import deferToThread

from gateway.wire import frames
from tests.integration.handmade import HandmadeAgent
from tests.integration.processes import reactor
from tests.integration.test_keys import KeyCase
from tests.integration.traffic import Echo, Plan, RawVisitor, Target, VisitorProtocol
from tests.server.hostile import ENDS, Deed, deeds

MIB: Final = 1 << 20
MOST_FLOODS: Final = 500  # kernels hold some of them


def attempt(agent: HandmadeAgent, deed: Deed) -> None:
    """Do it, and wait for what comes of it.

    Raises:
        EOFError: the link ended, and should not have.
        TimeoutError: nothing came of it.
    """
    with contextlib.suppress(ConnectionError):  # it may be over before all is said
        agent.says(deed.said)
        for _ in range(MOST_FLOODS if deed.more else 0):
            agent.says(deed.more)
    if deed.outcome == ENDS:
        agent.ended()
    elif deed.heard is not None:
        agent.hears_kind(deed.heard)


class HostileTests(KeyCase):
    """Everything that `tests.server.hostile` knows."""

    async def agents(self) -> list[str]:
        """Return the names of those who are connected."""
        rows = (await self.api("GET", "/api/agents")).body["data"]["agents"]
        return [row["name"] for row in rows]

    async def test_every_deed(self):
        gateway = await self.start_open_gateway()
        made = await self.order("/api/agent-key/create", {"name": "good"})
        file = self.keep("good", made["secret"])
        good = await self.start_agent("good", token_file=file)
        echo_port = await self.map(self.serve(Echo()), agent="good")
        target_port = await self.map(self.serve(Target()), agent="good")
        idle = await self.connect(RawVisitor(b"first"), echo_port)
        self.assertEqual(await idle.hears(5), b"first")
        moving = await self.connect(
            VisitorProtocol(Plan(1, 8 * MIB, 128 * MIB)), target_port
        )
        own_port = await self.map(80, agent="mallory")
        key = await self.order(
            "/api/agent-key/create",
            {"name": "mallory", "ports": f"{own_port}", "targets": ["127.0.0.1:80"]},
        )
        for name, deed in deeds():
            agent = HandmadeAgent(self.link_port)
            await deferToThread(agent.join, "mallory", key["secret"])
            visitor = await self.connect(RawVisitor(), own_port)
            visitor.transport.pauseProducing()
            await deferToThread(agent.hears_kind, frames.OPEN)
            await deferToThread(attempt, agent, deed)
            if deed.outcome == ENDS:
                await gateway.says(deed.words)
                self.assertNotIn("mallory", await self.agents(), name)
            else:
                self.assertIn("mallory", await self.agents(), name)
            agent.close()
            idle.transport.write(b"still here")
            self.assertEqual(await idle.hears(10), b"still here", name)
        await moving.done.addTimeout(30, reactor)
        self.assertEqual(good.text().count("agent link up"), 1)
