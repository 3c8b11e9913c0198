"""A name server that says nothing to some questions, and everybody else."""

from __future__ import annotations

import os
import signal
from typing import Any, Final

from twisted.internet.defer import DeferredList, ensureDeferred

from tests.integration.processes import Program
from tests.integration.rig import RigCase
from tests.integration.traffic import Echo, RawVisitor

CROWD: Final = 50  # visitors that wait for a name
# what `*.silent.test` stands for is never said; other names of `test` are this machine
RESOLVER: Final = """
import socket, time

asked = socket.getaddrinfo

def getaddrinfo(host, *given, **options):
    if isinstance(host, str) and host.endswith(".test"):
        if host.endswith(".silent.test"):
            time.sleep(600)
        host = "127.0.0.1"
    return asked(host, *given, **options)

socket.getaddrinfo = getaddrinfo
"""


class SilentNamesTests(RigCase):
    """Real processes, whose resolver hangs for some names."""

    def setUp(self) -> None:
        """Write the resolver that the programs use."""
        super().setUp()
        folder = self.folder / "resolver"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(RESOLVER)
        path = os.pathsep.join(filter(None, (str(folder), os.getenv("PYTHONPATH"))))
        self.resolver = {"PYTHONPATH": path}

    async def gateway(self, **changes: Any) -> Program:
        """Start a gateway with that resolver."""
        self.gateway_config(shutdown_timeout=0.5, **changes)
        gateway = self.launch_gateway(env=self.resolver)
        await self.gateway_up(gateway)
        return gateway

    async def crowd(self, port: int, *, stay: bool) -> None:
        """Have visitors come to a port, most of whom leave at once or stay."""
        for number in range(CROWD):
            visitor = await self.connect(RawVisitor(b"?"), port)
            if number and not stay:
                visitor.transport.abortConnection()

    async def echoes(self, port: int) -> None:
        """Check that a mapping works."""
        visitor = await self.connect(RawVisitor(b"hello"), port)
        self.assertEqual(await visitor.hears(5), b"hello")

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
        self.agent_config(
            shutdown_timeout=0.5,
            server=f"gateway.test:{self.link_port}",
            allow_targets=["127.0.0.0/8", "a.silent.test"],
        )
        agent = self.launch_agent(env=self.resolver)
        await self.agent_up(agent)
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
