"""Timers and rules of streams that chance seldom hits, one world for each."""

import gc
from collections import Counter
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from gateway.agent.targets import TargetDial
from gateway.config.agent import AgentLimits
from gateway.config.common import FlowConfig
from gateway.config.gateway import LimitsConfig
from gateway.link.protocol import LinkProtocol
from gateway.link.stream import StreamTransport
from gateway.mux.core import Core
from gateway.mux.negotiated import Negotiated
from gateway.mux.session import Session
from gateway.mux.stream import State
from gateway.relay.near import NearProtocol
from gateway.relay.pair import DirectTarget
from gateway.server.connection import Connection
from gateway.wire.codec import FrameDecoder
from tests.sim import oracles
from tests.sim.kernel import FOREVER, Manner
from tests.sim.talkers import Script, TalkerFactory
from tests.sim.world import CLOSED_PORT, GATE, SILENT_PORT, TARGETS, World

PORT = 10_500
BULK_PORT = 99
ASK = Script(says=400, ends="finish")


class WorldCase(SynchronousTestCase):
    """A test with a world: a gateway, the agent "left", and targets beside it."""

    gateway_options: ClassVar[dict[str, Any]] = {}
    agent_options: ClassVar[dict[str, Any]] = {}
    link: ClassVar[Manner] = Manner()

    def setUp(self):
        self.world = World(7)
        self.world.link_manner = self.link
        self.addCleanup(self.world.close)
        self.addCleanup(self.check_laws)
        self.world.start_gateway(**self.gateway_options)
        self.world.open_targets("left")
        self.agent = self.world.start_agent("left", "left", **self.agent_options)
        self.world.until(lambda: self.agent.connected)

    def check_laws(self):
        """What must hold in every world."""
        for talker in list(self.world.crowd.present):
            talker.leave()
        self.world.clock.run(10.0)
        oracles.bytes_are_those_said(self.world)
        oracles.nothing_was_logged_as_a_bug(self.world)
        oracles.streams_end_once(self.world)

    def come(self, kind="echo", script=ASK):
        """Map a port to a kind of target and let a visitor come to it."""
        target = {"closed": CLOSED_PORT, "silent": SILENT_PORT}.get(kind)
        target = TARGETS[kind][0] if target is None else target
        views = self.world.gateway.parts.mappings.views()
        port = next(
            (v.mapping.port for v in views if v.mapping.target_port == target), 0
        )
        if not port:
            port = PORT + len(views)
            self.world.map(port, target)
        return self.world.come(port, script)

    def connection(self, agent=None):
        """Return the connection of the agent's only link."""
        (found,) = self.world.link_connections(agent or self.agent)
        return found

    def took(self, condition, seconds=60.0):
        """Return how long it takes until something is so."""
        began = self.world.clock.seconds()
        self.world.until(condition, seconds)
        return self.world.clock.seconds() - began

    def assert_between(self, low, value, high):
        self.assertTrue(low <= value <= high, f"{value} is not in {low}..{high}")

    def visits(self):
        """Return how many visitors the gateway counts."""
        return self.world.gateway.parts.mappings.visitors

    def gone(self, talker):
        return lambda: talker.ending is not None


