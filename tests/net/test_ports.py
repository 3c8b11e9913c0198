"""Listening, and accepting when something is short."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.net import ports
from gateway.net.poller import READABLE
from gateway.net.ports import TCPListening, open_listener
from gateway.policy.budget import Budget
from tests.contracts.network import RecordingFactory
from tests.net.real import RealSocketsCase

SCARCE = """
import resource
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from gateway.net.network import Network

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

listening = Network(reactor).listen("127.0.0.1", 0, Factory.forProtocol(Echo))
listening.startAccepting()
resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))
print(listening.getHost().port, flush=True)
reactor.run()
"""


class RealPortTests(RealSocketsCase):
    """On real sockets."""

    async def test_all_interfaces_are_both_families(self):
        addresses = []

        class AddressFactory(RecordingFactory):
            def buildProtocol(self, addr):
                addresses.append(addr)
                return super().buildProtocol(addr)

        factory = AddressFactory()
        listening = self.network.listen("", 0, factory)
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        for address in ("127.0.0.1", "::1"):
            near: Any = await self.network.connect(
                address, listening.getHost().port, RecordingFactory(), 5.0
            )
            await self.until(lambda: factory.built)
            far = factory.built.pop()
            await self.until(lambda far=far: far.transport is not None)
            self.assertEqual(far.transport.getHost().host, address)
            self.assertEqual(addresses[-1], far.transport.getPeer())
            near.transport.abortConnection()
            await self.until(lambda near=near, far=far: near.lost and far.lost)
        self.assertEqual(
            [(type(peer), peer.host) for peer in addresses],
            [(IPv4Address, "127.0.0.1"), (IPv6Address, "::1")],
        )

    async def test_what_a_python_accepts_that_lacks_the_faster_way(self):
        self.patch(ports, "acceptor", lambda sock: sock.accept)
        await self.test_all_interfaces_are_both_families()

    async def test_a_listener_may_have_a_budget_of_its_own(self):
        shared, own = Budget(), Budget()
        self.network.count_by(shared)
        factory = RecordingFactory()
        listening = self.network.listen("127.0.0.1", 0, factory, memory=own)
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        near: Any = await self.network.connect(
            "127.0.0.1", listening.getHost().port, RecordingFactory(), 5.0
        )
        near.transport.pauseProducing()
        await self.until(lambda: factory.built and factory.built[0].transport)
        far = factory.built[0].transport
        far.write(bytes(16 << 20))
        self.assertEqual((own.held, shared.held), (far.unsent, 0))
        self.assertGreater(own.held, 0)
        far.abortConnection()
        near.transport.abortConnection()
        await self.until(lambda: near.lost and factory.built[0].lost)
        self.assertEqual(own.held, 0)

    async def test_an_ipv6_address_is_that_family_only(self):
        listening = self.network.listen("::", 0, RecordingFactory())
        self.addCleanup(listening.stopListening)
        with self.assertRaises(ConnectionRefusedError):
            await self.network.connect(
                "127.0.0.1", listening.getHost().port, RecordingFactory(), 5.0
            )

    def test_without_ipv6_all_interfaces_are_those_of_ipv4(self):
        self.patch(socket, "has_ipv6", False)
        with open_listener("", 0) as sock:
            self.assertEqual(sock.getsockname()[0], "0.0.0.0")

    def test_a_name_cannot_be_listened_on(self):
        with self.assertRaises(OSError) as caught:
            self.network.listen("localhost", 0, RecordingFactory())
        self.assertEqual(caught.exception.errno, errno.EADDRNOTAVAIL)

    async def test_many_connections_leave_no_descriptors_behind(self):
        factory = RecordingFactory()
        listening = self.network.listen("127.0.0.1", 0, factory)
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        before = await self.open_descriptors()
        nears = []
        for number in range(200):
            near: Any = await self.network.connect(
                "127.0.0.1", listening.getHost().port, RecordingFactory(), 5.0
            )
            nears.append(near)
            if number % 2:
                near.transport.loseConnection()
            else:
                near.transport.abortConnection()
        await self.until(lambda: len(factory.built) == 200)
        everybody = nears + factory.built
        await self.until(lambda: all(protocol.lost for protocol in everybody))
        self.assertEqual(await self.open_descriptors(), before)

    async def test_a_stopped_port_leaves_no_descriptors_behind(self):
        before = await self.open_descriptors()
        for _ in range(3):
            self.network.listen("127.0.0.1", 0, RecordingFactory()).stopListening()
        self.assertEqual(await self.open_descriptors(), before)

    def test_a_lack_of_descriptors_costs_the_newest_connections_only(self):
        child = subprocess.Popen(
            [sys.executable, "-c", SCARCE], stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        stdout: Any = child.stdout
        self.addCleanup(stdout.close)
        address = ("127.0.0.1", int(stdout.readline()))
        served = []
        for _ in range(40):
            peer = socket.create_connection(address, 5)
            self.addCleanup(peer.close)
            if not self.echoes(peer):
                break
            served.append(peer)
        else:
            self.fail("descriptors never ran out")
        self.assertGreater(len(served), 5)
        self.assertTrue(all(map(self.echoes, served)))
        for peer in served:
            peer.close()
        with socket.create_connection(address, 5) as late:
            self.assertTrue(self.echoes(late))

    def echoes(self, peer):
        """Return whether `peer` answers; False if it is closed."""
        try:
            peer.sendall(b"?")
            return peer.recv(1) == b"?"
        except ConnectionError:
            return False


class ScriptedSocket:
    """A listening socket whose accepting fails as told."""

    def __init__(self, faults):
        self.faults = list(faults)
        self.real = socket.socket()
        self.real.bind(("127.0.0.1", 0))
        self.accepts = 0

    def _accept(self):
        self.accepts += 1
        if self.faults:
            code = self.faults.pop(0)
            raise OSError(code, os.strerror(code))
        raise BlockingIOError

    def __getattr__(self, name):
        return getattr(self.real, name)


class MaskPoller:
    """Remembers the mask of the one descriptor."""

    mask: int | None = None

    def watch(self, descriptor, mask):
        self.mask = mask

    def forget(self, descriptor):
        self.mask = None


class TurnTests(SynchronousTestCase):
    """How much is accepted at one event, with a clock of our own."""

    def test_accepts_that_take_long_wait_for_the_next_turn(self):
        clock = Clock()
        factory = SlowFactory(clock, 0.001)
        sock = open_listener("127.0.0.1", 0)
        listening = TCPListening(
            MaskPoller(),  # type: ignore[arg-type]
            clock,
            sock,
            factory,
            gathered=False,
        )
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        for _ in range(5):
            self.addCleanup(socket.create_connection(sock.getsockname(), 5).close)
        turns = []
        for _ in range(3):
            before = factory.asked
            listening.handle(READABLE)
            turns.append(factory.asked - before)
        self.assertEqual(turns, [2, 2, 1])


class SlowFactory(RecordingFactory):
    """Takes some time to reject each connection."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock = clock
        self.seconds = seconds
        self.asked = 0

    def buildProtocol(self, addr):
        self.asked += 1
        self.clock.advance(self.seconds)


