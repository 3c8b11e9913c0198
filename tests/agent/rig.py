"""An agent without sockets: gateways and targets are played by tests."""

from collections.abc import Callable

from twisted.internet.task import Clock

from gateway.agent.expose import Exposures
from gateway.agent.gateways import GatewayAddresses
from gateway.agent.identity import Identities, Identity
from gateway.agent.service import (
    AgentParts,
    AgentService,
    AgentSettings,
    GatheredNetwork,
)
from gateway.agent.targets import Targets
from gateway.link.protocol import LinkSettings
from gateway.mux.core import SessionSettings
from gateway.mux.roles import AGENT
from gateway.policy.access import TargetRules
from gateway.policy.backoff import Backoff
from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
from gateway.relay.dial import Dialer
from gateway.relay.linger import Linger
from gateway.texts import Language, Texts
from gateway.wire.hello import Hello
from tests.link.rig import INSTANCE, WINDOW, FarEnd, hello_ack
from tests.relay.fakes import FakeNetwork
from tests.server.rig import LogCase

GATEWAY = ("192.0.2.1", 9000)
LOOPBACK = ("127.0.0.0/8", "::1/128")


class AgentCase(LogCase):
    """A whole agent on a fake clock.

    Attributes:
        network: connections to gateways and to targets.
        gateways: the far ends of the links made so far.
    """

    language: Language = "en"
    identity = Identity(
        Hello(
            instance=INSTANCE,
            window=WINDOW,
            features=frozenset({"register"}),
            token="a token of many letters",
        )
    )
    read_token: Callable[[], str] | None = None

    def setUp(self):
        super().setUp()
        self.clock = Clock()
        self.gave_up = 0
        self.announced: list[str] = []
        self.build()

    def build(
        self,
        *,
        servers=(GATEWAY,),
        connections=1,
        auto=False,
        max_attempts=0,
        wishes=(),
        streams=0,
        allow_targets=LOOPBACK,
        heartbeat=15.0,
        dial_seconds=5.0,
        shutdown_timeout=30.0,
        memory=0,
    ):
        """Put the parts together."""
        self.network = FakeNetwork()
        self.gateways: list[FarEnd] = []
        texts = Texts(self.language)
        self.linger = Linger(self.clock)
        self.slots = Slots(streams)
        self.memory = Budget(memory)
        gateways = GatewayAddresses()
        for host, _ in servers:
            gateways.note(host, [host])
        dialer, wary_dialer = (
            Dialer(
                self.network,
                self.clock,
                TargetRules.parse(allow_targets),
                own_ports=refusal,
                timeout_seconds=dial_seconds,
            )
            for refusal in (None, gateways.refusal)
        )
        self.targets = Targets(
            self.clock,
            dialer,
            wary_dialer,
            self.slots,
            self.memory,
            "127.0.0.1",
            dial_seconds,
            texts,
        )
        self.exposures = Exposures(self.clock, wishes, self.announced.append)
        parts = AgentParts(
            clock=self.clock,
            dial=Dialer(
                GatheredNetwork(self.network, found=gateways.note),
                self.clock,
                TargetRules.parse(None),
                own_ports=None,
                timeout_seconds=10.0,
            ).dial,
            targets=self.targets,
            memory=self.memory,
            exposures=self.exposures,
            backoff=Backoff(
                initial=5.0, multiplier=2.0, maximum=30.0, max_attempts=max_attempts
            ),
            texts=texts,
            random_bytes=lambda size: bytes(range(size)),
            random=lambda: 0.0,
            linger=self.linger,
            identities=Identities(self.identity, self.read_token, "agent.key"),
        )
        settings = AgentSettings(
            servers=tuple(servers),
            connections=connections,
            auto=auto,
            session=SessionSettings(
                roles=AGENT, window=WINDOW, heartbeat_seconds=heartbeat
            ),
            link=LinkSettings(window=WINDOW),
            dial_seconds=dial_seconds,
        )
        self.service = AgentService(settings, parts, self.give_up, shutdown_timeout)

    def give_up(self):
        self.gave_up += 1

    def start(self):
        """Start the agent."""
        self.service.startService()

    def dials(self):
        """Return the gateways that were dialled, in order."""
        return [(one.address, one.port) for one in self.network.attempts]

    def refuse(self):
        """Let the attempt that waits fail."""
        self.network.attempts[-1].fail(ConnectionRefusedError(111, "refused"))

    def reach(self):
        """Let the attempt that waits succeed; return the gateway's end."""
        gateway = FarEnd(self.network.attempts[-1].succeed())
        self.gateways.append(gateway)
        return gateway

    def linked(self, **ack):
        """Connect and be accepted; return the gateway's end."""
        gateway = self.reach()
        gateway.says(hello_ack(**ack))
        gateway.heard()
        return gateway

    def up(self, **ack):
        """Start and be accepted by the gateway."""
        self.start()
        return self.linked(**ack)

    def wait(self, seconds, step=0.25):
        """Let time pass; sockets do what is due at each step."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for gateway in self.gateways:
                gateway.transport.pump()
