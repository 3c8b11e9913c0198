"""A gateway starts and stops in order."""

import errno
import os
from typing import Any, cast

from gateway.errors import StoreError
from gateway.ops.certificates import CertificateWatch
from gateway.ops.repeating import Repeating
from gateway.ops.slices import Slices
from gateway.policy.budget import Budget
from gateway.policy.mapping import Mapping, Target
from gateway.relay.memory import MemoryWatch
from gateway.server.recorder import Recorder, RecorderSettings
from gateway.server.sampling import Sampler
from gateway.server.service import (
    ApiEdge,
    GatewayParts,
    GatewayService,
    StartError,
)
from gateway.server.traffic import Traffic
from gateway.wire import frames
from tests.link.rig import answer, data, goaway, hello
from tests.server.rig import NOON, GatewayCase
from tests.strategies import with_id

LINK_PORT = 9000
API_PORT = 8080
HEALTH_PORT = 8081


class ServiceCase(GatewayCase):
    """A whole gateway whose ports are the test's."""

    def setUp(self):
        super().setUp()
        self.successResultOf(self.ensure(self.store.close()))
        self.store.opens = self.store.closes = 0
        self.fatal: list[str] = []
        self.api_closed = 0
        self.asks_draining: Any = None
        self.assemble()

    def assemble(
        self, *, tunnel=True, shutdown_timeout=30.0, configured=(), health_place=None
    ):
        self.watch = Repeating(self.clock, 1.0, lambda: None)
        traffic = Traffic(self.mappings, self.links, Slices(self.clock))
        settings = RecorderSettings(True, 60.0, 604800.0, 1000)
        self.recorder = Recorder(
            self.clock, self.store, traffic, self.wall_now, settings
        )
        self.service = GatewayService(
            GatewayParts(
                clock=self.clock,
                network=self.network,
                store=self.store,
                links=self.links,
                credentials=self.credentials,
                bans=self.bans,
                link_factory=self.factory,
                mappings=self.mappings,
                memory=MemoryWatch(self.clock, self.memory, list),
                registrations=self.registrations,
                kept=self.kept,
                configured=configured,
                make_api=self.make_api,
                make_health=self.make_health,
                events=self.happened,
                watches=(self.watch,),
                recorder=self.recorder,
                fatal=self.fatal.append,
                open_warning="anybody can act as an agent",
                certificates=CertificateWatch(self.clock, {}),
                sampler=Sampler(
                    self.clock,
                    Traffic(self.mappings, self.links, Slices(self.clock)),
                    self.wall_now,
                ),
            ),
            link_place=("", LINK_PORT) if tunnel else None,
            api_place=("127.0.0.1", API_PORT),
            health_place=health_place,
            shutdown_timeout=shutdown_timeout,
        )

    api_memory = Budget()

    def make_api(self, draining):
        self.asks_draining = draining
        return ApiEdge(
            site=cast(Any, None), close=self.close_api, memory=self.api_memory
        )

    def make_health(self, draining):
        self.health_draining = draining
        return ApiEdge(site=cast(Any, None), close=self.close_api, memory=Budget())

    def close_api(self):
        self.api_closed += 1

    @property
    def api_port(self):
        return self.network.at(API_PORT)

    def start(self):
        self.service.privilegedStartService()
        self.service.startService()

    def stop(self):
        return self.service.stopService()

    def assert_nothing_is_left(self):
        self.assertEqual([], self.network.open_ports())
        self.assertGreaterEqual(self.api_closed, 1)
        self.assertGreaterEqual(self.store.closes, 1)
        self.clock.advance(0)
        self.assertFalse(self.clock.getDelayedCalls())

    def dial_in(self):
        """Connect an agent to the link port."""
        self.assertTrue(self.network.at(LINK_PORT).accepting)
        return self.agent()


