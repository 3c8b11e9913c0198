"""Names, numbers and goodbyes of links, one world for each rule."""

from typing import Any, ClassVar

from pydantic import SecretStr

from gateway.config.agent import Expose, ReconnectConfig
from gateway.config.places import HostPort, local_place
from gateway.server.kept_ports import WRITE_SECONDS
from gateway.wire import frames, messages
from gateway.wire.codec import encode_frame
from gateway.wire.hello import Hello, encode_hello
from tests.sim import oracles
from tests.sim.kernel import FOREVER
from tests.sim.peers import LINK_PORT, LegacyAgent, Made, Wire
from tests.sim.talkers import Script
from tests.sim.test_scenarios import ASK, PORT, WorldCase
from tests.sim.world import GATE, TARGETS

TOKEN = SecretStr("0f1e2d3c4b5a69788796a5b4")
STAY = Script(says=50, ends="stay")


class NameTests(WorldCase):
    """Two processes of one name."""

    def test_the_newest_process_takes_the_name_and_the_loser_retries_slowly(self):
        visitor = self.come("echo", STAY)
        other = self.world.start_agent("left", "left")
        self.world.until(lambda: other.connected)
        self.world.until(self.gone(visitor))
        self.assertEqual((visitor.ending, visitor.eof), ("broken", False))
        self.assertFalse(self.agent.connected)
        began = len(self.world.trace)
        self.world.clock.run(60.0)
        refused = [
            line for line in self.world.trace[began:] if "the gateway refused" in line
        ]
        # at the longest wait of 4 seconds, a tenth of which may be taken off
        self.assert_between(12, len(refused), 17)
        self.assertTrue(other.connected)
        again = self.come("echo")
        self.world.until(self.gone(again))
        self.assertEqual(again.ending, "clean")

    def test_the_loser_is_back_when_the_winner_has_gone(self):
        other = self.world.start_agent("left", "left")
        self.world.until(lambda: other.connected)
        self.world.outcome(other.stop())
        self.assertLess(self.took(lambda: self.agent.connected), 4.5)

    def test_a_killed_process_is_replaced_before_its_link_is_missed(self):
        self.agent.kill(power=True)
        other = self.world.start_agent("left", "left")
        self.assertLess(self.took(lambda: other.connected), 0.1)
        visitor = self.come("echo")
        self.world.until(self.gone(visitor))
        self.assertEqual(visitor.ending, "clean")

    def test_a_port_scan_takes_nothing_from_a_live_agent(self):
        scanner = self.world.start_process("right", "scanner")
        for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 20, b"\xff" * 6):
            coming = scanner.network.connect("203.0.113.1", LINK_PORT, Made(Wire), 5.0)
            self.world.outcome(coming).transport.write(noise)
        self.world.clock.run(60.0)
        self.assertTrue(self.agent.connected)
        self.assertEqual([view.name for view in self.world.links.views()], ["left"])
        self.assertEqual(len(self.world.links_of(self.world.gate)), 1)


class NumberTests(WorldCase):
    """Several links of one process."""

    agent_options: ClassVar[dict[str, Any]] = {"connections": 3}

    def test_visitors_spread_over_the_links(self):
        for _ in range(9):
            self.come("echo", STAY)
        self.world.clock.run(0.1)
        loads = [len(link.session.core.streams) for link in self.agent.links]
        self.assertEqual(loads, [3, 3, 3])

    def test_one_dying_link_costs_its_own_streams_only(self):
        visitors = [self.come("echo", STAY) for _ in range(9)]
        self.world.clock.run(0.1)
        self.world.link_connections()[1].drop()
        self.world.clock.run(1.0)
        lost = [one for one in visitors if one.ending]
        self.assertEqual([one.ending for one in lost], ["broken"] * 3)
        self.assertTrue(self.agent.connected)

    def test_a_link_of_the_same_number_replaces_a_dead_one_at_once(self):
        first = self.world.link_connections()[0]
        first.block(FOREVER, towards_server=True, towards_client=True)
        visitors = [self.come("echo", STAY) for _ in range(3)]
        # the agent's side of the connection breaks; the gateway hears nothing of it
        first.client.receive_reset()
        self.world.clock.run(0.1)
        self.assertFalse(self.agent.connected)
        self.assertFalse(first.server.closed)
        self.world.until(lambda: self.agent.connected, 5.0)
        self.assertTrue(first.server.closed)
        self.assertEqual(self.world.links.views()[0].links, 3)
        self.assertEqual(len([one for one in visitors if one.ending]), 1)


