"""One world: a gateway, its agents, visitors and targets on simulated hosts."""

from collections import Counter
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from gateway.app.agent import build_agent
from gateway.app.gateway import build_gateway
from gateway.app.world import Surroundings
from gateway.config.agent import AgentConfig, AgentLimits, ReconnectConfig
from gateway.config.common import BufferConfig, FlowConfig
from gateway.config.gateway import GatewayConfig, StatsConfig, TunnelConfig
from gateway.config.places import HostPort
from gateway.errors import GatewayError
from gateway.link.protocol import LinkProtocol
from gateway.policy.mapping import MappingWish
from gateway.store.memory import MemoryMappingStore
from gateway.texts import Texts
from tests.sim.clock import SimClock
from tests.sim.kernel import FOREVER, Kernel, Manner
from tests.sim.process import Process
from tests.sim.talkers import Crowd, Script, Talker, TalkerFactory

LINK_PORT = 9000
GATE, TOWN = "gate", "town"
ADDRESSES = {
    "203.0.113.1": GATE,
    "10.0.0.1": "left",
    "10.0.0.2": "right",
    "198.51.100.1": TOWN,
}
GATE_NAME = "gate.test"
EPOCH = 1_800_000_000
TEXTS = Texts("en")

# kind of target -> its port on every host that has targets, and its script
TARGETS: dict[str, tuple[int, Script]] = {
    "echo": (7, Script(says=5, echoes=True, ends="answer")),
    "source": (19, Script(says=60_000, ends="finish")),
    "flood": (20, Script(says=120_000, ends="finish")),
    "sink": (9, Script(says=50, ends="answer", starts="asked")),
    "greeter": (21, Script(says=900, ends="answer")),
    "slow": (10, Script(says=2000, reads="slowly", chunk=500, every=0.1)),
    "deaf": (11, Script(says=400, reads="never", ends="stay")),
    "mute": (12, Script(says=0, ends="stay")),
    "resetting": (13, Script(says=3000, ends="reset", every=0.05, chunk=1000)),
}
CLOSED_PORT, SILENT_PORT = 14, 15


class Agent:
    """One process of an agent.

    Attributes:
        service: the product's own.
        announced: public addresses it was told.
        gave_up: how often it gave up.
    """

    def __init__(self, world, host, name, config):
        self.name = name
        self.process = Process(world.kernel, host, f"agent {name} on {host}")
        self.process.poller.on_watch = world.watch_pauses
        self.announced: list[str] = []
        self.gave_up = 0
        self.stopped = False
        self._world = world
        self.service = build_agent(
            config,
            self.process.reactor,
            "en",
            self._note_end,
            self.announced.append,
            world=world.surroundings,
            network=self.process.network,
        )
        self.service.startService()

    def _note_end(self):
        self.gave_up += 1

    @property
    def links(self):
        """Return its links that are up."""
        return [keeper.link for keeper in self.service.keepers if keeper.link]

    @property
    def connected(self):
        """Whether every link is up and usable."""
        links = self.links
        return len(links) == len(self.service.keepers) and all(
            link.usable for link in links
        )

    def stop(self):
        """Stop it in order; return what fires at the end."""
        self._world.note(f"{self.process.name} is told to stop")
        self.stopped = True
        return self.service.stopService()

    def kill(self, *, power=False):
        """End it without a word."""
        how = "loses its power" if power else "is killed"
        self._world.note(f"{self.process.name} {how}")
        self.stopped = self._world.agent_died = True
        self.process.kill(power=power)


