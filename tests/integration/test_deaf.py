"""Visitors that never read, beside honest ones."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from twisted.internet.threads import deferToThread

from gateway.net.sockets import UNREAD_BYTES, UNSENT_BYTES
from tests.integration.processes import pause
from tests.integration.rig import RigCase
from tests.integration.talking import connect, exchange

DEAF = 300
HONEST = 40
ROUNDS = 6
MEMORY = 64 << 20
LITTLE: Any = {"limits": {"memory": MEMORY}}
ATTACKER = "127.0.0.2"
# what all of them can bring between two looks
SLACK = DEAF * (UNSENT_BYTES + UNREAD_BYTES)


def deaf_visitors(port: int) -> list[socket.socket]:
    """Return visitors that read nothing, from one address."""
    crowd = []
    for _ in range(DEAF):
        with contextlib.suppress(OSError):
            sock = socket.socket()
            sock.settimeout(5)
            sock.bind((ATTACKER, 0))
            crowd.append(sock)
            sock.connect(("127.0.0.1", port))
    return crowd


def served(port: int, crowd: list[socket.socket]) -> int:
    """Return how many new visitors out of `HONEST` are served; they stay in `crowd`."""
    good = 0
    for _ in range(HONEST):
        with contextlib.suppress(OSError):
            sock = connect(port)
            sock.settimeout(10)
            crowd.append(sock)
            exchange([sock])
            good += 1
    return good


class DeafTests(RigCase):
    """A gateway and an agent with little memory."""

    async def used(self) -> int:
        """Return what counts towards the gateway's `limits.memory`."""
        rows = (await self.api("GET", "/api/limits")).body["data"]["limits"]
        [row] = [row for row in rows if row["name"] == "limits.memory"]
        return int(row["active"])

    async def assert_others_served(self, **mapping: object) -> None:
        """Let many visitors from one address read nothing, and others come."""
        source = await self.serve_crowd("source", **mapping)
        echo = await self.serve_crowd("echo", **mapping)
        paused = connect(source)
        self.addCleanup(paused.close)
        deaf = await deferToThread(deaf_visitors, source)
        for sock in deaf:
            self.addCleanup(sock.close)
        most = 0
        for _ in range(ROUNDS):
            honest: list[socket.socket] = []
            count = await deferToThread(served, echo, honest)
            for sock in honest:
                sock.close()
            self.assertEqual(count, HONEST)
            await deferToThread(paused.recv, 65536)
            most = max(most, await self.used())
            await pause(0.25)
        self.assertGreater(most, MEMORY // 2, "nothing was tight")
        self.assertLess(most, MEMORY + SLACK)
        self.assertLess(await self.used(), MEMORY)
        # the honest download that pauses now and then has not been broken
        self.assertTrue(await deferToThread(paused.recv, 1))

    async def test_through_an_agent_all_others_are_served(self) -> None:
        await self.start_gateway(**LITTLE)
        await self.start_agent(**LITTLE)
        await self.assert_others_served()

    async def test_straight_to_a_target_all_others_are_served(self) -> None:
        await self.start_gateway(**LITTLE)
        await self.assert_others_served(use_tunnel=False, target_host="127.0.0.1")
