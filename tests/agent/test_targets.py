"""Targets that the gateway asks for."""

import json
import struct

from gateway.errors import UnresolvableError
from gateway.policy.hops import MOST_HOPS
from gateway.wire import frames
from tests.agent.rig import AgentCase
from tests.link.rig import KEEP_ALIVE, data
from tests.strategies import raw_frame, with_id


class TargetsCase(AgentCase):
    """An agent with one link."""

    def setUp(self):
        super().setUp()
        self.gateway = self.up()

    def open(self, stream_id=1, port=80, host=b"", meta=b"", protocol=1):
        """Ask for a target."""
        head = struct.pack("!IBHB", stream_id, protocol, port, len(host))
        payload = head + host + struct.pack("!H", len(meta)) + meta
        self.gateway.says(raw_frame(frames.OPEN, payload))

    def answers(self):
        """Return (stream id, status) of each answer since the last call."""
        return [
            (int.from_bytes(payload[:4], "big"), payload[4])
            for kind, payload in self.gateway.heard()
            if kind == frames.CONNECT_RESPONSE
        ]

    def targets_dialled(self):
        return self.dials()[1:]


class CircleTests(TargetsCase):
    """Targets that lead back to the gateway."""

    def ask(self, stream_id, port=10080, host=b"10.0.0.7", **meta):
        self.open(stream_id, port, host, json.dumps(meta).encode())

    def setUp(self):
        AgentCase.setUp(self)
        self.build(
            servers=(("192.0.2.1", 9000), ("gw.test", 9000)),
            allow_targets=("0.0.0.0/0", "::/0"),
        )
        self.gateway = self.up()

    def test_a_port_of_the_gateway_is_not_dialled_at_its_address(self):
        self.ask(1, host=b"192.0.2.1", gateway_port=True)
        self.assertEqual([(1, 0x05)], self.answers())
        self.assertEqual([], self.targets_dialled())
        self.assertEqual(1, len(self.lines("is a port of the gateway itself")))

    def test_nor_at_any_other_that_its_name_had(self):
        self.gateway.transport.peer_resets()
        self.wait(5)
        self.refuse()
        self.network.answer("198.51.100.7", "2001:db8::7")
        self.gateway = self.linked()
        for stream_id, host in enumerate((b"198.51.100.7", b"2001:db8::7"), 1):
            self.ask(stream_id, host=host, gateway_port=True)
        self.assertEqual([(1, 0x05), (2, 0x05)], self.answers())

    def test_nor_by_a_name(self):
        self.ask(1, host=b"also-gw.test", gateway_port=True)
        self.network.answer("192.0.2.1")
        self.assertEqual([(1, 0x05)], self.answers())

    def test_other_ports_and_other_machines_are(self):
        self.ask(1, host=b"192.0.2.1", port=22)
        self.ask(2, host=b"192.0.2.2", gateway_port=True)
        self.ask(3, host=b"192.0.2.1", gateway_port="yes")
        self.assertEqual(3, len(self.targets_dialled()))

    def test_a_gateway_on_loopback_is_its_own_to_judge(self):
        """A tunnel of another kind may lead from there to a gateway elsewhere."""
        self.build(servers=(("127.0.0.1", 9000),))
        self.gateway = self.up()
        self.ask(1, host=b"127.0.0.1", gateway_port=True)
        self.assertEqual([("127.0.0.1", 10080)], self.targets_dialled())

    def local(self):
        return "{}:{}".format(*self.network.attempts[-1].local)

    def test_a_visitor_that_is_a_dial_of_this_agent_has_come_back(self):
        self.ask(1, visitor="203.0.113.9:5000")
        for stream_id in range(2, MOST_HOPS + 3):
            self.assertEqual([], self.answers())
            self.ask(stream_id, visitor=self.local())
        self.assertEqual([(MOST_HOPS + 2, 0x05)], self.answers())
        self.assertEqual(MOST_HOPS + 1, len(self.targets_dialled()))
        self.assertEqual(1, len(self.lines("it has passed here more than 4 times")))

    def test_what_the_gateway_has_counted_counts(self):
        self.ask(1, visitor="203.0.113.9:5000", hops=MOST_HOPS)
        self.ask(2, visitor=self.local())
        self.ask(3, visitor="203.0.113.9:5000", hops=MOST_HOPS + 1)
        self.ask(4, visitor="203.0.113.9:5000", hops=10**100)
        self.assertEqual([(2, 0x05), (3, 0x05), (4, 0x05)], self.answers())

    def test_what_a_header_says_of_the_visitor_does_not_matter(self):
        self.ask(1, visitor="203.0.113.9:5000", hops=MOST_HOPS)
        self.ask(2, visitor="203.0.113.9:5000", peer=self.local())
        self.assertEqual([(2, 0x05)], self.answers())

    def test_nonsense_is_no_count(self):
        nonsense: tuple[dict[str, object], ...] = (
            {"hops": -1},
            {"hops": True},
            {"hops": "9"},
            {"hops": None, "visitor": None},
            {"visitor": ":" + "9" * 60},
            {"visitor": "[::1]:\u0661"},
            {"visitor": ["a:1"]},
            {"visitor": "203.0.113.9:5000", "peer": 7},
        )
        for stream_id, meta in enumerate(nonsense, 1):
            self.ask(stream_id, **meta)
        self.assertEqual(len(nonsense), len(self.targets_dialled()))


