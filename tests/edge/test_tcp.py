"""The visitors of one mapping, counted."""

from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gateway.edge.tcp import Crowd, Recheck, TcpEdge
from gateway.interfaces import IPaced
from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
from gateway.policy.mapping import Mapping, Target
from gateway.policy.visitors import Addresses, VisitorRules
from gateway.relay.deadlines import Deadlines
from gateway.wire.proxy import Place, encode

MAPPING = Mapping(
    port=10080,
    targets=(Target(host="", port=80, use_tunnel=True),),
    created_at=0,
    updated_at=0,
)


@implementer(IPaced)
class Guest(Protocol):
    """A visit that stays until it is closed."""

    holder = buckets = agent = opened_at = waits_for = None
    id, visitor, outcome, over, tallies = "1-1", "127.0.0.1:9", "finished", False, ()
    started_at = received = 0
    rate_bound = False

    def __init__(self, edge, addr=None):
        self._edge = edge
        self.why = None
        self.sent = 0
        self.paces: list[Any] = []
        edge.enter(self, addr)

    @property
    def transport(self):
        return self

    @transport.setter
    def transport(self, value):
        self.socket = value

    def pace(self, clock, inward, outward, *, waited=None):
        self.paces.append(([b.rate for b in inward], [b.rate for b in outward]))

    def close(self, why):
        self.why = why
        self._edge.left(self)


class EdgeCase(SynchronousTestCase):
    """Has an edge and what it shares with others."""

    def setUp(self):
        self.slots = Slots(2)
        self.memory = Budget(1000)
        self.full: list[Any] = []
        self.clock = Clock()
        self.crowd = Crowd(
            clock=self.clock,
            slots=self.slots,
            addresses=Addresses(0),
            memory=self.memory,
            headers=Deadlines(self.clock, 5.0),
        )
        self.edge = self.build(Guest)

    def build(self, admit, **rules):
        return TcpEdge(
            replace(MAPPING, rules=VisitorRules(**rules)),
            self.crowd,
            admit,
            lambda _addr, key: self.full.append(key),
        )

    def come(self):
        return self.edge.buildProtocol(None)


class TcpEdgeTests(EdgeCase):
    """One public port."""

    def test_visitors_are_admitted_up_to_the_limit(self):
        self.assertIsNotNone(self.come())
        self.assertIsNotNone(self.come())
        self.assertIsNone(self.come())
        self.assertEqual(
            (2, ["limits.connections"]), (len(self.edge.visits), self.full)
        )

    def test_the_last_places_are_not_for_the_address_that_has_most(self):
        self.slots.limit = 16

        def come(host):
            address = IPv4Address("TCP", host, 5000)
            return self.edge.buildProtocol(address) is not None

        self.assertEqual(14, [come("192.0.2.66") for _ in range(16)].count(True))
        self.assertEqual(["limits.connections"] * 2, self.full)
        self.assertEqual((14, 2), (self.slots.active, self.slots.rejected))
        self.assertTrue(come("192.0.2.1"))
        self.assertFalse(come("192.0.2.1"))
        self.assertTrue(come("192.0.2.2"))

    def test_only_an_address_that_uses_its_share_is_refused_while_memory_is_short(self):
        crowd = replace(self.crowd, memory=Budget(1 << 24))
        self.edge = TcpEdge(MAPPING, crowd, Guest, lambda _, key: self.full.append(key))
        crowd.memory.count_kernel((1 << 24) - 1)
        crowd.memory.shares.update({"192.0.2.66": (1 << 24) - 1})
        greedy, other = (IPv4Address("TCP", f"192.0.2.{n}", 9) for n in (66, 1))
        self.assertIsNone(self.edge.buildProtocol(greedy))
        self.assertEqual(["limits.memory"], self.full)
        self.assertIsNotNone(self.edge.buildProtocol(other))

    def test_no_visitor_is_admitted_when_memory_is_short(self):
        self.memory.hold(900)
        self.assertIsNone(self.come())
        self.assertEqual(["limits.memory"], self.full)
        self.assertEqual((0, 1), (self.slots.total, self.memory.refused))
        self.memory.let_go(100)
        self.assertIsNotNone(self.come())

    def test_who_leaves_gives_the_place_back(self):
        guest = self.come()
        self.come()
        self.edge.left(guest)
        self.assertEqual(1, self.slots.active)
        self.assertIsNotNone(self.come())

    def test_the_limit_is_that_of_all_edges_together(self):
        other = self.build(Guest)
        other.buildProtocol(None)
        self.come()
        self.assertIsNone(self.come())

    def test_a_visitor_that_cannot_be_admitted_takes_no_place(self):
        def admit(edge, addr):
            raise ZeroDivisionError

        edge = self.build(admit)
        self.assertRaises(ZeroDivisionError, edge.buildProtocol, None)
        self.assertEqual(0, self.slots.active)

    def test_an_empty_edge_is_said_to_be_at_once(self):
        called = []
        self.edge.when_empty(lambda: called.append(1))
        self.assertEqual([1], called)

    def test_the_last_visitor_makes_it_empty_once(self):
        called = []
        one, two = self.come(), self.come()
        self.edge.when_empty(lambda: called.append(1))
        self.edge.left(one)
        self.assertEqual([], called)
        self.edge.left(two)
        self.edge.left(self.come())
        self.assertEqual([1], called)

    def test_all_visits_can_be_closed(self):
        guests = [self.come(), self.come()]
        for _ in range(2):
            self.edge.close_visits("enough")
        self.assertEqual(["enough", "enough"], [guest.why for guest in guests])
        self.assertEqual(0, self.slots.active)


