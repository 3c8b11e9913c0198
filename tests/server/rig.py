"""A gateway without sockets: agents, visitors and targets are played by tests."""

import errno
import os
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gateway.edge.tcp import Crowd
from gateway.errors import StoreError
from gateway.interfaces import IListening, INetwork, StoredFault
from gateway.link.factory import LinkFactory
from gateway.link.protocol import LinkSettings
from gateway.mux.core import SessionSettings
from gateway.mux.roles import GATEWAY
from gateway.net.sockets import is_bound
from gateway.ops.events import TOPICS, Events
from gateway.policy.access import OwnPorts, TargetRules
from gateway.policy.bans import BanSettings
from gateway.policy.budget import Budget
from gateway.policy.hops import Hops
from gateway.policy.limits import Slots
from gateway.policy.mapping import MappingWish
from gateway.policy.ports import PublicPorts
from gateway.policy.visitors import Addresses
from gateway.relay.deadlines import Deadlines
from gateway.relay.dial import Dialer
from gateway.relay.upstream import DirectUpstream
from gateway.server.bans import BanTable
from gateway.server.book import MappingSettings
from gateway.server.connection import ConnectionContext
from gateway.server.credentials import Credentials
from gateway.server.kept_ports import KeptPorts
from gateway.server.link_settings import AdmissionSettings
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.own import OwnPlaces
from gateway.server.reachability import Reachability
from gateway.server.register import Registrations
from gateway.server.routing import Router
from gateway.server.upstreams import AgentUpstream
from gateway.server.visit_log import VisitLog
from gateway.store.memory import MemoryMappingStore
from gateway.texts import Language, Texts
from gateway.wire import frames
from tests.link.rig import INSTANCE, FarEnd, Socket, answer, hello
from tests.relay.fakes import FakeNetwork

NOON = 1_700_000_000


@implementer(IListening)
@dataclass(eq=False)
class Listening:
    """One public port."""

    address: str
    port: int
    factory: Factory
    gathered: bool
    tls: object = None
    memory: object = None
    accepting: bool = False
    stopped: bool = False

    def getHost(self):
        return IPv4Address("TCP", self.address or "0.0.0.0", self.port)

    def startAccepting(self):
        self.accepting = True

    def stopListening(self):
        self.accepting, self.stopped = False, True


@implementer(INetwork)
class PortsNetwork(FakeNetwork):
    """A `FakeNetwork` with ports.

    Attributes:
        opened: every port that was ever opened, in order.
        faults: what listening on a port fails with.
    """

    def __init__(self):
        super().__init__()
        self.opened: list[Listening] = []
        self.faults: dict[int, OSError] = {}

    def listen(self, address, port, factory, *, gathered=False, tls=None, memory=None):
        fault = self.faults.get(port)
        if fault is None and port in self.open_ports():
            fault = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        if fault is not None:
            raise fault
        listening = Listening(address, port, factory, gathered, tls, memory)
        self.opened.append(listening)
        return listening

    def open_ports(self):
        """Return the ports that are bound now."""
        return [one.port for one in self.opened if not one.stopped]

    def served_ports(self):
        """Return the ports that accept."""
        return [one.port for one in self.opened if one.accepting]

    def at(self, port):
        """Return the bound port."""
        (found,) = [one for one in self.opened if one.port == port and not one.stopped]
        return found


