"""One seed: a random crowd, random faults, then peace, and every law is checked."""

from random import Random
from typing import Any

from gateway.config.agent import AgentLimits, ReconnectConfig
from gateway.config.common import FlowConfig
from gateway.ops.refusals import WINDOW_SECONDS
from gateway.policy.mapping import MappingChanges
from tests.sim import faults, oracles
from tests.sim.kernel import Manner
from tests.sim.peers import LegacyAgent
from tests.sim.talkers import Script
from tests.sim.world import (
    CLOSED_PORT,
    GATE,
    SILENT_PORT,
    TARGETS,
    World,
    quietly,
)

STREAMS, FAULTS = 50, 5  # at least
STORM_SECONDS = 25.0
CHECK_SECONDS = 0.5
FIRST_PORT = 10_001
OBLIGING = ("echo", "source", "flood", "sink", "greeter", "slow")
UNKIND = ("deaf", "mute", "resetting", "closed", "silent")
NAMES = ("left", "right")


class Storm(World):
    """A world with a plan, all of it drawn from the seed.

    Attributes:
        ports: public port -> how it is mapped.
        obliging: kinds of target that bring a conversation to its end.
        silences: links that fell silent for ever.
        heartbeat: seconds between keep-alives.
    """

    obliging = OBLIGING

    def __init__(self, seed, *, tell=None):
        super().__init__(seed, tell=tell)
        chance = self.chance
        self.heartbeat = chance.choice((2.0, 3.0, 5.0))
        self.window = chance.choice((16384, 16384, 32768, 65536))
        self.agent_window = chance.choice((16384, 32768, 65536))
        growth = Random(seed).choice((1, 1, 4, 16))
        self.most, self.agent_most = self.window * growth, self.agent_window * growth
        self.frame = chance.choice((4100, 16384, 262144))
        self.read_size = 16384
        self.direct_bound = 65536 + 8 * self.read_size
        self.legacy_bound = chance.choice((65536, 1 << 20))
        self.link_manner = Manner(
            latency=chance.uniform(0.001, 0.05),
            pace=chance.uniform(0.0001, 0.002),
            buffer=chance.choice((8192, 32768, 65536)),
            piece=chance.choice((1500, 8192, 65536)),
        )
        self.near_manner = Manner(
            latency=0.0005,
            pace=0.0001,
            buffer=chance.choice((4096, 16384, 65536)),
            piece=chance.choice((4096, 65536)),
        )
        self.ports: dict[int, dict[str, Any]] = {}
        self.silences: list[faults.Silence] = []
        self.excesses: list[str] = []
        self.sick: dict[str, str] = {}
        self.legacy: LegacyAgent | None = None
        self.links_each = {name: chance.choice((1, 1, 2)) for name in NAMES}
        self.kernel.on_read = lambda sock: oracles.held_bytes_are_bounded(self, sock)
        self.begun = self.faulty = 0

    # -- the beginning -------------------------------------------------------------

    def begin(self):
        """Start everybody and wait until all are connected."""
        with_legacy = self.chance.random() < 0.3
        self.start_gateway(
            heartbeat_interval=self.heartbeat,
            window=self.window,
            most=self.most,
            max_frame=self.frame,
            legacy_high_water=self.legacy_bound,
            legacy_low_water=self.legacy_bound // 2,
            connect_request=self.chance.choice(("auto", "short", "long")),
        )
        for name in NAMES:
            self.open_targets(name)
            self.agent_of(name)
        self.open_targets(GATE)
        self.until(lambda: all(agent.connected for agent in self.agents))
        self._map_all("left", "left")
        self._map_all("right", "right")
        self._map_all("direct", None, use_tunnel=False, target_host="127.0.0.1")
        if with_legacy:
            self.legacy = LegacyAgent(
                self, "left", self.chance.choice(("short", "long"))
            )
            self._map_all("legacy", "default")
            self.until(lambda: self.links.has("default"))
        self.clock.run(0.2)
        self.before = oracles.snapshot(self)

    def agent_of(self, name):
        """Start the agent of a name, or another of that name."""
        return self.start_agent(
            name,
            name,
            heartbeat_interval=self.heartbeat,
            window=self.agent_window,
            flow=FlowConfig(max_stream_window=self.agent_most),
            max_frame=self.frame,
            connections=self.links_each[name],
            dial_timeout=2.0,
            shutdown_timeout=3.0,
            limits=AgentLimits(streams=200),
            reconnect=ReconnectConfig(initial=0.5, multiplier=2.0, max=4.0),
        )

    def _map_all(self, way, agent, **wish):
        kinds = [*TARGETS, "closed", "silent"]
        if way != "left":
            kinds = self.chance.sample(kinds, 5)
        for kind in kinds:
            port = FIRST_PORT + len(self.ports)
            target = {"closed": CLOSED_PORT, "silent": SILENT_PORT}.get(kind)
            if target is None:
                target = TARGETS[kind][0]
            self.ports[port] = {
                "kind": kind,
                "way": way if way in ("legacy", "direct") else "tunnel",
                "agent": agent,
                "target": target,
                "wish": wish,
            }
            self.map_again(port)

    def map_again(self, port):
        """Make the mapping of a port, if there is none."""
        mapped = self.ports[port]
        wish = {"agent": mapped["agent"]} | mapped["wish"]
        quietly(lambda: self.map(port, mapped["target"], **wish))

    # -- what faults say -----------------------------------------------------------

    def later(self, seconds, call, *args):
        """Plan a call that is no process's own."""
        self.clock.callLater(seconds, call, *args)

    def another(self, agent):
        """Start a new process of an agent's name on its host."""
        self.harm(agent.name, "another process took its name")
        return self.agent_of(agent.name)

    def harm(self, name, reason):
        """Excuse every conversation of an agent, now and until it has recovered."""
        self.sick[name] = reason
        for visitor in self._under_way():
            if visitor.agent == name:
                visitor.excused = reason

    def _under_way(self):
        """Return the visitors whose conversation is not over at both ends."""
        present = self.crowd.present
        return [
            one
            for one in self.crowd.visitors
            if one in present or one.partner in present
        ]

    def orphan(self, process, *, power):
        """Note that the near ends of a process which dies cannot know why.

        The kernel of a killed process ends its connections in order where it can,
        so that even a truncated conversation looks complete.
        """
        for connection in list(self.kernel.connections.values()):
            if connection.client.process is process and connection.server.talker:
                connection.server.talker.orphaned = True
                if power:
                    connection.server.receive_reset()

    def excuse(self, name):
        """Return why a visitor of an agent may fail now, or None."""
        if name is None:
            return None
        if self.links.pick(name) is None:
            return "there is no agent"
        if sum(one.name == name and not one.stopped for one in self.agents) > 1:
            return "its name is disputed"
        reason = self.sick.get(name)
        if reason is not None and self._recovered(name):
            del self.sick[name]
            return None
        return reason

    def _recovered(self, name):
        if name == "default":
            return False
        agents = [one for one in self.agents if one.name == name]
        living = [one for one in agents if not one.stopped]
        if not living or not living[-1].connected:
            return False
        found = [one for agent in agents for one in self.link_connections(agent)]
        return len(found) == self.links_each[name] and not any(
            one.client.closed
            or one.server.closed
            or one.client.broken
            or one.server.broken
            or one.client.out.blocked_until > self.clock.seconds()
            or one.client.into.blocked_until > self.clock.seconds()
            for one in found
        )

    # -- what oracles ask ----------------------------------------------------------

    def windows(self):
        """Return every process with links, and the largest window it grants."""
        yield self.gate, self.most
        for agent in self.agents:
            if not agent.process.dead:
                yield agent.process, self.agent_most

    def window_towards(self, talker):
        """Return the credit that whoever serves a talker grants."""
        return self.most if talker.visitor else self.agent_most

    # -- the storm -----------------------------------------------------------------

    def storm(self):
        """Let the crowd come and everything go wrong."""
        chance = self.chance
        start = self.clock.seconds()
        visits = STREAMS + chance.randrange(10)
        plan = [
            (chance.uniform(0, STORM_SECONDS), self._visitor) for _ in range(visits)
        ]
        troubles = [
            chance.choice(faults.FAULTS) for _ in range(FAULTS + chance.randrange(5))
        ]
        plan += [
            (chance.uniform(1, STORM_SECONDS), self._trouble(one)) for one in troubles
        ]
        plan += [(chance.uniform(1, STORM_SECONDS), self._change) for _ in range(2)]
        for when, act in sorted(plan, key=lambda step: step[0]):
            self._go(start + when)
            act()
        self._go(start + STORM_SECONDS)

    def _go(self, moment):
        """Let time pass and look at the laws now and then."""
        while self.clock.seconds() < moment:
            self.clock.run_until(min(moment, self.clock.seconds() + CHECK_SECONDS))
            self.look()

    def look(self):
        """Check what must hold at any time."""
        for law in oracles.ALWAYS:
            law(self)
        oracles.dead_links_are_noticed(self)

    def _trouble(self, fault):
        def act():
            self.faulty += 1
            fault(self)

        return act

    def _change(self):
        port = self.chance.choice(sorted(self.ports))
        changes = MappingChanges(name=f"changed at {self.clock.seconds():.0f}")
        self.note(f"mapping {port} is renamed")
        quietly(lambda: self.now(self.gateway.parts.mappings.update(port, changes)))

    def _visitor(self):
        port = self.chance.choice(sorted(self.ports))
        self.send(port, self._script())

    def send(self, port, script):
        """Let a visitor come to a port and excuse what may befall it."""
        mapped = self.ports[port]
        name = mapped["agent"]
        self.begun += 1
        early = self.excuse(name)

        def arrived(visitor):
            visitor.port, visitor.agent = port, name
            visitor.target, visitor.way = mapped["kind"], mapped["way"]
            visitor.excused = early or self.excuse(name)
            self.note(f"{visitor} comes to {port} ({visitor.way} {visitor.target})")

        self.visit(port, script, arrived)

    def _script(self):
        chance = self.chance
        size = chance.choice((0, 5, 300, 5000, 16_384, 20_000, 32_768, 60_000, 120_000))
        manner = chance.random()
        every = chance.choice((0.0, 0.0, 0.0, 0.02, 0.1)) if size < 30_000 else 0.0
        if manner < 0.6:
            return Script(
                says=size, ends="finish", every=every, chunk=chance.choice((700, 16384))
            )
        if manner < 0.7:
            return Script(says=size, ends="finish", reads="slowly")
        if manner < 0.85:
            return Script(
                says=size, ends="answer", leaves=chance.choice((0.0, 0.01, 0.2, 3.0))
            )
        if manner < 0.93:
            return Script(says=size, ends="finish", reads="never")
        return Script(says=size, ends="reset", every=every)

    # -- peace ---------------------------------------------------------------------

    def calm(self):
        """Heal everything; all must come back and come to an end."""
        self.note("PEACE everything is healed")
        self.heal()
        self._go(self.clock.seconds() + 3 * self.heartbeat + 22.0)
        oracles.agents_are_back(self)
        for agent in self.agents:
            if not agent.stopped and not agent.connected:
                agent.stop()  # another of its name has won
        self._release()
        for port, mapped in self.ports.items():
            self.map_again(port)
            if mapped["kind"] in OBLIGING:
                self.send(port, Script(says=3000, ends="finish"))
        self._go(self.clock.seconds() + 12.0)
        for talker in list(self.crowd.present):
            partner = talker.partner
            if not talker.script.cooperative and (
                partner is None or not partner.script.cooperative or talker.visitor
            ):
                talker.leave()
        self._go(self.clock.seconds() + 45.0)
        self._await_rest()
        for law in oracles.AT_THE_END:
            law(self)
        oracles.tables_are_as_before(self, self.before)

    def _await_rest(self):
        """Let time pass until refusals are forgotten, as the product promises.

        An address is remembered for a window, and for a second one if it was refused
        again; whatever is remembered longer breaks the law of tables.
        """
        end = self.clock.seconds() + 2 * WINDOW_SECONDS
        while oracles.refusals_are_remembered(self) and self.clock.seconds() < end:
            self._go(self.clock.seconds() + 1.0)

    def _release(self):
        for talker in list(self.crowd.present):
            if not talker.script.cooperative:
                talker.release()

    # -- the end -------------------------------------------------------------------

    def end(self):
        """Stop the gateway while somebody talks, then the agents."""
        for port in sorted(self.ports)[:6]:
            self.send(port, self._script())
        self.clock.run(self.chance.uniform(0.0, 0.5))
        for visitor in self._under_way():
            visitor.excused = "the gateway stopped"
        self.note("the gateway is told to stop")
        self.outcome(self.gateway.stopService(), 30.0)
        self.note("the gateway has stopped")
        for agent in self.agents:
            if not agent.stopped:
                self.outcome(agent.stop(), 30.0)
        if self.legacy is not None:
            self.legacy.stop()
        for talker in list(self.crowd.present):
            talker.leave()
        self.clock.run(40.0)
        self.look()
        for law in oracles.AT_THE_END:
            law(self)
        oracles.nothing_is_left(self)
        assert self.begun >= STREAMS
        assert self.faulty >= FAULTS


def run_seed(seed, *, tell=None):
    """Live through one seed; return its world.

    Raises:
        BrokenLawError: what was wrong, with the command that shows it again.
    """
    world = Storm(seed, tell=tell)
    try:
        world.begin()
        world.storm()
        world.calm()
        world.end()
    except Exception as fault:
        world.note(f"BROKEN {fault}")
        fault.args = (f"{fault}\nseed {seed}; to see it: python -m tests.sim {seed}",)
        raise
    finally:
        world.close()
    return world
