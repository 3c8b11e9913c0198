"""Agents get in beside a flood of connections from another address."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.integration.ports import take_ports
from tests.integration.processes import Program
from tests.integration.test_tls import SealedCase

RATE = 3000  # connections a second that say nothing
DELAY_MS = 200  # of the agent's path, each way: 200 places are taken anew meanwhile
PATH_RATE = 20_000_000  # bytes a second


class FloodTests(SealedCase):
    """The agent needs a few round trips to prove itself, and is not displaced."""

    async def assert_gets_in(self, gateway: Program, words: str, **agent: Any) -> None:
        """Fail unless an agent gets in at its first attempt."""
        path_port = take_ports()
        path = self.start(
            sys.executable,
            "-m",
            "tests.integration.delaying",
            str(DELAY_MS),
            str(PATH_RATE),
            f"{path_port}:{self.link_port}",
            name="path",
            folder=Path(__file__).parents[2],
        )
        flood = await self.start_crowd("flood", self.link_port, RATE)
        await path.says("ready")
        await gateway.says(f"link from 127.0.0.2 refused: {words}")
        found = await self.start_agent(server=f"127.0.0.1:{path_port}", **agent)
        await found.says("agent link up")
        self.assertNotIn("[WARN]", found.text())
        self.assertNotIn("link from 127.0.0.1 refused", gateway.text())
        self.assertIsNone(flood.exit_code)

    async def test_over_a_plain_link(self):
        gateway = await self.start_gateway()
        await self.assert_gets_in(
            gateway, "too many connections have not said who they are"
        )

    async def test_over_a_sealed_link(self):
        gateway = await self.start_sealed_gateway()
        await self.assert_gets_in(
            gateway, "TLS handshake: too many were under way", tls=self.trust()
        )
