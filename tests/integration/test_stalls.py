"""A thousand connections stall in each step before anybody knows who they are."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.threads import deferToThread

from gateway.wire import frames
from tests.integration.handmade import HOST, HandmadeAgent, frame, hello, proof_of
from tests.integration.processes import Program, raise_descriptor_limit, reactor
from tests.integration.test_keys import KeyCase
from tests.integration.test_tls import SealedCase
from tests.integration.traffic import Echo, Plan, RawVisitor, Target, VisitorProtocol

CROWD: Final = 1000
CROWDER = "127.0.0.9"  # where they come from
SOON: Final = 5.0  # seconds that an answer may take beside them
MIB: Final = 1 << 20
HEAD: Final = (
    b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
)


def client_hello() -> bytes:
    """Return the first message of a TLS handshake."""
    said = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), said, server_hostname="gateway"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


class StallCase(SealedCase):
    """One stream that moves and one that idles while others stall."""

    def setUp(self) -> None:
        """Allow this process enough sockets."""
        super().setUp()
        raise_descriptor_limit()
        self.stalled: list[socket.socket] = []
        self.addCleanup(self.go)

    def go(self) -> None:
        """Let everybody go who stalls."""
        for sock in self.stalled:
            sock.close()
        self.stalled.clear()

    async def busy(self) -> None:
        """Begin the streams that must not be harmed."""
        self.echo_port = await self.map(self.serve(Echo()), agent="good")
        target_port = await self.map(self.serve(Target()), agent="good")
        self.idle = await self.connect(RawVisitor(b"first"), self.echo_port)
        self.assertEqual(await self.idle.hears(5), b"first")
        self.moving = await self.connect(
            VisitorProtocol(Plan(1, 8 * MIB, 64 * MIB)), target_port
        )

    async def stall(
        self, port: int, words: bytes, wait_for: Callable[[Any], object] | None = None
    ) -> None:
        """Open a thousand connections of one address that say `words` only.

        Args:
            port: where.
            words: what each says.
            wait_for: what each waits for then, before the next one comes.
        """

        def come() -> None:
            for _ in range(CROWD):
                # one that comes while its own address has all places is rejected
                with contextlib.suppress(ConnectionError):
                    sock = socket.create_connection((HOST, port), SOON, (CROWDER, 0))
                    self.stalled.append(sock)
                    if words:
                        sock.sendall(words)
                    if wait_for is not None:
                        wait_for(sock)

        await deferToThread(come)

    async def unharmed(self) -> None:
        """See that the good agent's streams and the API do not notice anything."""
        started = reactor.seconds()
        self.idle.transport.write(b"still here")
        self.assertEqual(await self.idle.hears(10, SOON), b"still here")
        visitor = await self.connect(RawVisitor(b"new"), self.echo_port)
        self.assertEqual(await visitor.hears(3, SOON), b"new")
        visitor.transport.loseConnection()
        self.assertEqual((await self.api("GET", "/api/limits")).status, 200)
        self.assertLess(reactor.seconds() - started, SOON)

    async def limit(self, name: str) -> dict[str, Any]:
        """Return one row of the limits."""
        rows = (await self.api("GET", "/api/limits")).body["data"]["limits"]
        return next(row for row in rows if row["name"] == name)


class PlainTests(StallCase, KeyCase):
    """Ports without TLS."""

    async def new_key(self, name: str) -> str:
        """Make a key for an agent and return it."""
        made = await self.order("/api/agent-key/create", {"name": name})
        return str(made["secret"])

    async def start_good(self) -> Program:
        """Start the agent that must not be harmed."""
        key = await self.new_key("good")
        return await self.start_agent("good", token_file=self.keep("good", key))

    async def test_the_link_port(self):
        """From accept to the last message of a proof."""
        gateway = await self.start_open_gateway()
        good = await self.start_good()
        key = await self.new_key("late")
        await self.busy()
        greeting = hello("late")
        first = frame(frames.AUTH, proof_of("late", key).first().encode())
        for words, wait_for in (
            (b"", None),
            (greeting[:30], None),
            (greeting, None),
            (greeting + first, lambda sock: sock.recv(4096)),
        ):
            await self.stall(self.link_port, words, wait_for)
            late = HandmadeAgent(self.link_port, SOON)
            ack = await deferToThread(late.join, "late", key)
            self.assertTrue(ack["session"], words)
            await self.unharmed()
            late.close()
            self.go()
        await self.moving.done.addTimeout(30, reactor)
        self.assertIn("too many connections have not said who they are", gateway.text())
        self.assertEqual(good.text().count("agent link up"), 1)

    async def test_the_api(self):
        """From accept to the last byte of a body."""
        await self.start_open_gateway()
        await self.start_good()
        await self.busy()
        for turn, words in enumerate((b"", HEAD[:9], HEAD[:-2], HEAD + b"{"), 1):
            await self.stall(self.api_port, words)
            await self.unharmed()
            row = await self.limit("limits.api_connections")
            self.assertLessEqual(row["active"], row["limit"])
            self.assertGreaterEqual(row["rejected"], turn * (CROWD - row["limit"]))
            self.go()
        late = HandmadeAgent(self.link_port, SOON)
        key = await self.new_key("late")
        ack = await deferToThread(late.join, "late", key)
        self.assertTrue(ack["session"])
        late.close()
        await self.moving.done.addTimeout(30, reactor)


class SealedTests(StallCase):
    """A link port with TLS."""

    async def test_the_handshake(self):
        """From accept to the client's last message."""
        await self.start_sealed_gateway()
        await self.start_agent("good", tls=self.trust())
        await self.busy()
        greeting = client_hello()
        for words, wait_for in (
            (b"", None),
            (greeting[:50], None),
            (greeting, lambda sock: sock.recv(1)),
        ):
            await self.stall(self.link_port, words, wait_for)
            await self.unharmed()
        late = self.launch_named("late", tls=self.trust())
        await late.says("agent link up")
        row = await self.limit("limits.handshakes of the link port")
        self.assertLessEqual(row["active"], row["limit"])
        self.assertGreaterEqual(row["rejected"], CROWD)
        await self.unharmed()
        await self.moving.done.addTimeout(30, reactor)
