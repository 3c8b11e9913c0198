"""Payloads that are long, odd or hostile; the usual ones are golden."""

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import PayloadError
from gateway.wire import frames, messages
from gateway.wire.messages import ConnectRequest, Goaway, OpenRequest, Ping
from tests.strategies import split_frames
from tests.wire.golden import CODECS

KINDS = sorted(CODECS)


class DecoderLawTests(SynchronousTestCase):
    """What holds for the decoder of every kind."""

    @given(st.sampled_from(KINDS), st.binary(max_size=300))
    def test_arbitrary_bytes_raise_payload_errors_only(self, kind, payload):
        """Nothing else escapes a decoder."""
        _, decode = CODECS[kind]
        try:
            decode(memoryview(payload))
        except PayloadError as fault:
            self.assertEqual(fault.kind, "payload")

    @given(
        st.sampled_from([0x10, 0x11, 0x15, 0x16]),
        st.text(st.sampled_from('{}[]",:\\ud80n1e-truefals'), max_size=60),
    )
    def test_almost_json_raises_payload_errors_only(self, kind, text):
        """Text made of the pieces of JSON."""
        _, decode = CODECS[kind]
        try:
            decode(memoryview(text.encode()))
        except PayloadError as fault:
            self.assertEqual(fault.kind, "payload")

    def test_no_depth_of_nesting_gets_through(self):
        """Neither the parser's depth nor that of the message about it escapes."""
        _, decode = CODECS[frames.HELLO]
        for depth in [*range(1, 2000, 53), *range(930, 1010)]:
            for value in (
                b"[" * depth + b"]" * depth,
                b'{"":' * depth + b"0" + b"}" * depth,
            ):
                for key in (b"agent", b"features", b"token"):
                    payload = b'{"' + key + b'":' + value + b"}"
                    self.assertRaises(PayloadError, decode, memoryview(payload))


class RequestTests(SynchronousTestCase):
    """Hosts at their limit."""

    @given(
        st.integers(0, (1 << 32) - 1),
        st.integers(0, 65535),
        st.none() | st.text(max_size=60),
    )
    def test_a_connect_request_survives_the_way(self, stream_id, port, host):
        """Both forms, any host that is text."""
        request = ConnectRequest(stream_id, port, host)
        [(kind, payload)] = split_frames(messages.encode_connect_request(request))
        self.assertEqual(kind, frames.CONNECT_REQUEST)
        self.assertEqual(messages.decode_connect_request(payload), request)

    @given(
        st.integers(0, (1 << 32) - 1),
        st.integers(0, 255),
        st.text(max_size=60),
        st.dictionaries(st.text(max_size=9), st.integers() | st.text(max_size=9)),
    )
    def test_an_open_survives_the_way(self, stream_id, protocol, host, meta):
        """Any meta that is a JSON object."""
        request = OpenRequest(stream_id, protocol, 443, host, meta)
        [(kind, payload)] = split_frames(messages.encode_open(request))
        self.assertEqual(kind, frames.OPEN)
        self.assertEqual(messages.decode_open(payload), request)

    def test_a_host_of_255_bytes_is_the_longest(self):
        """In both frames that carry one."""
        fits, long = "h" * 255, "ü" * 128

        def connect_request(host):
            return messages.encode_connect_request(ConnectRequest(1, 2, host))

        def open_request(host):
            return messages.encode_open(OpenRequest(1, 1, 2, host, {}))

        for encode in (connect_request, open_request):
            self.assertIn(fits.encode(), encode(fits))
            fault = self.assertRaises(PayloadError, encode, long)
            self.assertEqual(str(fault), "host of 256 bytes, 255 at most")

    def test_text_that_utf8_cannot_carry_is_a_payload_error(self):
        """Half a surrogate pair in a host or in meta is the caller's fault."""
        for request in (
            OpenRequest(1, 1, 2, "\ud800", {}),
            OpenRequest(1, 1, 2, "", {"name": "\udfff"}),
        ):
            self.assertRaises(PayloadError, messages.encode_open, request)

    def test_meta_of_4096_bytes_is_the_longest(self):
        """Its JSON form counts."""
        messages.encode_open(OpenRequest(1, 1, 2, "", {"x": "y" * 4088}))
        fault = self.assertRaises(
            PayloadError,
            messages.encode_open,
            OpenRequest(1, 1, 2, "", {"x": "y" * 4089}),
        )
        self.assertEqual(str(fault), "JSON of 4097 bytes, 4096 at most")

    def test_meta_of_4096_bytes_is_read(self):
        """One byte more is not (see the golden bytes)."""
        meta = b'{"x":"' + b"y" * 4088 + b'"}'
        head = struct.pack("!IBHBH", 1, 1, 2, 0, len(meta))
        self.assertEqual(len(messages.decode_open(head + meta).meta["x"]), 4088)


class GoawayTests(SynchronousTestCase):
    """Words for people."""

    def test_a_long_text_is_cut_between_characters(self):
        """4096 bytes at most, and still UTF-8."""
        frame = messages.encode_goaway(Goaway(3, "x" + "ü" * 3000))
        [(_, payload)] = split_frames(frame)
        self.assertEqual(len(payload), 1 + 4095)
        self.assertEqual(payload[1:].decode(), "x" + "ü" * 2047)

    def test_a_long_text_is_read_up_to_its_limit(self):
        """The rest of it is of no use."""
        found = messages.decode_goaway(b"\x03" + b"x" * 10000)
        self.assertEqual(found, Goaway(3, "x" * 4096))

    def test_text_that_utf8_cannot_carry_is_mended(self):
        """A goodbye must not fail for its words."""
        [(_, payload)] = split_frames(messages.encode_goaway(Goaway(0, "a\ud800b")))
        self.assertEqual(payload, b"\x00a?b")


class PingTests(SynchronousTestCase):
    """Round-trip frames."""

    @given(st.integers(0, 255), st.binary(min_size=8, max_size=8))
    def test_a_ping_survives_the_way(self, kind, nonce):
        """The nonce comes back as it was."""
        [(_, payload)] = split_frames(messages.encode_ping(Ping(kind, nonce)))
        self.assertEqual(messages.decode_ping(memoryview(payload)), Ping(kind, nonce))