class ReconnectTests(WorldCase):
    """Finding the gateway again."""

    agent_options: ClassVar[dict[str, Any]] = {
        "reconnect": ReconnectConfig(initial=1.0, multiplier=2.0, max=8.0, jitter=0.0)
    }

    def test_waits_grow_to_the_longest_and_start_anew_after_a_heartbeat(self):
        self.world.kernel.names.fault = "missing"
        self.world.clock.run(6.0)
        self.connection().drop()
        began = len(self.world.trace)
        self.world.clock.run(40.0)
        waits = [
            float(line.split("next try in ")[1].split()[0])
            for line in self.world.trace[began:]
            if "next try in" in line
        ]
        self.assertEqual(waits[:6], [1.0, 2.0, 4.0, 8.0, 8.0, 8.0])
        self.world.kernel.names.fault = None
        self.assertLess(self.took(lambda: self.agent.connected), 8.1)

    def test_a_name_that_is_never_answered_is_given_up_and_tried_again(self):
        self.world.kernel.names.fault = "silent"
        self.connection().drop()
        self.world.clock.run(12.0)
        self.world.kernel.names.fault = None
        self.assertLess(self.took(lambda: self.agent.connected), 11.0)

    def test_a_partition_heals(self):
        self.world.partition("left", self.world.clock.seconds() + 40.0)
        visitor = self.come("echo", STAY)
        self.world.until(self.gone(visitor))
        self.assertEqual(visitor.ending, "broken")
        self.world.clock.run(40.0)
        self.assertLess(self.took(lambda: self.agent.connected), 20.0)


class GoodbyeTests(WorldCase):
    """Both ends can leave politely."""

    gateway_options: ClassVar[dict[str, Any]] = {"shutdown_timeout": 8.0}

    def test_a_stopping_gateway_lets_streams_finish(self):
        visitor = self.come("slow", Script(says=50, ends="finish"))
        self.world.clock.run(0.01)
        stopped = self.world.gateway.stopService()
        self.world.outcome(stopped, 5.0)
        self.assertEqual((visitor.ending, visitor.heard), ("clean", 2000))
        oracles.nothing_is_left(_Stopped(self.world, self.agent))

    def test_a_stopping_gateway_resets_what_does_not_finish(self):
        visitor = self.come("echo", STAY)
        self.world.clock.run(0.1)
        began = self.world.clock.seconds()
        self.world.outcome(self.world.gateway.stopService(), 15.0)
        self.assert_between(7.9, self.world.clock.seconds() - began, 8.2)
        self.world.clock.run(1.0)
        self.assertEqual((visitor.ending, visitor.eof), ("broken", False))
        oracles.nothing_is_left(_Stopped(self.world, self.agent))

    def test_a_stopping_agent_lets_streams_finish(self):
        visitor = self.come("slow", Script(says=50, ends="finish"))
        self.world.clock.run(0.01)
        self.world.outcome(self.agent.stop(), 5.0)
        self.world.until(self.gone(visitor))
        self.assertEqual((visitor.ending, visitor.heard), ("clean", 2000))

    def test_no_visitor_goes_to_an_agent_that_leaves(self):
        staying = self.come("echo", STAY)
        self.world.clock.run(0.1)
        self.agent.stop()
        self.world.clock.run(0.1)
        self.world.visit(PORT, ASK, self.fail)
        self.world.clock.run(1.0)
        self.assertEqual((self.world.refused, staying.ending), ([PORT], None))
        self.world.until(self.gone(staying))
        self.assertEqual(staying.ending, "broken")

    def test_removing_a_mapping_with_patience_lets_visitors_finish(self):
        slow = self.come("slow", Script(says=50, ends="finish"))
        stay = self.come("slow", STAY)
        self.world.clock.run(0.05)
        mappings = self.world.gateway.parts.mappings
        view = self.world.now(mappings.remove(PORT, "tcp", 3.0))
        self.assertEqual(view.state, "draining")
        self.world.until(self.gone(slow))
        self.assertEqual(slow.ending, "clean")
        self.assert_between(1.0, self.took(self.gone(stay)), 3.1)
        self.assertEqual((stay.ending, mappings.visitors), ("broken", 0))