class OpeningTests(WorldCase):
    """A visitor waits for its target."""

    gateway_options: ClassVar[dict[str, Any]] = {"open_timeout": 4.0}

    def test_a_visitor_is_reset_when_the_open_timeout_passes(self):
        self.connection().block(FOREVER, towards_server=False)
        visitor = self.come()
        self.assert_between(3.9, self.took(self.gone(visitor)), 4.1)
        self.assertEqual((visitor.ending, visitor.eof), ("broken", False))
        self.assertEqual(self.visits(), 0)

    def test_a_silent_target_costs_the_agents_patience_only(self):
        visitor = self.come("silent")
        # two seconds less than the gateway's, and not less than half of it
        self.assert_between(1.9, self.took(self.gone(visitor)), 2.1)
        self.assertEqual(visitor.ending, "broken")

    def test_a_closed_port_resets_the_visitor_at_once(self):
        visitor = self.come("closed")
        self.assertLess(self.took(self.gone(visitor)), 0.1)
        self.assertEqual((visitor.ending, visitor.eof), ("broken", False))

    def test_a_visitor_that_half_closes_while_it_waits_is_answered(self):
        self.connection().block(self.world.clock.seconds() + 2.0)
        visitor = self.come("echo", ASK)
        self.world.until(self.gone(visitor))
        self.assertEqual((visitor.ending, visitor.heard), ("clean", 405))

    def test_a_visitor_that_resets_while_it_waits_frees_its_place(self):
        self.connection().block(self.world.clock.seconds() + 3.0)
        visitor = self.come("echo", Script(says=400, leaves=0.5))
        self.world.until(self.gone(visitor))
        self.world.clock.run(0.1)
        self.assertEqual(self.visits(), 0)
        self.world.clock.run(5.0)
        (link,) = self.agent.links
        self.assertEqual(len(link.session.core.streams), 0)
        self.assertEqual(len(self.world.crowd.present), 0)

    def test_early_bytes_of_a_failed_open_reach_nobody(self):
        visitor = self.come("closed", Script(says=9000, ends="finish"))
        self.world.until(self.gone(visitor))
        self.assertIsNone(visitor.partner)
        self.assertEqual(visitor.ending, "broken")


class EarlyDataTests(WorldCase):
    """A link with a round trip of 50 ms."""

    link = Manner(latency=0.025)

    def test_what_a_visitor_says_first_saves_a_round_trip(self):
        """One for the request and its answer; none for the opening before it."""
        visitor = self.come("echo", Script(says=400, ends="stay"))
        self.assert_between(0.05, self.took(lambda: visitor.heard > 0), 0.065)
        self.assertEqual(visitor.ending, None)

    def test_a_target_that_speaks_first_is_heard_as_soon(self):
        visitor = self.come("source", Script(says=0, ends="stay"))
        self.assert_between(0.05, self.took(lambda: visitor.heard > 0), 0.065)


LONG = Manner(latency=0.05, pace=0.0005, buffer=131072, piece=16384)
BULK_BYTES = 500_000
FIRST_WINDOW = 16384


class WindowTests(WorldCase):
    """A link with a round trip of 100 ms, and much to carry."""

    link = LONG

    def restart(self, most, memory=0):
        """Begin again with another largest window."""
        self.world.close()
        self.world = World(7)
        self.world.link_manner = self.link
        self.addCleanup(self.world.close)
        self.world.start_gateway(
            window=FIRST_WINDOW, most=most, limits=LimitsConfig(memory=memory)
        )
        host = self.world.open_targets("left")
        script = Script(says=BULK_BYTES, ends="finish")
        factory = TalkerFactory(self.world.crowd, script)
        host.network.listen("", BULK_PORT, factory).startAccepting()
        self.agent = self.world.start_agent(
            "left", "left", flow=FlowConfig(max_stream_window=most)
        )
        self.world.until(lambda: self.agent.connected)
        self.world.map(PORT, BULK_PORT)

    def fetch(self, script=ASK):
        """Return how long all of it takes."""
        visitor = self.world.come(PORT, script)
        seconds = self.took(self.gone(visitor), 600.0)
        self.assertEqual((visitor.ending, visitor.heard), ("clean", BULK_BYTES))
        return seconds

    def windows(self):
        """Return the largest window of each live stream at the gateway."""
        return [
            end.stream.receiving.window
            for link in self.world.links_of(self.world.gate)
            for end in link.stream_ends()
        ]

    def test_a_window_that_grows_fills_the_path(self):
        """16384 bytes a round trip become as many as the link takes."""
        self.restart(most=FIRST_WINDOW)
        fixed = self.fetch()
        self.restart(most=1 << 20)
        grown = self.fetch()
        self.assert_between(2.5, fixed, 7.0)
        self.assertLess(grown * 4, fixed)

    def test_the_largest_window_is_a_limit(self):
        self.restart(most=1 << 16)
        visitor = self.world.come(PORT, ASK)
        widest = 0
        while visitor.ending is None:
            self.world.clock.run(0.05)
            widest = max([widest, *self.windows()])
        self.assertEqual(widest, 1 << 16)

    def widest(self, script):
        """Return the largest window of a visitor that fetches everything."""
        self.restart(most=1 << 20)
        visitor = self.world.come(PORT, script)
        found = 0
        while visitor.ending is None:
            self.world.clock.run(0.1)
            found = max([found, *self.windows()])
        self.assertEqual((visitor.ending, visitor.heard), ("clean", BULK_BYTES))
        return found

    def test_the_window_of_a_slow_reader_grows_less(self):
        """No further than the kernels on the way make it look fast."""
        slow = self.widest(Script(says=400, reads="slowly"))
        self.assertLess(slow, self.widest(ASK))

    def test_what_has_grown_is_given_back(self):
        self.restart(most=1 << 20, memory=1 << 26)
        visitor = self.world.come(PORT, ASK)
        memory = self.world.gate.network.memory
        self.world.until(lambda: memory.grown > 0)
        self.world.until(self.gone(visitor))
        self.world.clock.run(1.0)
        self.assertEqual((memory.held, memory.grown), (0, 0))

    def test_windows_grow_within_half_of_the_memory(self):
        self.restart(most=1 << 20, memory=1 << 17)
        visitor = self.world.come(PORT, ASK)
        memory = self.world.gate.network.memory
        while visitor.ending is None:
            self.world.clock.run(0.05)
            self.assertLessEqual(memory.grown, 1 << 16)
        self.assertEqual(visitor.ending, "clean")


