"""Public ports that mappings may take."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import PortBlacklistedError, PortRangeError
from gateway.policy.ports import PublicPorts

SMALL = st.integers(1, 30)


class CheckTests(SynchronousTestCase):
    """`PublicPorts.check`."""

    def setUp(self):
        self.ports = PublicPorts(100, 200, frozenset({150}), frozenset({160}))

    def test_both_ends_of_the_range_belong_to_it(self):
        self.ports.check(100)
        self.ports.check(200)

    def test_ports_outside_are_refused_with_the_range(self):
        for port in (99, 201, 0, 70000):
            fault = self.assertRaises(PortRangeError, self.ports.check, port)
            self.assertEqual(fault.fields, {"port": port, "first": 100, "last": 200})

    def test_blacklisted_ports_are_refused(self):
        fault = self.assertRaises(PortBlacklistedError, self.ports.check, 150)
        self.assertEqual(fault.fields, {"port": 150})

    def test_ports_of_the_gateway_count_as_blacklisted(self):
        self.assertRaises(PortBlacklistedError, self.ports.check, 160)


class PickTests(SynchronousTestCase):
    """`PublicPorts.pick`."""

    def test_from_a_random_port_upward_and_around(self):
        ports = PublicPorts(10, 14, frozenset({11}), frozenset({14}))
        asked = []

        def randrange(stop):
            asked.append(stop)
            return 3

        self.assertEqual(list(ports.pick(set(), randrange)), [13, 10, 12])
        self.assertEqual(asked, [5])

    def test_taken_ports_are_left_out(self):
        ports = PublicPorts(10, 12)
        self.assertEqual(list(ports.pick({10, 12}, lambda _: 0)), [11])

    def test_a_full_range_gives_nothing(self):
        ports = PublicPorts(10, 10)
        self.assertEqual(list(ports.pick({10}, lambda _: 0)), [])

    @given(SMALL, SMALL, st.frozensets(SMALL), st.frozensets(SMALL), st.data())
    def test_exactly_the_ports_that_pass_the_check(
        self, first, last, blacklist, taken, data
    ):
        first, last = sorted((first, last))
        ports = PublicPorts(first, last, blacklist)
        start = data.draw(st.integers(0, last - first))
        picked = list(ports.pick(taken, lambda _: start))
        expected = set(range(first, last + 1)) - blacklist - taken
        self.assertEqual(sorted(picked), sorted(expected))
        for port in picked:
            ports.check(port)