class _Stopped:
    """A world as `nothing_is_left` asks for it: its gateway alone."""

    def __init__(self, world, agent):
        self.gate, self.gateway = world.gate, world.gateway
        self.agents = []
        world.outcome(agent.stop(), 10.0)


class RegistrationTests(WorldCase):
    """Ports that agents ask for."""

    agent_options: ClassVar[dict[str, Any]] = {
        "expose": (Expose(name="web", local=local_place(str(TARGETS["echo"][0]))),)
    }

    def setUp(self):
        super().setUp()
        self.world.until(lambda: self.agent.announced)

    def port(self):
        (view,) = self.world.gateway.parts.mappings.views()
        return view.mapping.port

    def test_a_port_survives_a_reconnect(self):
        port = self.port()
        self.connection().drop()
        self.world.clock.run(20.0)
        self.assertEqual(self.port(), port)
        visitor = self.world.come(port, ASK)
        self.world.until(self.gone(visitor))
        self.assertEqual(visitor.ending, "clean")
        self.world.clock.run(60.0)
        self.assertEqual(self.port(), port)

    def test_a_port_is_given_back_30_seconds_after_its_agent_left(self):
        self.world.outcome(self.agent.stop())
        mappings = self.world.gateway.parts.mappings
        self.assert_between(29.0, self.took(lambda: not mappings.views()), 30.1)
        self.world.clock.run(2 * WRITE_SECONDS)  # that it is kept is stored
        timers = oracles.snapshot(self.world)["gateway"][1]
        looks = {
            "LoopLag._sample",
            "MemoryWatch._look",
            "Repeating._beat",
            "Sampler._look",
        }
        self.assertEqual(set(timers), looks)


class ScriptedTests(WorldCase):
    """Peers that greet oddly or not at all."""

    gateway_options: ClassVar[dict[str, Any]] = {
        "auth_token": TOKEN,
        "hello_timeout": 5.0,
    }
    agent_options: ClassVar[dict[str, Any]] = {"token": TOKEN}

    def peer(self):
        process = self.world.start_process("right", "stranger")
        coming = process.network.connect("203.0.113.1", LINK_PORT, Made(Wire), 5.0)
        return self.world.outcome(coming)

    def test_a_silent_peer_is_dropped_when_the_hello_timeout_passes(self):
        peer = self.peer()
        self.assert_between(4.9, self.took(lambda: peer.ended), 5.1)
        self.assertTrue(any("Unauthorized" in line for line in self.world.trace))

    def test_a_peer_without_the_token_is_told_so(self):
        peer = self.peer()
        peer.say(encode_hello(Hello(instance="0123456789abcdef")))
        self.world.until(lambda: peer.heard, 5.0)
        self.assertEqual(peer.kinds(), [frames.HELLO_ACK])
        self.assertIn(b"error", peer.heard[0][1])
        self.assertTrue(self.agent.connected)