class FairnessTests(WorldCase):
    """A link with a round trip of 100 ms that bulk streams fill."""

    link = Manner(latency=0.05, pace=0.004, buffer=65536, piece=16384)  # 4 MB/s
    gateway_options: ClassVar[dict[str, Any]] = {"most": 1 << 20}

    def ask(self):
        """Return how long a small question takes to be answered."""
        visitor = self.come("echo", Script(says=400, ends="stay"))
        return self.took(lambda: visitor.heard > 0)

    def test_a_small_answer_does_not_wait_for_the_bulk_before_it(self):
        """It waits for what is in the kernels, and for its turn; not for windows."""
        alone = self.ask()
        script = Script(says=3 * BULK_BYTES, ends="finish")
        factory = TalkerFactory(self.world.crowd, script)
        host = self.world.start_process("left", "bulk targets")
        host.network.listen("", BULK_PORT, factory).startAccepting()
        self.world.map(PORT + 50, BULK_PORT)
        bulk = [self.world.come(PORT + 50, ASK) for _ in range(8)]
        self.world.clock.run(1.0)
        beside = []
        for _ in range(8):
            before = sum(one.heard for one in bulk)
            beside.append(self.ask())
            self.assertGreater(sum(one.heard for one in bulk) - before, 200_000)
        self.assertLess(max(beside), alone + 0.2)  # the windows hold 2 s
        for visitor in bulk:
            self.assertIsNone(visitor.ending)
            visitor.excused = "it was not waited for"


class MemoryTests(WorldCase):
    """A gateway with little memory, and visitors that read nothing."""

    memory = 1 << 20
    gateway_options: ClassVar[dict[str, Any]] = {
        "limits": LimitsConfig(memory=memory),
        "most": 65536,
    }

    def test_who_reads_nothing_makes_room_for_who_does(self):
        """A second after what was granted before has arrived, the limit holds."""
        memory = self.world.gate.network.memory
        deaf = [self.come("flood", Script(says=5, reads="never")) for _ in range(40)]
        self.world.clock.run(2.0)
        for _ in range(50):
            self.world.clock.run(0.1)
            self.assertLessEqual(memory.held, self.memory)
        self.assertGreater(memory.broken, 0)
        self.world.until(lambda: not memory.refusing, 20.0)
        reader = self.come("source", ASK)
        self.world.until(self.gone(reader))
        for visitor in deaf:
            visitor.excused = "it read nothing"

    def test_slow_readers_are_never_broken_off(self):
        slow = [self.come("flood", Script(says=400, reads="slowly")) for _ in range(10)]
        for visitor in slow:
            self.world.until(self.gone(visitor), 2000.0)
            self.assertEqual((visitor.ending, visitor.heard), ("clean", 120_000))
        self.assertEqual(self.world.gate.network.memory.broken, 0)