class DialTests(TargetsCase):
    """Where it leads."""

    def test_without_a_host_the_default_one_is_meant(self):
        self.open()
        self.assertEqual([("127.0.0.1", 80)], self.targets_dialled())
        self.network.attempts[-1].succeed()
        self.assertEqual([(1, frames.SUCCESS)], self.answers())

    def test_a_host_is_dialled_where_it_is_allowed(self):
        self.open(host=b"127.0.0.9", port=81)
        self.assertEqual([("127.0.0.9", 81)], self.targets_dialled())

    def test_a_name_is_judged_by_the_address_it_leads_to(self):
        self.open(host=b"nas.test")
        self.network.answer("127.0.0.1")
        self.assertEqual([("127.0.0.1", 80)], self.targets_dialled())
        self.open(2, host=b"evil.test")
        self.network.answer("10.0.0.1")
        self.assertEqual([(2, 0x05)], self.answers())

    def test_what_is_not_allowed_is_refused_and_logged(self):
        self.open(host=b"10.0.0.1", port=22)
        self.assertEqual([], self.targets_dialled())
        self.assertEqual([(1, 0x05)], self.answers())
        (line,) = self.lines("not among the allowed targets")
        self.assertIn("10.0.0.1:22", line)
        self.assertEqual(0, self.slots.active)

    def test_a_legacy_gateway_hears_of_a_failure_only(self):
        self.build()
        self.start()
        self.gateway = self.reach()
        self.gateway.says(KEEP_ALIVE)
        self.gateway.heard()
        long_form = struct.pack("!HB", 22, 8) + b"10.0.0.1"
        self.gateway.says(with_id(frames.CONNECT_REQUEST, 7, long_form))
        self.assertEqual([(7, 0x01)], self.answers())

    def test_faults_have_their_status(self):
        for number, (fault, status) in enumerate(
            (
                (ConnectionRefusedError(111, "refused"), 0x02),
                (TimeoutError(110, "timed out"), 0x03),
                (OSError(113, "no route to host"), 0x01),
                (OSError(24, "too many open files"), 0x06),
            ),
            1,
        ):
            self.open(number)
            self.network.attempts[-1].fail(fault)
            self.assertEqual([(number, status)], self.answers())
            self.assertEqual(0, self.slots.active)

    def test_a_name_without_an_address(self):
        self.open(host=b"nowhere.test")
        self.network.lookups[-1][1].errback(UnresolvableError("nothing"))
        self.assertEqual([(1, 0x04)], self.answers())

    def test_a_dial_takes_as_long_as_the_agent_says(self):
        self.open(host=b"slow.test")
        self.wait(5)
        self.assertEqual([(1, 0x03)], self.answers())
        self.assertEqual(0, self.slots.active)

    def test_other_protocols_and_port_0_are_refused(self):
        self.open(1, protocol=2)
        self.open(2, port=0)
        self.assertEqual([], self.targets_dialled())
        self.assertEqual([(1, 0x01), (2, 0x01)], self.answers())
        self.assertEqual(0, self.slots.active)
        self.open(3)  # the link goes on
        self.assertEqual(1, len(self.targets_dialled()))

    def test_there_is_a_limit_of_streams(self):
        self.build(streams=1)
        self.gateway = self.up()
        self.open(1)
        self.open(2)
        self.assertEqual([(2, 0x06)], self.answers())
        target = self.network.attempts[-1].succeed()
        self.assertEqual(1, self.slots.active)
        target.peer_resets()
        self.assertEqual(0, self.slots.active)
        self.open(3)
        self.assertEqual(1, self.slots.active)

    def test_no_stream_begins_when_memory_is_short(self):
        self.build(memory=800)
        self.gateway = self.up()
        self.memory.hold(701)
        self.open(1)
        self.assertEqual([(1, 0x06)], self.answers())
        self.assertEqual((0, 1), (self.slots.total, self.memory.refused))
        self.memory.let_go(701)
        self.open(2)
        self.network.attempts[-1].succeed()
        self.assertEqual([(2, frames.SUCCESS)], self.answers())

    def test_only_visitors_that_use_their_share_are_refused_then(self):
        self.build(memory=1 << 24)
        self.gateway = self.up()
        self.memory.count_kernel((1 << 24) - 1)
        self.memory.shares.update({"203.0.113.9": (1 << 24) - 1})
        self.open(1, meta=b'{"visitor": "203.0.113.9:5000"}')
        self.assertEqual([(1, 0x06)], self.answers())
        self.open(2, meta=b'{"visitor": "203.0.113.8:5000"}')
        self.network.attempts[-1].succeed()
        self.assertEqual([(2, frames.SUCCESS)], self.answers())

    def test_a_bug_costs_one_stream(self):
        self.open(1)
        self.network.attempts[-1].fail(ZeroDivisionError())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual([frames.RESET], self.gateway.kinds())
        self.assertEqual(0, self.slots.active)
        self.open(2)
        self.network.attempts[-1].succeed()
        self.assertEqual([(2, frames.SUCCESS)], self.answers())