def at(host, port=4000):
    return IPv4Address("TCP", host, port)


class RuleTests(EdgeCase):
    """What a mapping asks of its visitors."""

    def setUp(self):
        super().setUp()
        self.slots.limit = 100

    def change(self, **rules):
        self.edge.change(replace(MAPPING, rules=VisitorRules(**rules)))

    def visit(self, host):
        return self.edge.buildProtocol(at(host))

    def test_visitors_of_one_mapping_are_limited(self):
        self.edge = self.build(Guest, max_connections=2)
        guests = [self.visit(f"192.0.2.{n}") for n in range(4)]
        self.assertEqual([True, True, False, False], [bool(one) for one in guests])
        self.assertEqual(["max_connections"] * 2, self.full)
        self.assertEqual({"max_connections": 2}, self.edge.rejected)
        self.assertEqual((2, 2), (self.edge.total, self.slots.active))
        self.edge.left(guests[0])
        self.assertIsNotNone(self.visit("192.0.2.9"))

    def test_visitors_of_one_address_are_limited_over_all_mappings(self):
        self.crowd.addresses.limit = 1
        other = self.build(Guest)
        guest = self.visit("192.0.2.1")
        self.assertIsNone(other.buildProtocol(at("192.0.2.1")))
        self.assertEqual(["limits.connections_per_ip"], self.full)
        self.assertIsNotNone(other.buildProtocol(at("192.0.2.2")))
        self.edge.left(guest)
        self.assertIsNotNone(other.buildProtocol(at("192.0.2.1")))

    def test_lists_admit_and_keep_out(self):
        for rule, inside, outside in (
            ("whitelist", True, False),
            ("blacklist", False, True),
            ("disabled", True, True),
        ):
            self.edge = self.build(
                Guest, access_rule=rule, access_ips=("192.0.2.0/24", "2001:db8::/32")
            )
            self.assertEqual(inside, self.visit("192.0.2.77") is not None, rule)
            self.assertEqual(outside, self.visit("198.51.100.1") is not None, rule)
        self.assertEqual(["access_rule"] * 2, self.full)

    def test_an_empty_list(self):
        self.edge = self.build(Guest, access_rule="whitelist")
        self.assertIsNone(self.visit("192.0.2.1"))
        self.edge = self.build(Guest, access_rule="blacklist")
        self.assertIsNotNone(self.visit("192.0.2.1"))

    def test_a_changed_list_sends_those_away_who_may_not_come_any_more(self):
        stays, goes = self.visit("192.0.2.1"), self.visit("198.51.100.1")
        self.change(access_rule="whitelist", access_ips=("192.0.2.0/24",))
        self.assertIsNone(stays.why)
        self.assertIn("not admitted any more", goes.why)
        self.assertEqual([stays], list(self.edge.visits))
        self.assertIsNone(self.visit("198.51.100.1"))

    def test_a_changed_list_is_enforced_a_few_connections_at_a_time(self):
        self.slots.limit = 0
        waiting: list[Any] = []
        recheck = Recheck(lambda rows, act: waiting.append((rows, act)))
        self.crowd = replace(self.crowd, recheck=recheck)
        self.edge = self.build(Guest)
        guests = [self.visit("198.51.100.1") for _ in range(5)]
        self.change(access_rule="whitelist", access_ips=("192.0.2.0/24",))
        self.change(access_rule="whitelist", access_ips=("203.0.113.0/24",))
        ((rows, act),) = waiting  # both changes share one walk
        self.assertEqual([None] * 5, [guest.why for guest in guests])
        act(next(rows))
        self.assertEqual(1, sum(guest.why is not None for guest in guests))
        self.edge.left(next(guest for guest in guests if guest.why is None))
        for found in rows:
            act(found)
        self.assertEqual(4, sum(guest.why is not None for guest in guests))
        self.assertFalse(self.edge.visits)

    def test_limits_change_for_those_to_come(self):
        first, second = self.visit("192.0.2.1"), self.visit("192.0.2.1")
        self.change(max_connections=1, max_connections_per_ip=1)
        self.assertEqual((None, None), (first.why, second.why))
        self.assertIsNone(self.visit("192.0.2.2"))
        self.change(max_connections_per_ip=2)
        self.assertIsNone(self.visit("192.0.2.1"))
        self.edge.left(first)
        self.assertIsNotNone(self.visit("192.0.2.1"))

    def test_rates_are_given_to_those_who_are_here(self):
        guest = self.visit("192.0.2.1")
        self.assertFalse(self.edge.paced)
        self.change(bandwidth_limit=5000, connection_bandwidth_limit=3000)
        self.assertTrue(self.edge.paced)
        self.change(bandwidth_limit=7000)
        self.change()
        self.assertEqual(
            [([5000, 3000],) * 2, ([7000],) * 2, ([], [])],
            guest.paces,
        )

    def test_who_is_silent_for_too_long_is_sent_away(self):
        self.edge = self.build(Guest, idle_timeout=8.0)
        silent, busy = self.visit("192.0.2.1"), self.visit("192.0.2.2")
        for _ in range(14):
            busy.sent += 1
            self.clock.advance(1)
        self.assertEqual("idle for 8 seconds", silent.why)
        self.assertIsNone(busy.why)
        self.edge.left(busy)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_an_idle_time_comes_and_goes(self):
        guest = self.visit("192.0.2.1")
        self.change(idle_timeout=8.0)
        self.clock.advance(4)
        self.change()
        self.clock.advance(60)
        self.assertIsNone(guest.why)
        self.assertFalse(self.clock.getDelayedCalls())