class LimitTests(WorldCase):
    """A flood of opens meets the agent's limit."""

    agent_options: ClassVar[dict[str, Any]] = {"limits": AgentLimits(streams=5)}

    def test_opens_over_the_limit_are_refused_with_status_6(self):
        visitors = [self.come("mute", Script(says=9, ends="stay")) for _ in range(12)]
        self.world.clock.run(1.0)
        refused = [one for one in visitors if one.ending == "broken"]
        self.assertEqual(len(refused), 7)
        said = [line for line in self.world.trace if "refused: limit reached" in line]
        self.assertEqual(len(said), 7)
        for visitor in visitors:
            visitor.leave()
        self.world.clock.run(1.0)
        visitor = self.come("echo")
        self.world.until(self.gone(visitor))
        self.assertEqual(visitor.ending, "clean")


class LeftoverTests(WorldCase):
    """What a visit leaves behind: nothing that only a collector would find."""

    KINDS = (
        *(Connection, DirectTarget, NearProtocol),
        *(TargetDial, StreamTransport),
    )

    LINK_KINDS = (LinkProtocol, Session, Core, FrameDecoder, Negotiated)

    def alive(self, kinds=KINDS):
        """Return the names of the kinds of which there are instances."""
        found = Counter(map(type, gc.get_objects()))
        return {kind.__name__: found[kind] for kind in kinds if found[kind]}

    def assert_freed(self, port):
        """Let a visitor come and go."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        visitor = self.world.come(port, ASK)
        self.world.until(lambda: self.visits() == 1)
        self.assertNotEqual(self.alive(), {})
        self.world.until(self.gone(visitor))
        self.world.clock.run(10.0)
        self.assertEqual(self.alive(), {})

    def test_a_link(self):
        """Whether its connection was reset or it was told to go."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = self.alive(self.LINK_KINDS)
        self.assertTrue(before)
        for end in ("reset", "told"):
            if end == "reset":
                self.world.link_connections()[0].drop()
            else:
                self.world.links.disconnect("left", "test")
            self.world.until(lambda: not self.agent.connected)
            self.world.until(lambda: self.agent.connected)
            self.world.clock.run(10.0)
            for process in (self.world.gate, self.agent.process):
                process.reactor.getDelayedCalls()  # forgets those that were made
            self.assertEqual(self.alive(self.LINK_KINDS), before, end)

    def test_a_visit_through_an_agent(self):
        for number, target in enumerate((TARGETS["echo"][0], CLOSED_PORT)):
            self.world.map(PORT + number, target)
            self.assert_freed(PORT + number)

    def test_a_direct_visit(self):
        self.world.open_targets(GATE)
        direct: dict[str, Any] = {"use_tunnel": False, "agent": None}
        for number, target in enumerate((TARGETS["echo"][0], CLOSED_PORT)):
            self.world.map(PORT + number, target, target_host="127.0.0.1", **direct)
            self.assert_freed(PORT + number)


