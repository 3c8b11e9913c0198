"""Mutated input on the sockets of a real gateway, beside traffic that is whole."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable
from random import Random
from typing import Final

from twisted.internet.threads import deferToThread

from tests.fuzz.corpus import golden_frames, kept
from tests.fuzz.mutator import Mutator
from tests.fuzz.world import API_KEY
from tests.integration.processes import reactor, until
from tests.integration.rig import TOKEN, RigCase
from tests.integration.test_garbage import hello
from tests.integration.traffic import Echo, Plan, RawVisitor, Target, VisitorProtocol

RUNS: Final = 250  # for each port
MIB: Final = 1 << 20
GROWTH_BYTES: Final = 64 * MIB
SEED: Final = 4
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close means reset


def send_each(port: int, inputs: Iterable[list[bytes]], random: Random) -> None:
    """Say each input on a connection of its own, and go in one of several ways."""
    for chunks in inputs:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.settimeout(random.choice((0.0001, 0.0001, 0.05)))
            with contextlib.suppress(OSError):
                for chunk in chunks:
                    sock.sendall(chunk)
                if random.random() < 0.5:
                    sock.shutdown(socket.SHUT_WR)
                sock.recv(65536)
            if random.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


class FuzzTests(RigCase):
    """Every port of a gateway at work."""

    async def prepare(self) -> None:
        """Start everything, and two streams: one that idles and one that moves."""
        api = {"api_key": API_KEY, "rate_limit": {"requests": 0}}
        self.gateway = await self.start_gateway(
            security={"api": api}, tunnel={"hello_timeout": 1.0}
        )
        self.use_key(API_KEY)
        self.agent = await self.start_agent()
        self.echo_port = await self.map(self.serve(Echo()), agent="default")
        target = self.serve(Target())
        self.target_port = await self.map(target, agent="default")
        self.proxy_port = await self.map(
            target, agent="default", trusted_proxies=["127.0.0.0/8"]
        )
        self.idle = await self.connect(RawVisitor(b"first"), self.echo_port)
        self.assertEqual(await self.idle.hears(5), b"first")
        self.moving = await self.connect(
            VisitorProtocol(Plan(1, 0, 64 * MIB), reading=False), self.target_port
        )

    def inputs(self, target: str, random: Random) -> Iterable[list[bytes]]:
        """Yield mutations for one port."""
        golden = golden_frames() if target == "link" else []
        pool = [*kept(target), *golden]
        mutator = Mutator(random, golden)
        for _ in range(RUNS):
            data = mutator.mutate(pool)
            if b"ban/add" in data:
                continue  # it may be about the visitors of this test
            if target == "link" and random.random() < 0.5:
                data = hello(agent="fuzzed", token=TOKEN) + data
            yield mutator.cuts(data)

    async def test_every_port_at_once(self):
        await self.prepare()
        descriptors = self.gateway.descriptors()
        memory = self.gateway.memory_bytes()
        running = []
        for target, port in (
            ("link", self.link_port),
            ("proxy", self.proxy_port),
            ("api", self.api_port),
        ):
            random = Random(f"{target} {SEED}")
            inputs = self.inputs(target, random)
            running.append(deferToThread(send_each, port, inputs, random))
        for done in running:
            await done
        self.idle.transport.write(b"again")
        self.assertEqual(await self.idle.hears(5), b"again")
        self.moving.resume()
        await self.moving.done.addTimeout(30, reactor)
        # what the callers mapped listens, too
        more = len(await self.mappings()) - 3
        await until(
            lambda: self.gateway.descriptors() <= descriptors + more,
            "nothing is left of the strangers",
        )
        self.assertLess(self.gateway.memory_bytes() - memory, GROWTH_BYTES)
        agents = (await self.api("GET", "/api/agents")).body["data"]["agents"]
        self.assertEqual([row["name"] for row in agents], ["default"])
        self.assertIsNone(self.gateway.exit_code)
        self.assertIsNone(self.agent.exit_code)