class FragileStore(MemoryMappingStore):
    """A memory store that fails or waits when told to.

    Attributes:
        fault: what the next calls raise, or None.
        unreadable: rows that `load` cannot read.
        opens: how often it was opened.
        closes: how often it was closed.
        record_fault: what records of traffic raise, or None.
        record_calls: how often they were written.
    """

    def __init__(self):
        super().__init__()
        self.fault: Exception | None = None
        self.unreadable: list[StoredFault] = []
        self._gate: Deferred[None] | None = None
        self.opens = self.closes = 0
        self.record_fault: Exception | None = None
        self.record_calls = 0
        self._record_gate: Deferred[None] | None = None

    async def _pass(self):
        gate, self._gate = self._gate, None
        if gate is not None:
            await gate
        if self.fault is not None:
            raise self.fault

    async def load_credentials(self):
        await self._pass()
        return await super().load_credentials()

    async def put_credential(self, credential):
        await self._pass()
        await super().put_credential(credential)

    async def delete_credential(self, name):
        await self._pass()
        return await super().delete_credential(name)

    async def load_bans(self):
        await self._pass()
        return await super().load_bans()

    async def put_ban(self, ban):
        await self._pass()
        await super().put_ban(ban)

    async def delete_ban(self, network):
        await self._pass()
        return await super().delete_ban(network)

    async def record(self, records, more):
        self.record_calls += 1
        gate, self._record_gate = self._record_gate, None
        if gate is not None:
            await gate
        if self.record_fault is not None:
            raise self.record_fault
        return await super().record(records, more)

    async def load_lifetime(self):
        if self.record_fault is not None:
            raise self.record_fault
        return await super().load_lifetime()

    def hold_record(self):
        """Let the next record wait; return what it waits for."""
        gate: Deferred[None] = Deferred()
        self._record_gate = gate
        return gate

    def hold(self):
        """Let the next call wait; return what it waits for."""
        gate: Deferred[None] = Deferred()
        self._gate = gate
        return gate

    def fail(self, detail="disk full"):
        """Let every call fail from now on."""
        self.fault = StoreError(detail)

    async def open(self):
        self.opens += 1
        await self._pass()
        await super().open()

    async def close(self):
        self.closes += 1
        await super().close()

    async def load(self):
        await self._pass()
        return (await super().load())._replace(faults=self.unreadable)

    async def insert(self, mapping):
        stored = await super().insert(mapping)  # a cancelled call is carried out
        try:
            await self._pass()
        except StoreError:
            await super().delete(mapping.match)
            raise
        return stored

    async def update(self, mapping):
        await self._pass()
        return await super().update(mapping)

    async def delete(self, match):
        await self._pass()
        return await super().delete(match)


class Agent(FarEnd):
    """An agent of the gateway under test."""

    def __init__(self, link, transport):
        super().__init__(transport)
        self.link = link

    def reached(self, stream_id=1):
        """Confirm a stream's target."""
        self.says(answer(stream_id))


class Visitor(Socket):
    """A visitor of a public port.

    Attributes:
        refused: it was reset before anything else happened.
    """

    refused = False


LINK_PORT, API_PORT = 9000, 8080
THIS_MACHINE = {"127.0.0.1", "::1", "192.0.2.1"}


class LogCase(SynchronousTestCase):
    """A test that reads what is logged."""

    def setUp(self):
        self.events: list[Any] = []
        note: Any = self.events.append
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def lines(self, part=""):
        """Return the log lines that hold `part`."""
        lines = [formatEvent(event) for event in self.events]
        return [line for line in lines if part in line]


