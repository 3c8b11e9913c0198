"""Hosts, addresses and ports as people write them."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.addresses import (
    check_host,
    check_listen,
    cut_port,
    holder_of,
    is_loopback,
    join_host_port,
    parse_address,
    parse_forwarded,
    parse_port,
    shown,
    split_host_port,
    split_listen,
    without_scope,
)

LABELS = st.from_regex(r"[a-z](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PORTS = st.integers(1, 65535)


class HostTests(SynchronousTestCase):
    """`check_host`."""

    def test_names_are_lower_case_without_a_final_dot(self):
        for text, name in [
            ("db.internal", "db.internal"),
            ("DB.Internal.", "db.internal"),
            ("my_container", "my_container"),
            ("3com.example", "3com.example"),
            ("bücher.example", "xn--bcher-kva.example"),
        ]:
            self.assertEqual(check_host(text), name)

    def test_literal_addresses_have_one_form(self):
        for text, address in [
            ("127.0.0.1", "127.0.0.1"),
            ("0:0::1", "::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
        ]:
            self.assertEqual(check_host(text), address)

    def test_what_is_neither_is_refused(self):
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a\0b",
            "a/b",
            "[::1]",
            "300.1.1.1",
            "1.2.3",
            "1" * 64 + ".example",
            "x" * 64,
            ".".join(["x" * 60] * 5),
            "ü" * 64,
            "ü..example",
            "fe80::1%eth0\n",
            "fe80::1%",
            "\u2024",
        ]:
            with self.subTest(text):
                self.assertRaises(ValueError, check_host, text)

    def test_the_longest_name_is_accepted(self):
        name = ".".join(["x" * 61] * 4) + ".y" * 3
        self.assertEqual(len(name), 253)
        self.assertEqual(check_host(name + "."), name)
        fault = self.assertRaises(ValueError, check_host, "y" + name)
        self.assertIn("253", str(fault))

    def test_messages_are_short_and_name_the_text(self):
        fault = self.assertRaises(ValueError, check_host, "a b")
        self.assertIn("'a b'", str(fault))
        fault = self.assertRaises(ValueError, check_host, " " * 5000)
        self.assertLess(len(str(fault)), 200)

    @given(st.text(max_size=40))
    def test_any_text_is_answered(self, text):
        """Nothing but ValueError comes out, and what passes is stable."""
        try:
            host = check_host(text)
        except ValueError:
            return
        self.assertTrue(host.isascii())
        self.assertEqual(check_host(host), host)

    @given(NAMES)
    def test_ordinary_names_pass(self, name):
        self.assertEqual(check_host(name.upper()), name)


class ListenTests(SynchronousTestCase):
    """`check_listen`."""

    def test_literal_addresses_pass(self):
        for text, address in [
            ("", ""),
            ("*", ""),
            ("localhost", "127.0.0.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ]:
            self.assertEqual(check_listen(text), address)

    def test_names_are_refused(self):
        fault = self.assertRaises(ValueError, check_listen, "db.internal")
        self.assertIn("'db.internal'", str(fault))


class LoopbackTests(SynchronousTestCase):
    """`is_loopback`."""

    def test_this_machine(self):
        for host in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "LOCALHOST."]:
            self.assertTrue(is_loopback(host), host)

    def test_elsewhere(self):
        for host in ["", "0.0.0.0", "10.0.0.1", "::", "example", "localhost.example"]:
            self.assertFalse(is_loopback(host), host)


class AddressTests(SynchronousTestCase):
    """`parse_address`."""

    def test_mapped_addresses_are_ipv4(self):
        self.assertEqual(parse_address("::ffff:1.2.3.4"), IPv4Address("1.2.3.4"))

    def test_scopes_are_kept(self):
        self.assertEqual(parse_address("fe80::1%2"), IPv6Address("fe80::1%2"))

    def test_scopes_are_names_of_interfaces(self):
        for text in ["fe80::1%a b", "fe80::1%" + "x" * 16, "fe80::1%a\n"]:
            self.assertIsNone(parse_address(text))

    def test_names_are_none(self):
        self.assertIsNone(parse_address("db.internal"))

    def test_scopes_can_be_left_out(self):
        self.assertEqual(without_scope("fe80::1%eth0"), IPv6Address("fe80::1"))
        self.assertEqual(without_scope("::ffff:1.2.3.4%2"), IPv4Address("1.2.3.4"))
        self.assertIsNone(without_scope("db.internal"))


class ForwardedTests(SynchronousTestCase):
    """`parse_forwarded`."""

    @given(st.ip_addresses(), st.none() | PORTS, st.booleans(), st.booleans())
    def test_every_form_of_an_address(self, address, port, brackets, quoted):
        text = str(address)
        if address.version == 6 and (brackets or port is not None):
            text = f"[{text}]"
        if port is not None:
            text += f":{port}"
        if quoted:
            text = f'"{text}"'
        mapped = getattr(address, "ipv4_mapped", None)
        self.assertEqual(mapped or address, parse_forwarded(f" {text} "))

    @given(st.text())
    def test_anything_else_is_none(self, text):
        found = parse_forwarded(text)
        self.assertTrue(found is None or ":" in text or "." in text, text)

    def test_names_ports_alone_and_halves_are_none(self):
        for text in (
            "",
            "unknown",
            "_hidden",
            "host:80",
            ":80",
            "192.0.2.7:",
            "1.2.3",
            "192.0.2.7:x",
            "192.0.2.7:65536",
            "[192.0.2.7]",
            "[2001:db8::7",
            '"',
            '"192.0.2.7',
            "2001:db8::7]:80",
            "192.0.2.7 " * 99,
        ):
            self.assertIsNone(parse_forwarded(text), text)


class HolderTests(SynchronousTestCase):
    """Who is counted as one."""

    def test_an_address_or_the_network_around_it(self):
        for text, holder in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("?", "?"),
            ("a:b", "a:b"),
        ):
            self.assertEqual(holder, holder_of(text))


class PortTests(SynchronousTestCase):
    """`parse_port`."""

    def test_the_lowest_may_be_another(self):
        self.assertEqual((parse_port("0", 0), parse_port("1024", 1024)), (0, 1024))
        fault = self.assertRaises(ValueError, parse_port, "1023", 1024)
        self.assertIn("from 1024 to 65535", str(fault))

    def test_both_ends_are_ports(self):
        self.assertEqual((parse_port("1"), parse_port("65535")), (1, 65535))

    def test_other_numbers_are_not(self):
        for text in [
            "0",
            "65536",
            "-1",
            "+1",
            "1.0",
            "",
            " 1",
            "000001",
            "٣",
            "²",
            "x",
        ]:
            self.assertRaises(ValueError, parse_port, text)


class SplitTests(SynchronousTestCase):
    """`split_host_port`."""

    def test_forms(self):
        for text, place in [
            ("Host:80", ("host", 80)),
            ("[::1]:80", ("::1", 80)),
            (":80", ("", 80)),
            ("80", ("", 80)),
            ("10.0.0.1:1", ("10.0.0.1", 1)),
        ]:
            self.assertEqual(split_host_port(text), place)

    def test_a_default_port_makes_the_port_optional(self):
        for text, place in [
            ("host", ("host", 9000)),
            ("::1", ("::1", 9000)),
            ("[::1]", ("::1", 9000)),
            ("host:1", ("host", 1)),
            ("80", ("", 80)),
        ]:
            self.assertEqual(split_host_port(text, 9000), place)

    def test_a_missing_port_is_named(self):
        for text in ["host", "::1", "[::1]"]:
            fault = self.assertRaises(ValueError, split_host_port, text)
            self.assertIn("has no port", str(fault))

    def test_malformed_texts_are_refused(self):
        for text in [
            "",
            ":",
            "host:",
            "host:0",
            "host:70000",
            "70000",
            "[::1",
            "[::1]80",
            "[host]:80",
            "a:b:80",
            "a b:80",
        ]:
            with self.subTest(text):
                self.assertRaises(ValueError, split_host_port, text, 9000)

    def test_places_to_listen_on(self):
        for text, place in [
            (":80", ("", 80)),
            ("*:80", ("", 80)),
            ("localhost:80", ("127.0.0.1", 80)),
            ("[::]:80", ("::", 80)),
        ]:
            self.assertEqual(split_listen(text), place)
        self.assertEqual(split_listen(":0", lowest_port=0), ("", 0))

    def test_malformed_places_to_listen_on_are_refused(self):
        for text, reason in [
            ("80", "has no port; write :port"),
            ("::1", "has no port; write :port"),
            (":0", "not a port from 1"),
            ("db:80", "not an address to listen on"),
            ("[db]:80", "[address]:port"),
        ]:
            fault = self.assertRaises(ValueError, split_listen, text)
            self.assertIn(reason, str(fault))

    def test_cutting_checks_nothing(self):
        self.assertEqual(cut_port("a b:c"), ("a b", "c"))
        self.assertEqual(cut_port("a"), ("a", None))
        self.assertEqual(cut_port("a:"), ("a", ""))

    @given(st.one_of(NAMES, st.ip_addresses().map(str)), PORTS)
    def test_joined_parts_come_apart_again(self, host, port):
        host = check_host(host)
        self.assertEqual(split_host_port(join_host_port(host, port)), (host, port))

    @given(st.text("a0.:[]-%/ é", max_size=30))
    def test_any_text_is_answered(self, text):
        try:
            host, port = split_host_port(text, 1)
        except ValueError:
            return
        self.assertIn(port, range(1, 65536))
        self.assertTrue(host == "" or check_host(host) == host)


class ShownTests(SynchronousTestCase):
    """`shown`."""

    def test_long_texts_are_cut(self):
        self.assertEqual(shown("a'b"), '"a\'b"')
        self.assertTrue(shown("x" * 81).endswith("'..."))
