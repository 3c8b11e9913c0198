"""The PROXY protocol, against its specification and itself."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.wire.proxy import (
    LONGEST_V1,
    LONGEST_V2,
    SIGNATURE,
    Header,
    Place,
    ProxyHeaderError,
    decode,
    encode,
)

V4 = st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
V6 = st.integers(2**96, 2**128 - 1).map(lambda n: str(IPv6Address(n)))
PORTS = st.integers(0, 65535)


class GoldenTests(SynchronousTestCase):
    """Bytes that others send and expect."""

    def test_v1(self):
        self.assertEqual(
            encode("v1", Place("192.0.2.1", 56324), Place("203.0.113.7", 443)),
            b"PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n",
        )
        self.assertEqual(
            encode("v1", Place("2001:db8::1", 1), Place("::1", 2)),
            b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
        )

    def test_v2(self):
        self.assertEqual(
            encode("v2", Place("192.0.2.1", 0x1234), Place("203.0.113.7", 443)),
            SIGNATURE
            + bytes.fromhex("21 11 000c c0000201 cb007107 1234 01bb".replace(" ", "")),
        )

    def test_ends_of_two_families_meet_in_the_longer_one(self):
        text = encode("v1", Place("192.0.2.1", 1), Place("2001:db8::1", 2))
        self.assertTrue(text.startswith(b"PROXY TCP6 ::ffff:"), text)
        found = decode(text)
        assert found is not None
        self.assertEqual(found.source, Place("192.0.2.1", 1))

    def test_a_scope_is_left_out(self):
        text = encode("v1", Place("fe80::1%eth0", 1), Place("fe80::2%eth0", 2))
        self.assertEqual(text, b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n")

    def test_of_balancers_themselves_and_of_unknown_families(self):
        local = SIGNATURE + bytes.fromhex("2000 0000".replace(" ", ""))
        self.assertEqual(decode(local + b"x"), Header(None, 16))
        unix = SIGNATURE + bytes.fromhex("2131 0002 abcd".replace(" ", ""))
        self.assertEqual(decode(unix), Header(None, 18))
        for text in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff:: 1 2 3\r\nrest"):
            self.assertEqual(decode(text), Header(None, text.index(b"\n") + 1))

    def test_what_follows_the_addresses_is_passed_over(self):
        plain = encode("v2", Place("192.0.2.1", 1), Place("192.0.2.2", 2))
        extended = plain[:15] + bytes([12 + 7]) + plain[16:] + b"\x04\x00\x04abcd"
        found = decode(extended)
        self.assertEqual(found, Header(Place("192.0.2.1", 1), len(plain) + 7))

    def test_what_is_none(self):
        good = encode("v2", Place("192.0.2.1", 1), Place("192.0.2.2", 2))
        for text in (
            b"GET / HTTP/1.1\r\n",
            b"\r\n\r\nQUIT",
            b"PROXY\tTCP4",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
            b"PROXY TCP4 192.0.2.1 x 1 2\r\n",
            b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP6 fe80::1%x fe80::2 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n",
            b"PROXY " + b"x" * LONGEST_V1,
            good[:12] + b"\x31" + good[13:],
            good[:12] + b"\x22" + good[13:],
            good[:14] + b"\x00\x04" + good[16:],
            good[:14] + b"\xff\xff" + good[16:],
        ):
            self.assertRaises(ProxyHeaderError, decode, text)


class LawTests(SynchronousTestCase):
    """What holds of all headers."""

    @given(st.sampled_from(["v1", "v2"]), st.data())
    def test_what_is_written_is_read_whatever_follows(self, form, data):
        hosts = data.draw(st.sampled_from([V4, V6]))
        source = Place(data.draw(hosts), data.draw(PORTS))
        text = encode(form, source, Place(data.draw(hosts), data.draw(PORTS)))
        if form == "v1":
            self.assertLessEqual(len(text), LONGEST_V1)
        rest = data.draw(st.binary(max_size=50))
        found = decode(text + rest)
        assert found is not None
        assert found.source is not None
        self.assertEqual(found.length, len(text))
        self.assertEqual(found.source.port, source.port)
        wanted = IPv6Address(source.host) if ":" in source.host else None
        mapped = wanted.ipv4_mapped if wanted is not None else None
        self.assertEqual(found.source.host, str(mapped) if mapped else source.host)
        for cut in range(len(text)):
            self.assertIsNone(decode(text[:cut]))

    @given(st.binary(max_size=300) | st.binary(max_size=60).map(SIGNATURE.__add__))
    def test_arbitrary_bytes_are_a_header_or_refused_or_short(self, data):
        try:
            found = decode(data)
        except ProxyHeaderError:
            return
        if found is None:
            self.assertLess(len(data), LONGEST_V2)
        else:
            self.assertLessEqual(found.length, len(data))