class StartTests(ServiceCase):
    """Bound first, served last."""

    def test_ports_are_bound_while_privileged_and_served_once_all_is_ready(self):
        gate = self.store.hold()
        self.service.privilegedStartService()
        self.assertEqual(0, self.store.opens)
        self.assertEqual([LINK_PORT, API_PORT], self.network.open_ports())
        self.assertTrue(self.network.at(LINK_PORT).gathered)
        self.assertEqual("127.0.0.1", self.api_port.address)
        self.assertIs(self.api_memory, self.api_port.memory)
        self.assertIsNone(self.network.at(LINK_PORT).memory)
        self.service.startService()
        self.assertEqual(1, self.store.opens)
        self.assertEqual([], self.network.served_ports())
        self.assertFalse(self.api_port.accepting)
        gate.callback(None)
        self.assertEqual([LINK_PORT, API_PORT], self.network.served_ports())
        self.assertTrue(self.api_port.accepting)
        self.successResultOf(cast(Any, self.service.ready))
        (line,) = self.lines("gateway ready")
        self.assertIn("agents at *:9000, API at 127.0.0.1:8080, 0 mappings", line)

    def test_the_port_for_probes_tells_from_the_first_moment(self):
        self.assemble(health_place=("", HEALTH_PORT))
        gate = self.store.hold()
        self.start()
        self.assertTrue(self.network.at(HEALTH_PORT).accepting)
        self.assertFalse(self.api_port.accepting)
        gate.callback(None)
        self.assertFalse(self.health_draining())
        self.stop()
        self.assertTrue(self.health_draining())
        self.assertEqual(2, self.api_closed)
        self.assert_nothing_is_left()

    def test_what_passed_is_recorded_until_the_store_closes(self):
        self.start()
        self.stop()
        self.assertEqual(1, self.store.record_calls)
        self.assertEqual(0, len(self.lines("cannot be recorded")))
        self.assert_nothing_is_left()

    def test_start_and_stop_are_told(self):
        self.start()
        self.assertEqual([("gateway", "started", {"mappings": 0})], self.told())
        self.stop()
        self.assertEqual(
            ["started", "draining", "stopped"],
            [action for _, action, _ in self.told("gateway")],
        )

    def test_without_privileges_they_are_bound_at_the_start(self):
        self.service.startService()
        self.assertEqual([LINK_PORT, API_PORT], self.network.served_ports())

    def test_mappings_are_served_before_agents_and_callers_are(self):
        seen = []
        self.successResultOf(self.ensure(self.store.open()))
        self.create()
        self.successResultOf(self.ensure(self.store.close()))
        for one in self.network.opened:
            one.stopListening()
        self.build()
        self.assemble(configured=[_forward(7000)])
        gate = self.store.hold()
        self.start()
        listen = self.network.listen

        def note(address, port, factory, *, gathered=False, tls=None):
            seen.append((port, self.api_port.accepting))
            return listen(address, port, factory, gathered=gathered)

        self.patch(self.network, "listen", note)
        gate.callback(None)
        self.assertEqual([(7000, False), (10080, False)], seen)
        self.assertEqual(
            [LINK_PORT, API_PORT, 7000, 10080], self.network.served_ports()
        )

    def test_a_gateway_without_a_tunnel_has_no_link_port(self):
        self.assemble(tunnel=False)
        self.start()
        self.assertEqual([API_PORT], self.network.open_ports())
        self.assertTrue(self.api_port.accepting)
        self.assertEqual(1, len(self.lines("agents at no port")))
        self.successResultOf(self.stop())
        self.assert_nothing_is_left()

    def test_a_busy_link_port_ends_the_start(self):
        self.network.faults[LINK_PORT] = OSError(errno.EADDRINUSE, "in use")
        fault = self.assertRaises(StartError, self.service.privilegedStartService)
        self.assertIn("tunnel.listen_port: cannot listen on *:9000", str(fault))
        self.assertIn("another program", str(fault))
        self.assertEqual([], self.network.open_ports())

    def test_a_busy_api_port_releases_the_link_port(self):
        for code, advice in (
            (errno.EADDRINUSE, "another program"),
            (errno.EACCES, "CAP_NET_BIND_SERVICE"),
            (errno.EADDRNOTAVAIL, "check the address"),
        ):
            self.network.faults[API_PORT] = OSError(code, os.strerror(code))
            self.assemble()
            fault = self.assertRaises(StartError, self.service.startService)
            self.assertIn(
                "api.listen_port: cannot listen on 127.0.0.1:8080", str(fault)
            )
            self.assertIn(advice, str(fault))
            self.assertEqual([], self.network.open_ports())
        self.assertEqual(3, self.api_closed)

    def test_a_fault_without_a_system_text_is_told_all_the_same(self):
        self.network.faults[LINK_PORT] = OSError("out of luck")
        fault = self.assertRaises(StartError, self.service.privilegedStartService)
        self.assertIn("out of luck", str(fault))

    def test_a_store_that_does_not_open_ends_the_process_and_leaves_nothing(self):
        self.store.fail("the file is corrupt")
        self.start()
        self.assertEqual(["the file is corrupt"], self.fatal)
        self.assertEqual([], self.network.served_ports())
        self.assertFalse(self.api_port.accepting)
        self.successResultOf(self.stop())
        self.assert_nothing_is_left()

    def test_a_store_that_cannot_be_read_leaves_nothing(self):
        self.assemble(configured=[_forward(7000)])
        gate = self.store.hold()
        self.start()
        self.patch(self.store, "load", self.cannot_load)
        gate.callback(None)
        self.assertEqual(1, len(self.fatal))
        self.successResultOf(self.stop())
        self.assert_nothing_is_left()

    async def cannot_load(self):
        raise StoreError("no such table")

    def test_a_bug_of_the_start_is_logged(self):
        self.store.fault = ZeroDivisionError("oops")
        self.start()
        self.assertEqual(["oops"], self.fatal)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_a_stop_during_the_start_lets_nobody_in(self):
        gate = self.store.hold()
        self.start()
        stopping = self.stop()
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(stopping)
        self.assertFalse(self.lines("gateway ready"))
        self.assert_nothing_is_left()

    def test_a_stop_before_the_start(self):
        self.service.privilegedStartService()
        self.successResultOf(self.stop())
        self.assert_nothing_is_left()


