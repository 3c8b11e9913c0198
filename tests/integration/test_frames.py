"""Peers that send frames as fast as they can, beside an agent at work."""

from __future__ import annotations

import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from twisted.internet.threads import deferToThread

from tests.integration.talking import connect, exchange
from tests.integration.test_keys import KeyCase

ECHOES: Final = 100
# seconds that an echo may take though the machine is busy; on an idle one it is a
# millisecond, and seconds where frames are not bounded
SLOW: Final = 0.05
STRANGERS: Final = 50
OWN: Final = "127.0.0.1"
STRANGE: Final = "127.0.0.2"
AGENTS: Final = 3


def median_echo(sock: socket.socket) -> float:
    """Return the median of many round trips, in seconds."""
    found = []
    for _ in range(ECHOES):
        began = time.perf_counter()
        exchange([sock])
        found.append(time.perf_counter() - began)
    return statistics.median(found)


class FloodTests(KeyCase):
    """A gateway, an agent, and attackers: all of them processes."""

    async def assert_quick_beside(
        self, count: int, kind: str, address: str, keys: str = ""
    ) -> None:
        """Let attackers begin, and fail if they slow the echo down."""
        program = self.start(
            *(sys.executable, "-m", "tests.integration.attackers"),
            *(str(self.link_port), str(count), kind, address),
            name=f"attackers-{kind}",
            folder=Path(__file__).parents[2],
            env={"KEYS": keys},
        )
        await program.says("attacking", 30.0)
        median = await deferToThread(median_echo, self.sock)
        await program.kill()
        print(f"beside {count}, {kind}: {median * 1000:.2f} ms", file=sys.stderr)  # noqa: T201
        self.assertLess(median, SLOW, kind)

    async def test_floods_slow_nobody_down(self):
        gateway = await self.start_open_gateway(
            security={"bans": {"exempt": [f"{OWN}/32"]}}
        )
        made = await self.order("/api/agent-key/create", {"name": "good"})
        file = self.keep("good", made["secret"])
        await self.start_agent("good", token_file=file)
        self.sock = connect(await self.serve_crowd("echo"))
        self.addCleanup(self.sock.close)
        await self.assert_quick_beside(STRANGERS, "unknown", STRANGE)
        await gateway.says(f"{STRANGE} is kept out until")
        keys = []
        for number in range(AGENTS):
            made = await self.order("/api/agent-key/create", {"name": f"m{number}"})
            keys.append(f"m{number} {made['secret']}")
        for kind in ("stray", "register"):
            await self.assert_quick_beside(AGENTS, kind, OWN, ",".join(keys))