class EndTests(TargetsCase):
    """How a stream ends."""

    def test_a_reset_gives_the_dial_up(self):
        self.open()
        self.gateway.says(with_id(frames.RESET, 1, b"\0"))
        self.assertTrue(self.network.attempts[-1].cancelled)
        self.assertEqual(0, self.slots.active)
        self.assertEqual(1, len(self.lines("connection closed")))

    def test_a_lost_link_gives_the_dial_up(self):
        self.open()
        self.gateway.transport.peer_resets()
        self.assertTrue(self.network.attempts[-1].cancelled)
        self.assertEqual(0, self.slots.active)

    def test_a_lost_link_aborts_the_targets(self):
        self.open()
        target = self.network.attempts[-1].succeed()
        self.gateway.transport.peer_resets()
        target.pump()
        self.assertTrue(target.aborted)
        self.assertEqual(0, self.slots.active)

    def test_a_target_that_finished_is_counted_until_its_socket_is_gone(self):
        self.open()
        target = self.network.attempts[-1].succeed()
        target.peer_finishes()
        self.gateway.says(data(1, b"last"), with_id(frames.FIN, 1))
        self.assertEqual(1, self.slots.active)
        target.peer_reads()
        self.assertEqual(0, self.slots.active)
        self.assertEqual(0, len(self.linger))

    def test_its_life_is_logged_in_two_lines_and_one_for_those_who_look_closely(self):
        meta = b'{"visitor": "203.0.113.9:5000", "trace": "t-1"}'
        self.open(meta=meta)
        target = self.network.attempts[-1].succeed()
        self.gateway.says(data(1, b"12345"))
        target.peer_sends(b"123")
        self.clock.advance(1.5)
        target.peer_resets()
        dial, first, second = self.lines("t-1: ")
        self.assertEqual("dialling: t-1: 203.0.113.9:5000 to 127.0.0.1:80", dial)
        self.assertEqual(
            "connection opened: t-1: 203.0.113.9:5000 to 127.0.0.1:80", first
        )
        self.assertRegex(
            second,
            "^connection closed: t-1: 203.0.113.9:5000 to 127.0.0.1:80: .*, "
            "5 bytes sent, 3 received, 1.500 s$",
        )

    def test_what_a_gateway_tells_of_a_visitor_is_cut(self):
        self.open(meta=b'{"visitor": "%s", "trace": "%s"}' % (b"v" * 500, b"t" * 500))
        self.network.attempts[-1].succeed()
        (line,) = self.lines("connection opened")
        self.assertLess(len(line), 200)