class ShortageTests(SynchronousTestCase):
    """Errors of `accept`, with a clock of our own."""

    def listening(self, *faults):
        self.clock, self.poller = Clock(), MaskPoller()
        self.sock = ScriptedSocket(faults)
        listening: Any = TCPListening(
            self.poller,  # type: ignore[arg-type]
            self.clock,
            self.sock,  # type: ignore[arg-type]
            RecordingFactory(),
            gathered=False,
        )
        self.addCleanup(listening.stopListening)
        listening.startAccepting()
        self.messages: list[str] = []
        self.patch(TCPListening, "log", self)
        return listening

    def error(self, message, **fields):
        self.messages.append(message.format(**fields))

    def test_a_connection_that_went_away_is_skipped(self):
        listening = self.listening(errno.ECONNABORTED, errno.EPROTO, errno.EPERM)
        listening.handle(1)
        self.assertEqual(self.sock.accepts, 4)
        self.assertEqual((self.poller.mask, self.messages), (1, []))

    def test_a_shortage_pauses_for_a_moment(self):
        for code in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            listening = self.listening(code)
            listening.handle(1)
            self.assertEqual(self.poller.mask, 0)
            self.clock.advance(1.0)
            self.assertEqual(self.poller.mask, 1)
            self.assertEqual(len(self.messages), 1)

    def test_a_long_shortage_is_not_said_each_time(self):
        listening = self.listening(*[errno.ENOBUFS] * 100)
        for _ in range(100):
            listening.handle(1)
            self.clock.advance(0.2)
        self.assertEqual(len(self.messages), 2)
        self.assertIn("51 time(s)", self.messages[1])

    def test_stopping_during_a_shortage_leaves_no_timer(self):
        listening = self.listening(errno.ENOMEM)
        listening.handle(1)
        listening.stopListening()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.poller.mask)
