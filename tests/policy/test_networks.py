"""Look an address up among many networks."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.access import Network
from gateway.policy.networks import NetworkTable

# few different bits, so that networks overlap and contain addresses often
_V4 = st.builds(
    lambda number, prefix: ip_network((number << 24, prefix), strict=False),
    st.integers(0, 3),
    st.integers(0, 32),
)
_V6 = st.builds(
    lambda number, prefix: ip_network((number << 120, prefix), strict=False),
    st.integers(0, 3),
    st.integers(0, 128),
)
NETWORKS = st.lists(_V4 | _V6, max_size=20)
ADDRESSES = st.one_of(
    st.integers(0, 1 << 26).map(lambda number: ip_address(number)),
    st.integers(0, 3).map(lambda number: ip_address(number << 120)),
)


class NetworkTableTests(SynchronousTestCase):
    """The table against a plain list."""

    @given(NETWORKS, NETWORKS, ADDRESSES)
    def test_finds_what_a_search_of_the_list_finds(self, added, removed, address):
        table: NetworkTable[int] = NetworkTable()
        plain: dict[Network, int] = {}
        for number, network in enumerate(added):
            table.put(network, number)
            plain[network] = number
        for network in removed:
            self.assertEqual(table.pop(network), plain.pop(network, None))
        expected = [
            number
            for network, number in plain.items()
            if network.version == address.version and address in network
        ]
        self.assertCountEqual(table.covering(address), expected)
        self.assertEqual(list(table.values()), list(plain.values()))
        self.assertEqual(len(table), len(plain))

    def test_a_lookup_does_not_touch_every_network(self):
        table: NetworkTable[int] = NetworkTable()
        for number in range(1000):
            table.put(ip_network((number << 8, 24)), number)
        self.assertEqual(len(table._by_prefix), 1)
        self.assertEqual(list(table.covering(ip_address(999 << 8 | 7))), [999])

    def test_nothing_is_left_of_removed_networks(self):
        table: NetworkTable[str] = NetworkTable()
        table.put(ip_network("10.0.0.0/8"), "a")
        table.pop(ip_network("10.0.0.0/8"))
        self.assertEqual(table._by_prefix, {})
        self.assertNotIn(ip_network("10.0.0.0/8"), table)