class IdleTests(WorldCase):
    """Silence is no fault."""

    def test_an_idle_stream_lives_for_an_hour(self):
        visitor = self.come("echo", Script(says=400, ends="stay"))
        self.world.clock.run(3600.0)
        self.assertIsNone(visitor.ending)
        self.assertEqual(visitor.heard, 405)
        visitor.release()
        self.world.until(self.gone(visitor))
        self.assertEqual(visitor.ending, "clean")

    def test_a_deaf_visitor_stalls_nobody_else(self):
        deaf = self.come("flood", Script(says=5, reads="never"))
        self.world.clock.run(5.0)
        began = self.world.clock.seconds()
        others = [self.come("flood", ASK) for _ in range(3)]
        for other in others:
            self.world.until(self.gone(other))
            self.assertEqual((other.ending, other.heard), ("clean", 120_000))
        self.assertLess(self.world.clock.seconds() - began, 2.0)
        self.world.clock.run(100.0)
        self.assertIsNone(deaf.ending)
        deaf.release()
        self.world.until(self.gone(deaf))
        self.assertEqual((deaf.ending, deaf.heard), ("clean", 120_000))

    def test_an_answer_that_is_not_taken_to_its_end_is_given_up(self):
        """What is left to flush is aborted after 30 seconds without progress."""
        self.world.near_manner = Manner(0.0005, 0.0001, 4096, 4096)
        visitor = self.come("source", Script(says=5, ends="finish", reads="never"))
        self.world.until(lambda: visitor.partner is None and self.closed_streams(), 5.0)
        self.assertEqual((self.visits(), len(self.world.links.linger)), (1, 1))
        self.assert_between(28.0, self.took(self.gone(visitor)), 31.0)
        self.assertEqual((visitor.ending, visitor.eof), ("broken", False))
        self.assertEqual((self.visits(), len(self.world.links.linger)), (0, 0))

    def closed_streams(self):
        """Return how many streams the gateway said closed."""
        return sum(n for (side, _), n in self.world.closed.items() if side == "gateway")


class LossTests(WorldCase):
    """A link dies while streams run over it."""

    def test_a_half_open_link_is_noticed_within_three_intervals(self):
        for deaf, options in (
            ("gateway", {"towards_client": False}),
            ("agent", {"towards_server": False}),
            ("both", {}),
        ):
            connection = self.connection()
            visitor = self.come("echo", Script(says=50, ends="stay"))
            self.world.clock.run(0.1)
            connection.block(FOREVER, **options)
            end = connection.server if deaf == "gateway" else connection.client
            self.assert_between(9.0, self.took(lambda end=end: end.closed), 16.0)
            self.world.until(self.gone(visitor), 20.0)
            self.assertEqual((visitor.ending, visitor.eof), ("broken", False), deaf)
            self.world.clock.run(20.0)
            self.assertTrue(self.agent.connected)

    def test_a_lost_link_resets_what_was_not_finished(self):
        visitor = self.come("slow", Script(says=5000, ends="answer"))
        self.world.clock.run(0.15)
        target = visitor.partner
        self.assertGreater(visitor.heard, 0)
        self.connection().drop()
        self.world.until(self.gone(visitor))
        self.world.until(self.gone(target))
        for talker in (visitor, target):
            self.assertEqual((talker.ending, talker.eof), ("broken", False))

    def test_a_direction_whose_fin_has_arrived_is_flushed_when_the_link_dies(self):
        self.world.near_manner = Manner(0.001, 0.01, 4096, 500)
        visitor = self.come("source", Script(says=5, ends="stay"))
        (link,) = self.world.links_of(self.world.gate)
        self.world.until(
            lambda: [
                s for s in link.session.core.streams.values() if s.state is State.FR
            ],
            10.0,
        )
        self.assertLess(visitor.heard, 60_000)
        self.connection().drop()
        self.world.until(lambda: visitor.eof)
        self.assertEqual(visitor.heard, 60_000)
        visitor.leave()

    def test_a_link_that_takes_nothing_is_dropped_after_the_write_timeout(self):
        """Though the agent can still say that it lives."""
        connection = self.connection()
        connection.block(FOREVER, towards_server=False)
        sayer = Script(says=100_000, ends="finish")
        visitors = [self.come("sink", sayer) for _ in range(12)]
        self.assert_between(9.9, self.took(lambda: connection.server.closed), 10.5)
        for visitor in visitors:
            self.world.until(self.gone(visitor))
            self.assertEqual((visitor.ending, visitor.eof), ("broken", False))
