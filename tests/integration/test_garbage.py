"""Strangers talk nonsense to the link port, and the live agent does not notice."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

from tests.integration.processes import reactor, until
from tests.integration.rig import RigCase
from tests.integration.traffic import Echo, Plan, RawVisitor, Target, VisitorProtocol

HELLO_SECONDS = 1.0
MIB = 1 << 20


def frame(kind: int, payload: bytes) -> bytes:
    """Return a frame of the link."""
    return struct.pack("!BBI", 1, kind, len(payload)) + payload


def hello(**changes: object) -> bytes:
    """Return the first frame of an agent."""
    words = {
        "agent": "default",
        "instance": "00000000deadbeef",
        "link": 0,
        "features": [],
        "window": 262144,
        "max_frame": 262144,
        "software": "test",
    }
    return frame(0x10, json.dumps({**words, **changes}).encode())


TLS_HELLO = bytes.fromhex(
    "16030100c8010000c40303" + "5a" * 32 + "20" + "a5" * 32
) + bytes(100)
GARBAGE = {
    "random bytes": random.Random(7).randbytes(5000),
    "zeros": bytes(5000),
    "HTTP": b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "TLS": TLS_HELLO,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "v1 frame": struct.pack("!II", 8, 1) + b"old data",
    "another version": b"\x02\x05\x00\x00\x00\x00",
    "giant length": b"\x01\x03\xff\xff\xff\xff",
    "HELLO that is not JSON": frame(0x10, b"hello!"),
    "HELLO that is not an object": frame(0x10, b"[1, 2]"),
    "HELLO that is too long": frame(0x10, b" " * 5000),
    "HELLO without token": hello(),
    "HELLO with a wrong token": hello(token="not-the-right-token"),
    "HELLO twice": hello() + hello(),
    "data first": frame(0x03, b"\0\0\0\1stray"),
    "close first": frame(0x04, b"\0\0\0\1"),
    "keep-alives": frame(0x05, b"") * 2000,
    "success first": frame(0x02, b"\0\0\0\1\0"),
    "half a header": b"\x01\x10\x00",
    "half a HELLO": hello()[:40],
    "nothing": b"",
}


class GarbageTests(RigCase):
    """One agent with streams, and strangers on the port beside it."""

    async def prepare(self) -> None:
        """Start everything, and two streams: one that idles and one that moves."""
        self.gateway = await self.start_gateway(tunnel={"hello_timeout": HELLO_SECONDS})
        self.agent = await self.start_agent()
        self.echo_port = await self.map(self.serve(Echo()))
        self.target_port = await self.map(self.serve(Target()))
        self.idle = await self.connect(RawVisitor(b"first"), self.echo_port)
        self.assertEqual(await self.idle.hears(5), b"first")
        self.moving = await self.connect(
            VisitorProtocol(Plan(1, 0, 256 * MIB), reading=False), self.target_port
        )
        self.link = await self.agent_row()

    async def agent_row(self) -> dict[str, Any]:
        """Return what the gateway knows of the agent."""
        agents = (await self.api("GET", "/api/agents")).body["data"]["agents"]
        self.assertEqual(len(agents), 1, agents)
        row: dict[str, Any] = agents[0]
        return row

    async def assert_unharmed(self) -> None:
        """Check that the agent's link and both of its streams are the same."""
        row = await self.agent_row()
        for key in ("name", "instance", "connected_at"):
            self.assertEqual(row[key], self.link[key], key)
        self.idle.transport.write(b"again")
        self.assertEqual(await self.idle.hears(5), b"again")
        self.moving.resume()
        await self.moving.done.addTimeout(30, reactor)

    async def test_garbage_is_shut_out(self):
        """Each kind is closed within the time for a HELLO, and harms nobody."""
        await self.prepare()
        strangers = {
            what: await self.connect(RawVisitor(words), self.link_port)
            for what, words in GARBAGE.items()
        }

        def staying() -> list[str]:
            return [what for what, stranger in strangers.items() if not stranger.end]

        await until(lambda: not staying(), "all strangers are shut out", 10)
        self.assertEqual(await self.refused(self.link_port), False)
        await self.assert_unharmed()

    async def test_strangers_that_never_read_are_shut_out(self):
        """A stranger that takes no answer is not waited for."""
        await self.prepare()
        before = self.gateway.descriptors()
        for _ in range(20):
            stranger = await self.connect(RawVisitor(hello() * 50), self.link_port)
            stranger.transport.pauseProducing()
        await until(
            lambda: self.gateway.descriptors() <= before, "all strangers are shut out"
        )
        await self.assert_unharmed()

    async def test_port_scan(self):
        """Hundreds of connections that come and go at once."""
        await self.prepare()
        before = self.gateway.descriptors()
        for number in range(300):
            stranger = await self.connect(RawVisitor(), self.link_port)
            if number % 2:
                stranger.transport.abortConnection()
            else:
                stranger.transport.loseConnection()
        await until(
            lambda: self.gateway.descriptors() <= before, "the scan leaves nothing"
        )
        await self.assert_unharmed()

    async def test_garbage_for_the_agent(self):
        """An agent that is led to a stranger gives up, waits and tries again."""
        stranger = Echo(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        self.agent_config(server=f"127.0.0.1:{self.serve(stranger)}")
        lost = self.launch_agent()
        await until(lambda: len(stranger.ends) >= 3, "it tries again")
        self.assertIsNone(lost.exit_code)