class Socket(Protocol):
    """A transport that notes its end."""

    protocol: Any = None
    aborted = False

    def abortConnection(self):
        self.aborted = True


class HeaderTests(EdgeCase):
    """A balancer in front says whom it forwards."""

    def setUp(self):
        super().setUp()
        self.slots.limit = 100
        self.edge = self.build(
            Heard,
            trusted_proxies=("10.0.0.0/8",),
            access_rule="whitelist",
            access_ips=("192.0.2.0/24", "198.51.100.5"),
        )
        self.edge.noisy = False
        self.edge.doStart()

    def connect(self, host="10.0.0.1"):
        reader = self.edge.buildProtocol(at(host))
        transport = Socket()
        transport.protocol = reader
        reader.makeConnection(transport)
        return transport

    def header(self, source="192.0.2.7", form="v2"):
        return encode(form, Place(source, 777), Place("203.0.113.1", 10080))

    def test_the_rules_judge_the_address_in_the_header(self):
        for form in ("v1", "v2"):
            for cut in (0, 1, 5, 13, 20):
                transport = self.connect()
                text = self.header(form=form) + b"hello"
                transport.protocol.dataReceived(text[:cut])
                transport.protocol.dataReceived(text[cut:])
                guest = transport.protocol
                self.assertIsInstance(guest, Heard)
                self.assertEqual(b"hello", guest.heard)
                self.assertEqual("192.0.2.7", self.edge.visits[guest])
                self.edge.left(guest)
        self.assertEqual(0, self.slots.active)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_a_forwarded_stranger_is_turned_away(self):
        transport = self.connect()
        transport.protocol.dataReceived(self.header("203.0.113.9"))
        self.assertTrue(transport.aborted)
        self.assertEqual((["access_rule"], 0), (self.full, self.slots.active))

    def test_a_forwarded_visitor_has_the_share_of_its_own_address(self):
        limit = 1 << 24
        self.memory.limit = self.memory.shares.limit = limit
        self.memory.count_kernel(limit - 1)
        self.memory.shares.update({"192.0.2.66": limit - 1})
        for source, aborted in (("192.0.2.66", True), ("192.0.2.7", False)):
            transport = self.connect()
            transport.protocol.dataReceived(self.header(source))
            self.assertEqual(aborted, transport.aborted)
        self.assertEqual(["limits.memory"], self.full)
        self.assertEqual(1, self.slots.active)

    def test_a_balancer_that_speaks_for_itself_is_judged_by_its_own_address(self):
        transport = self.connect()
        transport.protocol.dataReceived(b"PROXY UNKNOWN\r\n")
        self.assertTrue(transport.aborted)
        self.assertEqual(["access_rule"], self.full)

    def test_others_need_no_header_and_get_none_believed(self):
        guest = self.edge.buildProtocol(at("198.51.100.5"))
        self.assertIsInstance(guest, Heard)
        self.assertIsNone(self.edge.buildProtocol(at("203.0.113.9")))

    def test_what_is_no_header_ends_it(self):
        transport = self.connect()
        transport.protocol.dataReceived(b"GET / HTTP/1.1\r\n")
        self.assertTrue(transport.aborted)
        self.assertEqual({"trusted_proxies": 1}, self.edge.rejected)
        self.assertEqual(0, self.slots.active)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_silence_ends_it(self):
        transport = self.connect()
        transport.protocol.dataReceived(b"PROXY TCP4 ")
        self.clock.advance(5)
        self.assertTrue(transport.aborted)
        self.assertEqual(["trusted_proxies: no PROXY header in time"], self.full)
        self.assertEqual(0, self.slots.active)

    def test_a_port_that_closes_meanwhile_admits_nobody(self):
        transport = self.connect()
        self.edge.doStop()
        transport.protocol.dataReceived(self.header())
        self.assertTrue(transport.aborted)
        self.assertEqual({}, self.edge.visits)
        self.assertEqual(0, self.slots.active)

    def test_a_balancer_that_leaves_gives_its_place_back(self):
        transport = self.connect()
        self.assertEqual(1, self.slots.active)
        transport.protocol.connectionLost()
        self.assertEqual(0, self.slots.active)
        self.assertFalse(self.clock.getDelayedCalls())


class Heard(Guest):
    """A guest that keeps what it hears."""

    heard = b""

    def dataReceived(self, data):
        self.heard += data
