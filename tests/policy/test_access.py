"""What may be dialled, and who may call."""

from ipaddress import IPv4Address, IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.access import AddressRules, OwnPorts, TargetRules, parse_network

PORTS = st.integers(1, 65535)


def allowed(entries, address, port=80, host=None):
    rules = TargetRules.parse(entries)
    return rules.check(host or address, address, port) is None


class TargetRulesTests(SynchronousTestCase):
    """Which targets pass."""

    def test_none_allows_everything(self):
        self.assertTrue(allowed(None, "8.8.8.8"))

    def test_an_empty_list_allows_nothing(self):
        self.assertFalse(allowed([], "127.0.0.1"))

    def test_networks_and_addresses(self):
        entries = ["127.0.0.0/8", "::1", "10.0.0.5", "fd00::/8"]
        for address in ["127.9.9.9", "::1", "10.0.0.5", "fd12::1"]:
            self.assertTrue(allowed(entries, address), address)
        for address in ["128.0.0.1", "::2", "10.0.0.6", "fe80::1", "0.0.0.0", "::"]:
            self.assertFalse(allowed(entries, address), address)

    def test_ports_lists_and_ranges(self):
        entries = ["10.0.0.0/8:80,443", "[::1]:22", "10.1.0.0/16:8000-8100,9"]
        for address, port in [
            ("10.0.0.1", 80),
            ("10.0.0.1", 443),
            ("::1", 22),
            ("10.1.0.1", 8000),
            ("10.1.0.1", 8100),
            ("10.1.0.1", 9),
            ("10.1.0.1", 443),
        ]:
            self.assertTrue(allowed(entries, address, port), (address, port))
        for address, port in [
            ("10.0.0.1", 81),
            ("10.0.0.1", 8000),
            ("::1", 23),
            ("10.1.0.1", 8101),
            ("10.1.0.1", 7999),
        ]:
            self.assertFalse(allowed(entries, address, port), (address, port))

    def test_a_name_is_allowed_wherever_it_leads_to(self):
        entries = ["db.internal:5432"]
        self.assertTrue(allowed(entries, "10.0.0.9", 5432, "DB.Internal."))
        self.assertFalse(allowed(entries, "10.0.0.9", 5433, "db.internal"))
        self.assertFalse(allowed(entries, "10.0.0.9", 5432, "other.internal"))
        self.assertFalse(allowed(entries, "10.0.0.9", 5432))

    def test_a_name_that_leads_to_an_allowed_address_passes(self):
        self.assertTrue(allowed(["127.0.0.0/8"], "127.0.0.1", host="localhost"))
        self.assertFalse(allowed(["127.0.0.0/8"], "10.0.0.1", host="localhost"))

    def test_names_in_other_scripts(self):
        self.assertTrue(allowed(["bücher.example"], "1.1.1.1", host="BÜCHER.example"))

    def test_a_host_that_is_no_name_is_in_no_rule(self):
        self.assertFalse(allowed(["db"], "1.1.1.1", host="d b"))

    def test_mapped_addresses_count_as_ipv4(self):
        self.assertTrue(allowed(["127.0.0.0/8"], "::ffff:127.0.0.1"))
        self.assertTrue(allowed(["::ffff:10.0.0.0/104"], "10.9.9.9"))
        self.assertFalse(allowed(["::/0"], "::ffff:10.0.0.1"))
        self.assertFalse(allowed(["::ffff:10.0.0.0/104"], "11.0.0.1"))

    def test_scopes_do_not_hide_an_address(self):
        self.assertTrue(allowed(["fe80::/10"], "fe80::1%eth0"))

    def test_what_is_no_address_is_in_no_network(self):
        self.assertFalse(allowed(["0.0.0.0/0", "::/0"], "example"))

    def test_the_reason_tells_place_from_port(self):
        rules = TargetRules.parse(["10.0.0.0/8:80"])
        self.assertEqual(
            rules.check("db", "10.0.0.1", 22),
            "port 22 of db (10.0.0.1) is not among the allowed targets",
        )
        self.assertEqual(
            rules.check("11.0.0.1", "11.0.0.1", 80),
            "11.0.0.1 is not among the allowed targets",
        )

    @given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
    def test_networks_hold_what_their_prefix_says(self, base, length, address):
        network = ip_network(f"{base}/{length}", strict=False)
        shift = 32 - length
        self.assertEqual(
            allowed([str(network)], str(address)),
            int(base) >> shift == int(address) >> shift,
        )

    @given(PORTS, PORTS, PORTS)
    def test_ranges_hold_both_ends(self, one, other, port):
        first, last = sorted((one, other))
        self.assertEqual(
            allowed([f"a:{first}-{last}"], "1.1.1.1", port, "a"),
            first <= port <= last,
        )


