"""The visitors of one mapping, counted."""

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from gateway.edge.tcp import TcpEdge
from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
from gateway.policy.mapping import Mapping

MAPPING = Mapping(
    port=10080,
    target_host="",
    target_port=80,
    use_tunnel=True,
    created_at=0,
    updated_at=0,
)


class Guest(Protocol):
    """A visit that stays until it is closed."""

    def __init__(self, edge):
        self._edge = edge
        self.why = None
        edge.visits.add(self)

    def close(self, why):
        self.why = why
        self._edge.left(self)


class TcpEdgeTests(SynchronousTestCase):
    """One public port."""

    def setUp(self):
        self.slots = Slots(2)
        self.memory = Budget(1000)
        self.full: list[Any] = []
        self.edge = self.build(lambda edge, _addr: Guest(edge))

    def build(self, admit):
        return TcpEdge(
            MAPPING,
            self.slots,
            self.memory,
            admit,
            lambda _addr, key: self.full.append(key),
        )

    def come(self):
        return self.edge.buildProtocol(None)

    def test_visitors_are_admitted_up_to_the_limit(self):
        self.assertIsNotNone(self.come())
        self.assertIsNotNone(self.come())
        self.assertIsNone(self.come())
        self.assertEqual(
            (2, ["limits.connections"]), (len(self.edge.visits), self.full)
        )

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
        other = self.build(lambda edge, _addr: Guest(edge))
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