class LegacyTests(WorldCase):
    """Other people's agents and gateways."""

    gateway_options: ClassVar[dict[str, Any]] = {
        "legacy_high_water": 32768,
        "legacy_low_water": 16384,
    }

    def legacy(self, form):
        agent = LegacyAgent(self.world, "left", form)
        self.addCleanup(agent.stop)
        self.world.until(lambda: self.world.links.has("default"))
        for kind in ("echo", "source", "flood", "greeter"):
            target = TARGETS[kind][0]
            self.world.map(PORT + 100 + target, target, agent="default")
        return agent

    def visit(self, kind, script):
        visitor = self.world.come(PORT + 100 + TARGETS[kind][0], script)
        visitor.way = "legacy"
        return visitor

    def test_an_agent_of_the_short_form_is_served_at_once(self):
        agent = self.legacy("short")
        visitor = self.visit("source", STAY)
        self.assertLess(self.took(self.gone_or_heard(visitor, 60_000)), 0.5)
        self.assertEqual([request[2] for request in agent.requests], [None])

    def test_an_agent_of_the_long_form_is_served_after_a_second(self):
        agent = self.legacy("long")
        visitor = self.visit("source", STAY)
        self.assert_between(1.0, self.took(self.gone_or_heard(visitor, 60_000)), 1.5)
        self.assertEqual(
            [request[2] for request in agent.requests], [None, "127.0.0.1"]
        )
        again = self.visit("source", STAY)
        self.assertLess(self.took(self.gone_or_heard(again, 60_000)), 0.5)
        self.assertEqual(len(agent.requests), 3)

    def gone_or_heard(self, visitor, size):
        return lambda: visitor.ending is not None or visitor.heard >= size

    def test_a_deaf_visitor_pauses_the_link_five_seconds_and_is_closed(self):
        self.legacy("short")
        deaf = self.visit("flood", Script(says=5, reads="never"))
        self.world.clock.run(1.0)
        other = self.visit("source", STAY)
        self.assert_between(0.0, self.took(self.gone_or_heard(other, 60_000)), 6.5)
        self.world.until(self.gone(deaf), 40.0)
        self.assertEqual(deaf.ending, "broken")
        self.world.clock.run(40.0)
        oracles.legacy_pauses_are_short(self.world)
        self.assertTrue(self.world.pauses)

    def test_a_lost_link_resets_its_visitors(self):
        agent = self.legacy("short")
        visitor = self.visit("echo", STAY)
        self.world.clock.run(0.5)
        agent.link.transport.abortConnection()
        self.world.until(self.gone(visitor))
        self.assertEqual((visitor.ending, visitor.eof), ("broken", False))

    def test_a_silent_connection_takes_the_name_from_nobody(self):
        agent = self.legacy("short")
        scanner = self.world.start_process("right", "scanner")
        for _ in range(3):
            self.world.outcome(
                scanner.network.connect("203.0.113.1", LINK_PORT, Made(Wire), 5.0)
            )
        self.world.clock.run(30.0)
        self.assertIsNone(agent.link.ended)
        visitor = self.visit("greeter", STAY)
        self.world.until(self.gone_or_heard(visitor, 900), 5.0)
        self.assertEqual(visitor.heard, 900)

    def test_our_agent_serves_a_gateway_that_knows_no_hello(self):
        """It says HELLO, which such a gateway passes over, and then obeys."""
        built = Made(lambda: Wire(self.legacy_gateway))
        old = self.world.start_process(GATE, "legacy gateway")
        old.network.listen("", 9100, built).startAccepting()
        agent = self.world.start_agent(
            "left", "old", server=(HostPort("203.0.113.1", 9100),)
        )
        self.world.until(lambda: agent.links and agent.links[0].legacy, 10.0)
        link = built.built[0]
        link.say(
            messages.encode_connect_request(
                messages.ConnectRequest(0, TARGETS["greeter"][0], None)
            )
        )
        self.world.until(lambda: frames.CONNECT_RESPONSE in link.kinds(), 5.0)
        hello = (0).to_bytes(4, "big") + b"V\x00\x00\x00\x63"
        link.say(encode_frame(frames.DATA, hello))
        self.world.until(lambda: frames.DATA in link.kinds(), 5.0)
        link.say(messages.encode_close(0))
        self.world.clock.run(1.0)
        self.assertEqual(len(agent.links[0].session.core.streams), 0)
        # its visitor number 99 was never there
        for talker in self.world.crowd.talkers:
            talker.faults.clear()

    def legacy_gateway(self, link, kind, payload):
        """Answer keep-alives, and say one to begin with."""
        if kind == frames.HELLO:
            link.say(encode_frame(frames.KEEP_ALIVE))
