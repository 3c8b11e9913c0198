"""Connections that come back."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.hops import MOST_DIALS, Hops


class HopsTests(SynchronousTestCase):
    """Which visitors are dials of this very process."""

    def setUp(self):
        self.open = True
        self.asked = []
        self.hops = Hops(self.is_open)
        self.hops.note("192.0.2.1", 50000, "198.51.100.7", 9, 2)

    def is_open(self, *asked):
        self.asked.append(asked)
        return self.open

    def test_whoever_gets_the_port_of_a_closed_dial_comes_from_outside(self):
        self.open = False
        self.assertEqual(0, self.hops.of("192.0.2.1", 50000))
        self.assertEqual([(9, "192.0.2.1", 50000)], self.asked)
        self.open = True
        self.assertEqual(0, self.hops.of("192.0.2.1", 50000))

    def test_a_dial_that_comes_back_has_passed_once_more(self):
        self.assertEqual(3, self.hops.of("192.0.2.1", 50000))

    def test_so_has_one_whose_address_a_router_has_translated(self):
        self.assertEqual(3, self.hops.of("198.51.100.7", 50000))

    def test_others_come_from_outside(self):
        for place in (("192.0.2.1", 50001), ("203.0.113.9", 50000), ("", 0)):
            self.assertEqual(0, self.hops.of(*place), place)

    def test_the_latest_dial_from_a_port_counts(self):
        self.hops.note("192.0.2.1", 50000, "198.51.100.8", -1, 0)
        self.assertEqual(1, self.hops.of("192.0.2.1", 50000))
        self.assertEqual(0, self.hops.of("198.51.100.7", 50000))

    def test_only_the_latest_are_remembered(self):
        for port in range(1, MOST_DIALS):
            self.hops.note("192.0.2.1", port, "198.51.100.7", -1, 0)
        self.assertEqual(3, self.hops.of("192.0.2.1", 50000))
        self.hops.note("192.0.2.1", 50000, "198.51.100.7", -1, 0)  # the latest again
        self.hops.note("192.0.2.1", MOST_DIALS, "198.51.100.7", -1, 0)
        self.assertEqual(0, self.hops.of("192.0.2.1", 1))
        self.assertEqual(1, self.hops.of("192.0.2.1", 50000))
        self.assertEqual(MOST_DIALS, len(self.hops._dials))
