"""Programs that resolve names as a test says."""

from __future__ import annotations

import os
from typing import Any, Final

from tests.integration.processes import Program
from tests.integration.rig import RigCase
from tests.integration.traffic import RawVisitor

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


class NamesCase(RigCase):
    """Real processes whose resolver is the test's."""

    more = ""  # what the programs run before anything else

    def setUp(self) -> None:
        """Write the resolver that the programs use."""
        super().setUp()
        folder = self.folder / "resolver"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(RESOLVER + self.more)
        path = os.pathsep.join(filter(None, (str(folder), os.getenv("PYTHONPATH"))))
        self.resolver = {"PYTHONPATH": path}

    async def gateway(self, **changes: Any) -> Program:
        """Start a gateway with that resolver."""
        self.gateway_config(shutdown_timeout=0.5, **changes)
        gateway = self.launch_gateway(env=self.resolver)
        await self.gateway_up(gateway)
        return gateway

    async def agent(self, **changes: Any) -> Program:
        """Start an agent with that resolver."""
        self.agent_config(shutdown_timeout=0.5, **changes)
        agent = self.launch_agent(env=self.resolver)
        await self.agent_up(agent)
        return agent

    async def echoes(self, port: int) -> None:
        """Check that a mapping works."""
        visitor = await self.connect(RawVisitor(b"hello"), port)
        self.assertEqual(await visitor.hears(5), b"hello")