class World:
    """Everything that a simulation consists of.

    Attributes:
        clock: the one clock.
        kernel: hosts, names, sockets.
        chance: where every choice comes from.
        crowd: visitors and targets.
        gateway: the product's service.
        agents: processes of agents, dead ones included.
        trace: what happened, with its time.
        errors: what the product logged as its own bug.
        opened: (process side, trace id) -> how often "opened" was logged.
        closed: the same for "closed".
        refused: ports that visitors could not connect to.
        agent_died: a process of an agent was killed.
        pauses: times at which each legacy link was paused and read again.
    """

    def __init__(self, seed, *, tell=None, manner=None):
        self.seed = seed
        self.clock = SimClock()
        self.chance = Random(seed)
        self.kernel = Kernel(self.clock, seed, manner or self._manner)
        self.kernel.addresses.update(ADDRESSES)
        self.kernel.names.known[GATE_NAME] = ["203.0.113.1"]
        self.link_manner = Manner()
        self.near_manner = Manner(0.0005, 0.0001, 32768, 32768)
        self.trace: list[str] = []
        self.tell = tell
        self.errors: list[str] = []
        self.opened: Counter[tuple[str, str]] = Counter()
        self.closed: Counter[tuple[str, str]] = Counter()
        self.pauses: dict[LinkProtocol, list[tuple[float, bool]]] = {}
        self.crowd = Crowd(self.clock, self.note)
        self.agents: list[Agent] = []
        self.gateway: Any = None
        self.gate: Any = None
        self.store = MemoryMappingStore()
        self.fatal: list[str] = []
        self.town = Process(self.kernel, TOWN, "town")
        self.refused: list[int] = []
        self.agent_died = False
        inner = Random(seed ^ 0x5EED)
        self.surroundings = Surroundings(
            wall_clock=lambda: EPOCH + self.clock.seconds(),
            random_bytes=inner.randbytes,
            random=inner.random,
            randrange=inner.randrange,
        )
        self._others: list[Process] = []
        self._observer: Any = self._observe
        globalLogPublisher.addObserver(cast(Any, self._observer))

    def close(self):
        """Give back what the world holds outside itself."""
        globalLogPublisher.removeObserver(self._observer)
        agents = [agent.process for agent in self.agents]
        for process in [self.town, self.gate, *agents, *self._others]:
            if process is not None and not process.dead:
                process.kill()
        for call in self.clock.getDelayedCalls()[:]:
            call.cancel()

    def _manner(self, source, target):
        between = {source, target}
        return (
            self.link_manner
            if between & {"left", "right"} and len(between) > 1
            else self.near_manner
        )

    # what is told

    def note(self, text):
        """Remember one line."""
        line = f"{self.clock.seconds():10.4f}  {text}"
        self.trace.append(line)
        if self.tell is not None:
            self.tell(line)

    def _observe(self, event):
        if not event.get("log_namespace", "").startswith(("gateway.", "tests.sim")):
            return
        if "log_failure" in event or event["log_level"] is LogLevel.critical:
            failure = event.get("log_failure")
            words = failure.getTraceback() if failure else formatEvent(event)
            self.errors.append(words)
            self.note(f"BUG {words}")
            return
        if "trace" in event and "phrase" in event:
            side = "gateway" if "port" in event else "agent"
            self._count(event["phrase"], side, event["trace"])
        self.note(f"| {formatEvent(event)}")

    def _count(self, phrase, side, trace):
        if phrase == TEXTS("stream_opened"):
            self.opened[side, trace] += 1
        elif phrase == TEXTS("stream_closed"):
            self.closed[side, trace] += 1

    def watch_pauses(self, descriptor, mask):
        """Note when a process stops to read a link, and when it goes on."""
        link = getattr(descriptor, "protocol", None)
        if isinstance(link, LinkProtocol) and (link in self.pauses or link.legacy):
            self.pauses.setdefault(link, []).append(
                (self.clock.seconds(), not mask & 1)
            )

    # who is there

    def start_gateway(
        self, *, shutdown_timeout=10.0, limits=None, most=65536, **tunnel
    ):
        """Build and start the gateway; its mappings come from the store."""
        extra: dict[str, Any] = {
            "flow": FlowConfig(max_stream_window=most),
            "stats": StatsConfig(enabled=False),  # it is there to remember
        }
        if limits is not None:
            extra["limits"] = limits
        tunnel = {"heartbeat_interval": 5.0, "window": 65536} | tunnel
        config = GatewayConfig(
            tunnel=TunnelConfig(**tunnel),
            shutdown_timeout=shutdown_timeout,
            buffers=BufferConfig(read_size=16384),
            **extra,
        )
        self.gate = Process(self.kernel, GATE, "gateway")
        self.gate.poller.on_watch = self.watch_pauses
        self.gate.network.read_size = config.buffers.read_size
        self.config = config
        self.gateway = build_gateway(
            config,
            self.gate.reactor,
            "en",
            self.fatal.append,
            world=self.surroundings,
            network=self.gate.network,
            store=self.store,
        )
        self.gateway.privilegedStartService()
        self.gateway.startService()
        return self.gateway

    def start_agent(self, host, name, **options):
        """Build and start an agent."""
        chosen: dict[str, Any] = {
            "connections": 1,
            "heartbeat_interval": 5.0,
            "window": 65536,
            "flow": FlowConfig(max_stream_window=65536),
            "shutdown_timeout": 5.0,
            "reconnect": ReconnectConfig(initial=0.5, multiplier=2.0, max=4.0),
            "limits": AgentLimits(streams=1000),
            "server": (HostPort(GATE_NAME, LINK_PORT),),
        } | options
        config = AgentConfig(name=name, buffers=BufferConfig(read_size=16384), **chosen)
        agent = Agent(self, host, name, config)
        agent.process.network.read_size = config.buffers.read_size
        self.agents.append(agent)
        return agent

    def start_process(self, host, name):
        """Return a process for a scripted peer."""
        process = Process(self.kernel, host, name)
        self._others.append(process)
        return process

    def open_targets(self, host):
        """Let every kind of target listen on a host."""
        process = self.start_process(host, f"targets on {host}")
        for kind, (port, script) in TARGETS.items():
            factory = TalkerFactory(self.crowd, script)
            process.network.listen("", port, factory).startAccepting()
            self.note(f"target {kind} on {host} port {port}")
        self.kernel.silent.add((host, SILENT_PORT))
        return process

    def map(self, port, target_port, **wish):
        """Create a mapping at once."""
        chosen: dict[str, Any] = {"use_tunnel": True, "agent": "left"} | wish
        return self.now(
            self.gateway.parts.mappings.create(
                MappingWish(port=port, target_port=target_port, **chosen)
            )
        )

    def now(self, coroutine, patience_seconds=10.0):
        """Return what a coroutine returns, letting time pass if it must."""
        outcome = Deferred.fromCoroutine(coroutine)
        return self.outcome(outcome, patience_seconds)

    def outcome(self, deferred, patience_seconds=10.0):
        """Return what a Deferred fires with, letting time pass if it must."""
        found: list[Any] = []
        deferred.addBoth(found.append)
        self.clock.run_while(lambda: not found, patience_seconds)
        if not found:
            raise AssertionError(f"nothing came within {patience_seconds:g} s")
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0]

    def is_legacy(self, talker):
        """Tell whether a conversation goes over a link without credit."""
        visitor = talker if talker.visitor else talker.partner
        return visitor is not None and visitor.way == "legacy"

    def was_withdrawn(self, talker):
        """Tell whether a direct conversation was ended by the operator."""
        visitor = talker if talker.visitor else talker.partner
        return visitor is not None and visitor.way == "direct" and visitor.excused

    @property
    def links(self):
        """Return the gateway's register of links."""
        return self.gateway.parts.links

    def links_of(self, process):
        """Return the links of a process, in the order of their birth."""
        return process.poller.links()

    def link_connections(self, agent=None):
        """Return the live connections of links: of one agent's process, or all."""
        processes = [agent.process] if agent else [one.process for one in self.agents]
        return [
            one
            for one in self.kernel.connections.values()
            if one.client.process in processes
            and one.client.getsockname()[0] != "127.0.0.1"
        ]

    def until(self, condition, seconds=30.0):
        """Let time pass until something is so; fail if it does not come."""
        self.clock.run_while(lambda: not condition(), seconds)
        if not condition():
            raise AssertionError(f"it did not happen within {seconds:g} s")

    # visitors

    def visit(self, port, script, arrived, *, address="203.0.113.1"):
        """Let a visitor come to a public port; `arrived` is called with it."""
        factory = TalkerFactory(self.crowd, script, visitor=True)
        coming = self.town.network.connect(address, port, factory, 5.0)
        coming.addCallbacks(arrived, lambda _fault: self.refused.append(port))

    def come(self, port, script):
        """Let a visitor come and wait until it is there."""
        here: list[Talker] = []
        self.visit(port, script, here.append)
        self.until(lambda: here, 5.0)
        return here[0]

    # trouble

    def heal(self):
        """Let everything move again; what vanished for ever stays so."""
        self.kernel.names.fault = None
        for connection in self.kernel.connections.values():
            for lane in connection.lanes():
                if 0 < lane.blocked_until < FOREVER:
                    lane.block(0.0)
        for one, other in ((GATE, "left"), (GATE, "right")):
            self.kernel.block_path(one, other, 0.0)

    def partition(self, host, until=FOREVER):
        """Cut a host off from the gateway, without a word to either."""
        self.kernel.block_path(host, GATE, until)
        for agent in self.agents:
            if agent.process.host == host:
                for connection in self.link_connections(agent):
                    connection.block(until)


def quietly(call, *args):
    """Make a call of the API; a refusal is an answer too."""
    try:
        return call(*args)
    except GatewayError as fault:
        return fault
