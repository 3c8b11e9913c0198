"""Names, addresses and networks."""

from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.places import (
    HostPort,
    bind_address,
    gateway_address,
    host,
    is_loopback,
    listening_place,
    local_place,
    network,
    split_host_port,
    target,
    target_rule,
)

GOOD = [
    (bind_address, "", ""),
    (bind_address, "*", ""),
    (bind_address, "localhost", "127.0.0.1"),
    (bind_address, "::", "::"),
    (bind_address, "10.0.0.1", "10.0.0.1"),
    (host, "nas", "nas"),
    (host, "a-b_c.example.com.", "a-b_c.example.com."),
    (host, "::1", "::1"),
    (listening_place, ":80", HostPort("", 80)),
    (listening_place, "127.0.0.1:80", HostPort("127.0.0.1", 80)),
    (listening_place, "[::1]:80", HostPort("::1", 80)),
    (listening_place, HostPort("", 80), HostPort("", 80)),
    (target, "nas:445", HostPort("nas", 445)),
    (target, "[fe80::1%eth0]:22", HostPort("fe80::1%eth0", 22)),
    (target, HostPort("nas", 445), HostPort("nas", 445)),
    (gateway_address, "gw", HostPort("gw", 9000)),
    (gateway_address, "gw:9001", HostPort("gw", 9001)),
    (gateway_address, "::1", HostPort("::1", 9000)),
    (gateway_address, "[::1]", HostPort("::1", 9000)),
    (gateway_address, "[::1]:9001", HostPort("::1", 9001)),
    (gateway_address, HostPort("gw", 1), HostPort("gw", 1)),
    (local_place, 8080, HostPort("127.0.0.1", 8080)),
    (local_place, "8080", HostPort("127.0.0.1", 8080)),
    (local_place, "nas:80", HostPort("nas", 80)),
    (local_place, HostPort("nas", 80), HostPort("nas", 80)),
    (network, "10.0.0.0/8", ip_network("10.0.0.0/8")),
    (network, "10.1.2.3", ip_network("10.1.2.3/32")),
    (network, ip_network("::/0"), ip_network("::/0")),
    (target_rule, "10.0.0.0/8", "10.0.0.0/8"),
    (target_rule, "::1", "::1"),
    (target_rule, "nas", "nas"),
    (target_rule, "nas:80", "nas:80"),
    (target_rule, "[::1]:80", "[::1]:80"),
]
BAD: list[tuple[Any, list[object]]] = [
    (bind_address, ["nas", "300.1.1.1", "127.0.0.1:80", "[::1]", 5, None, True]),
    (
        host,
        ["", "a b", "-a", "300.1.1.1", "a..b", "x" * 300, "nas:80", "ö", 5, "[::1]"],
    ),
    (listening_place, ["", "80", ":0", ":65536", ":x", "nas:80", "::1", ":٣", 80]),
    (target, ["", ":80", "nas", "nas:", "nas:0", "nas:65536", "a b:80", "[::1]80", 80]),
    (target, ["[nas]:80", "[::1:80", "::1:80:", "http://nas:80", "nas:000080"]),
    (gateway_address, ["", "gw:", "gw:0", "tls://gw:9000", "[gw]", 9000, None]),
    (local_place, [0, 65536, -1, True, "", "0", "nas", None, 1.5, [80]]),
    (network, ["", "nas", "10.0.0.0/33", "10.0.0.1/8", 5, None, "1.2.3.4:80"]),
    (target_rule, ["", "a b", "10.0.0.1/8", "nas:0", "nas:x", "/", 80, None]),
]


class PlaceTests(SynchronousTestCase):
    """One table of what is understood, one of what is refused."""

    def test_understood(self):
        for check, value, wanted in GOOD:
            self.assertEqual(check(value), wanted, f"{check.__name__} {value!r}")

    def test_refused(self):
        for check, values in BAD:
            for value in values:
                with self.assertRaises(ValueError, msg=f"{check.__name__} {value!r}"):
                    check(value)

    def test_bits_behind_the_prefix_are_named(self):
        fault = self.assertRaises(ValueError, network, "10.0.0.1/8")
        self.assertEqual(str(fault), "has bits set behind the network's prefix")

    def test_loopback(self):
        self.assertTrue(is_loopback("127.8.8.8"))
        self.assertTrue(is_loopback("::1"))
        for address in ("", "0.0.0.0", "::", "10.0.0.1", "nas"):
            self.assertFalse(is_loopback(address))

    @settings(deadline=None)
    @given(st.ip_addresses().map(str), st.integers(1, 65535))
    def test_written_and_read_back(self, address, port):
        place = HostPort(address, port)
        self.assertEqual(target(str(place)), place)

    @settings(deadline=None)
    @given(st.text(max_size=40))
    def test_any_text_is_cut(self, text):
        name, port = split_host_port(text)
        self.assertIsInstance(name, str)
        self.assertTrue(port is None or text.endswith(port))