class GatewayCase(LogCase):
    """Everything of a gateway but its own ports.

    Attributes:
        clock: the only clock there is.
        network: its sockets.
        store: its mappings.
    """

    language: Language = "en"

    def setUp(self):
        super().setUp()
        self.clock = Clock()
        self.network = PortsNetwork()
        self.store = FragileStore()
        self.build()
        self.successResultOf(self.ensure(self.store.open()))

    def build(
        self,
        *,
        token=None,
        by_certificate=False,
        failures=0,
        allow_legacy=None,
        max_links=0,
        streams_per_link=0,
        connections=0,
        connections_per_ip=0,
        max_mappings=100,
        reservation=86400,
        tunnel_enabled=True,
        allow_targets=None,
        last_port=10099,
        blacklist=frozenset({10022}),
    ):
        """Put the parts together."""
        texts = Texts(self.language)
        self.happened = Events(self.clock, self.wall_now, "feed")
        self.kept = KeptPorts(self.clock, self.store, self.wall_now, reservation)
        self.registrations = Registrations(
            self.clock, texts, lambda mapping: f"tcp://:{mapping.port}", self.kept
        )
        self.credentials = Credentials(
            self.store,
            (),
            os.urandom,
            self.wall_now,
            legacy_allowed=allow_legacy is True,
        )
        self.bans = BanTable(
            self.store,
            BanSettings(failures, 60, 600, ()),
            self.wall_now,
            self.happened.emit,
        )
        self.links = Links(
            self.clock,
            AdmissionSettings(
                token=token,
                max_links=max_links,
                streams_per_link=streams_per_link,
                open_timeout=10.0,
                session=SessionSettings(
                    roles=GATEWAY,
                    allow_legacy=token is None
                    if allow_legacy is None
                    else allow_legacy,
                ),
                by_certificate=by_certificate,
            ),
            texts,
            self.registrations,
            lambda size: bytes(range(size)),
            self.wall_now,
            self.credentials,
            self.bans,
            self.happened.emit,
        )
        self.factory = LinkFactory(
            self.clock,
            LinkSettings(window=65536),
            self.links.admission,
            lambda size: bytes(range(size)),
        )
        self.own = OwnPlaces(
            OwnPorts([("", LINK_PORT), ("127.0.0.1", API_PORT)]),
            THIS_MACHINE.__contains__,
        )
        dialer = Dialer(
            self.network,
            self.clock,
            TargetRules.parse(allow_targets),
            own_ports=self.own.refusal,
            timeout_seconds=5.0,
        )
        self.slots = Slots(connections)
        self.memory = Budget()
        self.hops = Hops(is_bound)
        self.visit_log = VisitLog(texts)
        linger = self.links.linger
        self.router = Router(
            ConnectionContext(self.visit_log, self.hops, linger, self.happened.emit),
            AgentUpstream(self.clock, self.network, self.links, self.own, texts, 10.0),
            DirectUpstream(dialer, self.hops, linger),
            "t",
        )
        self.mappings = Mappings(
            self.clock,
            self.network,
            self.store,
            PublicPorts(10000, last_port, blacklist),
            self.router,
            Crowd(
                clock=self.clock,
                slots=self.slots,
                addresses=Addresses(connections_per_ip),
                memory=self.memory,
                headers=Deadlines(self.clock, 5.0),
                admits=self.bans.admits,
            ),
            MappingSettings(
                tunnel_enabled=tunnel_enabled,
                port_offset=10000,
                max_mappings=max_mappings,
                refusal=dialer.refusal,
            ),
            texts,
            self.wall_now,
            lambda span: 0,
            self.happened.emit,
            Reachability(self.links, self.clock, self.wall_now).obstacle,
        )
        self.registrations.mappings = self.mappings
        self.mappings.book.is_kept = self.kept.is_kept
        self.own.public_place = self.mappings.public_place

    def told(self, *topics):
        """Return what happened of some topics: topic, action and fields."""
        events = self.happened.since(0, topics or TOPICS)
        return [(event.topic, event.action, event.fields) for event in events]

    def picked(self, name):
        """Return the link that a new stream for an agent would get, or None."""
        found = self.links.pick(name)
        return None if found is None else found.link

    def record(self, agent):
        """Return what the gateway knows of an agent's link."""
        return self.links.registry.find(agent.link)

    def wall_now(self):
        return NOON + self.clock.seconds()

    def now(self, coroutine):
        """Return the result of a coroutine that needs no more than a few turns."""
        result = Deferred.fromCoroutine(coroutine)
        self.clock.advance(0)
        return self.successResultOf(result)

    def ensure(self, coroutine):
        """Run a coroutine."""
        return Deferred.fromCoroutine(coroutine)

    def create(self, port=10080, **wish):
        """Create a mapping that needs no waiting; return its view."""
        made = self.ensure(self.mappings.create(MappingWish(port=port, **wish)))
        return self.successResultOf(made)

    def create_direct(self, port=10080, host="192.0.2.7", target_port=80, **wish):
        """Create a mapping to a target that the gateway dials."""
        making = self.ensure(
            self.mappings.create(
                MappingWish(
                    port=port, target_host=host, target_port=target_port, **wish
                )
            )
        )
        self.network.answer(host)
        return self.successResultOf(making)

    def connect(self, address="198.51.100.1"):
        """Connect to the link port; return a far end that has said nothing."""
        link = self.factory.buildProtocol(IPv4Address("TCP", address, 4000))
        if link is None:
            return None
        transport = Socket()
        transport.peerAddr = IPv4Address("TCP", address, 4000)
        transport.start(link)
        return Agent(link, transport)

    def agent(
        self,
        agent="default",
        instance=INSTANCE,
        *,
        address="198.51.100.1",
        **fields,
    ):
        """Connect an agent that says HELLO."""
        found = self.connect(address)
        assert found is not None
        found.says(hello(agent=agent, instance=instance, **fields))
        return found

    def visit(self, port=10080, source=("203.0.113.9", 5000)):
        """Come to a public port."""
        listening = self.network.at(port)
        assert listening.accepting, f"port {port} is not served"
        address = IPv4Address("TCP", *source)
        visitor = Visitor()
        visitor.peerAddr = address
        protocol = listening.factory.buildProtocol(address)
        if protocol is None:
            visitor.refused = True
            return visitor
        visitor.start(protocol)
        visitor.pump()
        return visitor

    def later(self, seconds, step=0.25, *sockets):
        """Let time pass, in small steps."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for one in sockets:
                one.pump()


def opened(heard):
    """Return the number of streams that were asked for."""
    return sum(kind in (frames.OPEN, frames.CONNECT_REQUEST) for kind, _ in heard)
