"""Who is kept out, for how long, and why."""

from ipaddress import IPv4Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.access import parse_network
from gateway.policy.bans import MOST_ADDRESSES, MOST_BANS, Ban, Bans, BanSettings

EXEMPT = (parse_network("10.0.0.0/8"),)
ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


def bans(failures=3):
    return Bans(BanSettings(failures, 60.0, 600.0, EXEMPT))


class FailureTests(SynchronousTestCase):
    """Wrong credentials."""

    def test_so_many_in_a_while(self):
        table = bans()
        self.assertIsNone(table.failed("192.0.2.1", 100.0))
        self.assertIsNone(table.failed("192.0.2.1", 160.0))
        ban = table.failed("192.0.2.1", 160.0)
        self.assertEqual(ban, Ban("192.0.2.1", 760, "wrong credentials", False))
        self.assertFalse(table.admits("192.0.2.1", 759.9))
        self.assertTrue(table.admits("192.0.2.2", 200.0))
        self.assertTrue(table.admits("192.0.2.1", 760.0))
        self.assertEqual(table.rejected, 1)

    def test_failures_far_apart_are_forgotten(self):
        table = bans()
        for second in range(0, 1000, 61):
            self.assertIsNone(table.failed("192.0.2.1", float(second)))

    def test_exempt_networks_and_never(self):
        for table, address in ((bans(), "10.1.2.3"), (bans(0), "192.0.2.1")):
            for _ in range(10):
                self.assertIsNone(table.failed(address, 0.0))

    def test_a_visitor_is_not_compared_with_every_ban(self):
        table = bans()
        for number in range(MOST_BANS):
            table.put(Ban(str(ip_address(number)), None, "", True))
        compared = []
        self.patch(IPv4Network, "__contains__", lambda *both: compared.append(both))
        self.assertFalse(table.admits("0.0.3.231", 0.0))
        self.assertTrue(table.admits("192.0.2.1", 0.0))
        self.assertEqual(compared, [])

    def test_the_tables_are_bounded(self):
        table = bans(1)
        for number in range(MOST_ADDRESSES + 10):
            table.failed(str(ip_address(0xC0000000 + number)), 0.0)
        self.assertEqual(len(table.views(1.0)), MOST_ADDRESSES)
        self.assertTrue(table.admits("192.0.0.0", 1.0))
        watched = bans(2)
        for number in range(MOST_ADDRESSES + 10):
            watched.failed(str(ip_address(0xC0000000 + number)), 0.0)
        self.assertEqual(len(watched._failed), MOST_ADDRESSES)


class NetworkTests(SynchronousTestCase):
    """Who has an IPv6 address has a whole network of them."""

    def test_a_neighbour_does_not_keep_an_exempt_address_out(self):
        table = Bans(
            BanSettings(1, 60.0, 600.0, exempt=(parse_network("2001:db8::10"),))
        )
        table.failed("2001:db8::66", 0.0)
        self.assertFalse(table.admits("2001:db8::67", 1.0))
        self.assertTrue(table.admits("2001:db8::10", 1.0))

    def test_other_addresses_of_the_network_are_the_same_guesser(self):
        table = bans(3)
        found = [table.failed(f"2001:db8:1:2::{n}", 0.0) for n in (1, 2, 3)]
        self.assertEqual(
            [None, None, "2001:db8:1:2::/64"], [b and b.network for b in found]
        )
        self.assertFalse(table.admits("2001:db8:1:2:ffff::9", 1.0))
        self.assertTrue(table.admits("2001:db8:1:3::1", 1.0))

    def test_it_is_lifted_by_the_network_and_by_any_of_its_addresses(self):
        for text in ("2001:db8:1:2::/64", "2001:db8:1:2::7"):
            table = bans(1)
            table.failed("2001:db8:1:2::1", 0.0)
            self.assertIsNotNone(table.remove(text))
            self.assertTrue(table.admits("2001:db8:1:2::1", 1.0))


class ListTests(SynchronousTestCase):
    """The operator's own."""

    def test_to_end_one_ends_what_wrong_credentials_did_too(self):
        for text in ("2001:db8::1", "2001:DB8:0::1", "2001:db8::1/128"):
            for listed in (False, True):
                table = bans(1)
                table.failed("2001:db8::1", 0.0)
                if listed:
                    table.put(Ban("2001:db8::1/128", None, "", True))
                self.assertIsNotNone(table.remove(text))
                self.assertTrue(table.admits("2001:db8::1", 1.0), text)

    def test_networks_for_a_while_and_for_good(self):
        table = bans()
        table.put(Ban("192.0.2.0/24", 500, "", True))
        table.put(Ban("2001:db8::/32", None, "", True))
        for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"):
            self.assertFalse(table.admits(address, 400.0), address)
        self.assertTrue(table.admits("192.0.3.7", 400.0))
        self.assertTrue(table.admits("192.0.2.7", 500.0))
        self.assertEqual([one.network for one in table.views(500.0)], ["2001:db8::/32"])

    def test_removing(self):
        table = bans(1)
        table.put(Ban("192.0.2.0/24", None, "", True))
        table.failed("198.51.100.1", 0.0)
        self.assertIsNone(table.remove("192.0.2.0/25"))
        self.assertIsNotNone(table.remove("192.0.2.0/24"))
        self.assertIsNotNone(table.remove("198.51.100.1"))
        self.assertEqual(table.views(0.0), [])
        self.assertRaises(ValueError, table.remove, "nonsense")
        self.assertRaises(ValueError, table.put, Ban("x", None, "", True))

    def test_there_are_so_many_at_most(self):
        table = bans()
        for number in range(MOST_BANS):
            table.put(Ban(str(ip_address(0xC0000000 + number)), None, "", True))
        fault = self.assertRaises(
            ValueError, table.put, Ban("203.0.113.1", None, "", True)
        )
        self.assertIn("1000 bans already", str(fault))
        table.put(Ban("192.0.0.0", 5, "anew", True))

    @given(ADDRESSES, st.integers(0, 32), ADDRESSES)
    def test_a_network_keeps_out_its_own_addresses_and_no_others(
        self, base, prefix, address
    ):
        network = ip_network(f"{base}/{prefix}", strict=False)
        table = bans()
        table.put(Ban(str(network), None, "", True))
        mapped = getattr(address, "ipv4_mapped", None) or address
        within = mapped.version == network.version and mapped in network
        if getattr(base, "ipv4_mapped", None) is None:
            self.assertEqual(table.admits(str(address), 0.0), not within)

    def test_bans_are_lifted_once(self):
        table = bans(1)
        table.put(Ban("192.0.2.0/24", 100, "", True))
        table.put(Ban("2001:db8::/32", None, "", True))
        table.failed("198.51.100.1", 0.0)
        self.assertEqual(table.lift(99.9), [])
        self.assertEqual([one.network for one in table.lift(100.0)], ["192.0.2.0/24"])
        self.assertEqual([one.network for one in table.lift(600.0)], ["198.51.100.1"])
        self.assertEqual(table.lift(10**9), [])
        self.assertEqual([one.network for one in table.views(0.0)], ["2001:db8::/32"])