class MalformedRuleTests(SynchronousTestCase):
    """What a list of targets may not hold."""

    def test_faults_name_the_entry_and_the_reason(self):
        for entry, reason in [
            ("", "must not be empty"),
            ("10.0.0.1/8", "bits set behind"),
            ("1.2.3.4/33", "not a network"),
            ("a/b", "not a network"),
            ("fe80::1%eth0", "names an interface"),
            ("fe80::%eth0/10", "names an interface"),
            ("300.1.1.1", "not an IPv4 address"),
            ("a:", "not a port"),
            ("a:0", "not a port"),
            ("a:80,", "not a port"),
            ("a:1-", "not a port"),
            ("a:-9", "not a port"),
            ("a:9-3", "ends before it begins"),
            ("a:1-2-3", "not a port"),
            ("[::1", "[address]:port"),
            ("[::1]22", "[address]:port"),
            ("[a]:22", "[address]:port"),
            ("a b", "neither a host name"),
        ]:
            with self.subTest(entry):
                fault = self.assertRaises(ValueError, TargetRules.parse, ["a", entry])
                self.assertIn(repr(entry), str(fault))
                self.assertIn(reason, str(fault))

    @given(st.text("a1.:/,-[]% é", max_size=20))
    def test_any_text_is_answered(self, entry):
        try:
            rules = TargetRules.parse([entry])
        except ValueError:
            return
        rules.check("a", "1.1.1.1", 1)


class OwnPortsTests(SynchronousTestCase):
    """The gateway's own listeners."""

    def setUp(self):
        self.asked = 0

    def local(self):
        self.asked += 1
        return ["192.0.2.7", "2001:db8::7%eth0", "fe80::7%eth0"]

    def own(self, bind, address, port=9000):
        return OwnPorts([(bind, 9000)]).check(address, port, self.local) is not None

    def test_other_ports_are_free_and_ask_nothing(self):
        self.assertFalse(self.own("", "127.0.0.1", 9001))
        self.assertEqual(self.asked, 0)

    def test_a_listener_on_all_interfaces_is_met_at_each_local_address(self):
        for bind in ["", "0.0.0.0", "::"]:
            for address in [
                "127.0.0.1",
                "127.0.0.2",
                "::1",
                "0.0.0.0",
                "::",
                "192.0.2.7",
                "::ffff:192.0.2.7",
                "2001:db8::7",
                "fe80::7%eth1",
            ]:
                self.assertTrue(self.own(bind, address), (bind, address))
            self.assertFalse(self.own(bind, "192.0.2.8"), bind)

    def test_a_listener_on_loopback_is_met_there_only(self):
        for address in ["127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "::"]:
            self.assertTrue(self.own("127.0.0.1", address), address)
        self.assertFalse(self.own("127.0.0.1", "192.0.2.7"))
        self.assertFalse(self.own("127.0.0.1", "8.8.8.8"))

    def test_a_listener_on_one_address_is_met_there_only(self):
        self.assertTrue(self.own("192.0.2.7", "192.0.2.7"))
        self.assertTrue(self.own("192.0.2.7", "0.0.0.0"))
        self.assertFalse(self.own("192.0.2.7", "127.0.0.1"))

    def test_each_of_several_listeners_counts(self):
        own = OwnPorts([("127.0.0.1", 8080), ("", 9000), ("192.0.2.7", 8080)])
        for address, port in [("::1", 8080), ("192.0.2.7", 8080), ("127.0.0.1", 9000)]:
            self.assertIn(
                f"{address} port {port}", own.check(address, port, self.local)
            )
        self.assertIsNone(own.check("198.51.100.1", 8080, self.local))

    def test_what_is_no_address_is_not_dialled(self):
        self.assertTrue(self.own("", "example"))


class AddressRulesTests(SynchronousTestCase):
    """Who may call."""

    def test_no_rules_admit_anybody(self):
        self.assertTrue(AddressRules([]).allows("8.8.8.8"))

    def test_callers_inside_are_admitted(self):
        rules = AddressRules([IPv4Network("10.0.0.0/8"), "::1"])
        for address in ["10.1.1.1", "::1", "::ffff:10.1.1.1"]:
            self.assertTrue(rules.allows(address), address)
        for address in ["11.1.1.1", "::2", "", "-", "example"]:
            self.assertFalse(rules.allows(address), address)

    def test_scopes_are_ignored(self):
        self.assertTrue(AddressRules(["fe80::/10"]).allows("fe80::1%eth0"))

    def test_malformed_networks_are_refused(self):
        self.assertRaises(ValueError, AddressRules, ["10.0.0.1/8"])

    @given(st.ip_addresses(v=4), st.integers(0, 32))
    def test_mapped_networks_are_their_ipv4_networks(self, base, length):
        network = ip_network(f"{base}/{length}", strict=False)
        mapped = f"::ffff:{network.network_address}/{length + 96}"
        self.assertEqual(parse_network(mapped), network)
        self.assertIn(IPv4Address(int(base)), parse_network(str(network)))