class StopTests(ServiceCase):
    """Ports, then visitors and agents, then API and store."""

    def setUp(self):
        super().setUp()
        self.start()
        self.create()

    def test_of_a_gateway_that_nobody_uses(self):
        self.assertFalse(self.asks_draining())
        self.successResultOf(self.stop())
        self.assertTrue(self.asks_draining())
        self.assert_nothing_is_left()
        self.assertEqual(1, len(self.lines("gateway stopped")))

    def busy(self):
        peer = self.dial_in()
        visitor = self.visit()
        peer.says(answer(1))
        peer.heard()
        return peer, visitor

    def test_public_and_link_ports_close_first_and_visitors_may_finish(self):
        peer, visitor = self.busy()
        stopping = self.stop()
        self.assertEqual([API_PORT], self.network.open_ports())
        self.assertTrue(self.api_port.accepting)
        self.assertEqual(0, self.store.closes)
        self.assertEqual([frames.GOAWAY], peer.kinds())
        peer.says(goaway(frames.STOPPING))
        peer.says(data(1, b"rest"), with_id(frames.FIN, 1))
        visitor.peer_finishes()
        visitor.peer_reads()
        self.assertEqual(b"rest", visitor.value())
        peer.heard()
        self.assertNoResult(stopping)
        self.clock.advance(0.05)
        peer.transport.pump()
        self.successResultOf(stopping)
        self.assertFalse(visitor.aborted)
        self.assert_nothing_is_left()

    def test_after_the_time_limit_the_rest_is_reset(self):
        peer, visitor = self.busy()
        stopping = self.stop()
        for _ in range(29):
            peer.says(goaway(frames.STOPPING))
            self.clock.advance(1)
        visitor.pump()
        self.assertFalse(visitor.aborted)
        peer.heard()
        self.clock.advance(1.1)
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertIn(frames.RESET, peer.kinds())
        self.assertFalse(peer.transport.aborted)
        self.clock.advance(1)
        peer.transport.pump()
        self.successResultOf(stopping)
        self.assert_nothing_is_left()

    def test_force_waits_for_nobody(self):
        peer, visitor = self.busy()
        stopping = self.stop()
        self.service.force()
        visitor.pump()
        peer.transport.pump()
        self.successResultOf(stopping)
        self.assertTrue(visitor.aborted)
        self.assert_nothing_is_left()

    def test_a_stop_that_was_forced_before_waits_for_nobody(self):
        peer, _ = self.busy()
        self.service.force()
        stopping = self.stop()
        peer.transport.pump()
        self.successResultOf(stopping)

    def test_without_a_time_limit_nobody_is_waited_for(self):
        self.assemble(shutdown_timeout=0.0)
        self.successResultOf(self.stop())

    def test_twice(self):
        peer, visitor = self.busy()
        first, second = self.stop(), self.stop()
        self.service.force()
        visitor.pump()
        peer.transport.pump()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assert_nothing_is_left()

    def test_an_agent_that_comes_too_late_is_reset(self):
        self.busy()
        self.stop()
        self.assertIsNone(self.connect())

    def test_a_connection_that_never_spoke_does_not_hold_the_stop_up(self):
        silent = self.connect()
        stopping = self.stop()
        silent.transport.pump()
        self.successResultOf(stopping)
        self.assert_nothing_is_left()

    def test_ports_of_agents_go_too(self):
        peer = self.connect()
        peer.says(hello(agent="web"))
        peer.says(b"\x01\x15" + (24).to_bytes(4, "big") + b'{"id": "x", "local": 80}')
        self.assertIn(10000, self.network.served_ports())
        stopping = self.stop()
        self.service.force()
        peer.transport.pump()
        self.successResultOf(stopping)
        self.assert_nothing_is_left()


def _forward(port):
    return Mapping(
        port=port,
        targets=(Target(host="192.0.2.7", port=80, use_tunnel=False),),
        created_at=NOON,
        updated_at=NOON,
    )
