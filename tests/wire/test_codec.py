"""Frames, whole and in pieces."""

import struct
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import FrameTooLargeError, ProtocolError, VersionError
from gateway.wire.codec import ALL, MORE, FrameDecoder, encode_frame
from gateway.wire.frames import KIND_NAMES, MAX_CONTROL, REGISTER
from tests.strategies import MIB, cuts, frames, raw_frame


def decode(chunks, limit=MIB):
    """Return the frames and the fault of a decoder that was fed `chunks`."""
    decoder = FrameDecoder(limit)
    found = [
        (kind, bytes(payload))
        for chunk in chunks
        for kind, payload in decoder.feed(chunk)
    ]
    fault = decoder.fault
    return found, None if fault is None else (type(fault), str(fault))


def faults():
    """Ways to end a stream: whole, cut short, or broken."""
    return st.sampled_from(
        [
            b"",
            b"\x01",
            b"\x01\x03\x00",
            raw_frame(3, b"abc", length=9),
            raw_frame(3, version=2),
            b"\x00\x00\x00\x08\x00\x00\x00\x01data",
            raw_frame(3, length=401),
            raw_frame(3, length=(1 << 32) - 1),
            b"HTTP/1.1 400 Bad Request",
        ]
    )


class EncodeFrameTests(SynchronousTestCase):
    """One frame to bytes."""

    @given(frames())
    def test_a_frame_is_version_kind_length_payload(self, frame):
        """The layout is that of the protocol's text."""
        self.assertEqual(encode_frame(*frame), raw_frame(*frame))

    def test_a_payload_of_one_mib_is_the_longest(self):
        """One byte more is refused, with both numbers."""
        self.assertEqual(len(encode_frame(3, bytes(MIB))), MIB + 6)
        fault = self.assertRaises(FrameTooLargeError, encode_frame, 3, bytes(MIB + 1))
        self.assertEqual((fault.length, fault.limit), (MIB + 1, MIB))


class FrameDecoderTests(SynchronousTestCase):
    """Bytes to frames."""

    @given(st.lists(frames()), st.data())
    def test_any_cut_gives_the_same_frames(self, sent, data):
        """Chunk borders are invisible."""
        stream = b"".join(raw_frame(*frame) for frame in sent)
        self.assertEqual(decode(data.draw(cuts(stream))), (sent, None))

    @given(st.lists(frames(), max_size=4), faults(), st.binary(max_size=20), st.data())
    def test_any_cut_gives_the_same_fault(self, sent, ending, rest, data):
        """What is readable before a fault is returned, however it was cut."""
        stream = b"".join(raw_frame(*frame) for frame in sent) + ending + rest
        whole = decode([stream], limit=400)
        self.assertEqual(whole[0][: len(sent)], sent)
        self.assertEqual(decode(data.draw(cuts(stream)), limit=400), whole)
        single = [stream[at : at + 1] for at in range(len(stream))]
        self.assertEqual(decode(single, limit=400), whole)

    @given(st.lists(st.binary(max_size=40)))
    def test_arbitrary_bytes_raise_nothing(self, chunks):
        """A fault is a value; garbage cannot break the decoder."""
        decoder = FrameDecoder()
        for chunk in chunks:
            decoder.feed(chunk)
        if decoder.fault is not None:
            self.assertIsInstance(decoder.fault, ProtocolError)

    def test_another_version_is_found_by_its_first_byte(self):
        """Nothing else is waited for."""
        decoder = FrameDecoder()
        self.assertEqual(decoder.feed(b"\x02"), [])
        fault = decoder.fault
        assert isinstance(fault, VersionError)
        self.assertEqual((fault.version, fault.kind), (2, "version"))

    def test_a_v1_frame_is_called_by_its_name(self):
        """length(4) connID(4) data of v1.x starts with a zero byte."""
        decoder = FrameDecoder()
        decoder.feed(struct.pack("!II", 8, 1) + b"data")
        self.assertIn("v1.x", str(decoder.fault))

    def test_a_length_of_one_mib_is_accepted(self):
        """The limit itself is no fault."""
        found, fault = decode([raw_frame(3, bytes(MIB))])
        self.assertEqual((len(found[0][1]), fault), (MIB, None))

    def test_two_mib_are_a_fault_before_any_payload(self):
        """The header alone is enough, and nothing is kept."""
        for length in (MIB + 1, 2 * MIB, (1 << 32) - 1):
            decoder = FrameDecoder()
            decoder.feed(raw_frame(3, length=length))
            fault = decoder.fault
            assert isinstance(fault, FrameTooLargeError)
            self.assertEqual(fault.length, length)
            self.assertEqual(self._kept_by(decoder, [bytes(MIB)] * 4), 0)

    def test_nothing_is_read_after_a_fault(self):
        """A stream that was unreadable once stays so."""
        decoder = FrameDecoder()
        decoder.feed(b"\x02")
        fault = decoder.fault
        self.assertEqual(decoder.feed(raw_frame(5)), [])
        self.assertIs(decoder.fault, fault)

    def test_the_limit_can_be_lowered(self):
        """A negotiated limit holds from the next frame on."""
        decoder = FrameDecoder()
        self.assertEqual(len(decoder.feed(raw_frame(3, bytes(200)))), 1)
        decoder.limit = 100
        self.assertEqual(len(decoder.feed(raw_frame(3, bytes(100)))), 1)
        decoder.feed(raw_frame(3, length=101))
        self.assertIsInstance(decoder.fault, FrameTooLargeError)

    def _kept_by(self, decoder, chunks):
        """Return the bytes that are allocated after feeding, chunks not counted."""
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for chunk in chunks:
                decoder.feed(chunk)
            del chunk
            return tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()

    def test_tiny_chunks_of_a_large_frame_do_not_multiply(self):
        """Two bytes at a time cost no more memory than the frame itself."""
        size = 200_000

        def chunks():
            yield raw_frame(3, length=size)
            for _ in range(size // 2 - 1):
                yield struct.pack("!H", 7)

        kept = self._kept_by(FrameDecoder(), chunks())
        self.assertLess(kept, 1.5 * size)

    def test_a_frame_in_large_chunks_comes_whole(self):
        """With small ones between them."""
        payload = bytes(range(256)) * 100
        stream = raw_frame(3, payload)
        chunks = [stream[:9], stream[9:5000], stream[5000:5001], stream[5001:20000]]
        chunks += [stream[20000:22000], stream[22000:22010], stream[22010:]]
        self.assertEqual(decode(chunks), ([(3, payload)], None))

    def test_a_short_rest_does_not_keep_a_long_chunk(self):
        """What stays of a chunk is copied when it is the smaller part of it."""

        def chunks():
            yield raw_frame(3, bytes(MIB)) + raw_frame(3, b"ab", length=9)

        self.assertLess(self._kept_by(FrameDecoder(), chunks()), 2000)


def as_eager(sent):
    """Return frames as an eager decoder gives them: unknown ones without payload."""
    return [(kind, payload if kind in KIND_NAMES else b"") for kind, payload in sent]


def decode_eagerly(chunks, limit=MIB, work=ALL):
    """Return the frames, pieces joined, and the fault of an eager decoder.

    Args:
        chunks: what it is fed.
        limit: of payloads.
        work: what it may do in one call; the rest is fed again.
    """
    decoder = FrameDecoder(limit)
    decoder.eager = True
    found: list[tuple[int, bytes]] = []
    for chunk in chunks:
        rest = bytes(chunk)
        while rest:
            spoilt = bytearray(rest)
            for kind, payload in decoder.feed(memoryview(spoilt), work):
                if kind == MORE:
                    begun, so_far = found.pop()
                    found.append((begun, so_far + bytes(payload)))
                else:
                    found.append((kind, bytes(payload)))
            spoilt[:] = bytes(len(spoilt))  # the buffer is used again
            rest = rest[len(rest) - decoder.rest :]
    fault = decoder.fault
    return found, None if fault is None else (type(fault), str(fault))


class EagerTests(SynchronousTestCase):
    """Data frames in pieces, out of a buffer that is used again."""

    @given(st.lists(frames()), st.data())
    def test_any_cut_gives_the_same_frames(self, sent, data):
        """Data frames once their pieces are joined, all others as they are."""
        stream = b"".join(raw_frame(*frame) for frame in sent)
        found = as_eager(sent)
        self.assertEqual(decode_eagerly(data.draw(cuts(stream))), (found, None))
        single = [stream[at : at + 1] for at in range(len(stream))]
        self.assertEqual(decode_eagerly(single), (found, None))

    @given(st.lists(frames()), st.integers(1, 100), st.data())
    def test_any_bound_of_work_gives_the_same_frames(self, sent, work, data):
        """What is left alone and fed again is as good as new."""
        stream = b"".join(raw_frame(*frame) for frame in sent)
        found = decode_eagerly(data.draw(cuts(stream)), work=work)
        self.assertEqual(found, (as_eager(sent), None))

    def test_one_call_does_the_work_that_it_may(self):
        """Light frames are many of it, heavy ones few."""
        for kind, count in ((3, 100), (0x7F, 100), (0x13, 50), (REGISTER, 1)):
            decoder = FrameDecoder()
            decoder.eager = True
            frame = raw_frame(kind, b"12345678")
            self.assertEqual(len(decoder.feed(frame * 500, 100)), count)
            self.assertEqual(decoder.rest, (500 - count) * len(frame))

    def test_a_heavy_frame_in_pieces_counts_once(self):
        decoder = FrameDecoder()
        frame = raw_frame(REGISTER, b"{}")
        decoder.feed(frame[:7], 129)
        self.assertEqual(len(decoder.feed(frame[7:] + frame * 3, 129)), 2)
        self.assertEqual(decoder.rest, 2 * len(frame))

    def test_unknown_frames_are_passed_over_and_never_kept(self):
        decoder = FrameDecoder()
        decoder.eager = True
        self.assertEqual(decoder.feed(raw_frame(0x7F, length=MIB)), [(0x7F, b"")])
        for _ in range(16):
            self.assertEqual(decoder.feed(bytes(MIB // 16)), [])
        self.assertEqual((decoder.pending, decoder.skipped), (0, MIB))
        self.assertEqual(decoder.feed(raw_frame(5)), [(5, b"")])

    def test_other_frames_have_a_length_of_4608_at_most(self):
        """All that is known but Data, whatever that may have."""
        for kind in KIND_NAMES.keys() - {3}:
            found, fault = decode_eagerly([raw_frame(kind, bytes(MAX_CONTROL))])
            self.assertEqual((len(found), fault), (1, None))
            found, fault = decode_eagerly([raw_frame(kind, length=MAX_CONTROL + 1)])
            self.assertEqual(found, [])
            self.assertEqual(fault[0] if fault else None, FrameTooLargeError)

    def test_nothing_is_kept_once_it_is_cleared(self):
        decoder = FrameDecoder()
        decoder.feed(raw_frame(5, bytes(1000))[:-1])
        self.assertEqual(decoder.pending, 1005)
        decoder.clear()
        self.assertEqual(decoder.pending, 0)

    @given(st.lists(frames(), max_size=4), faults(), st.binary(max_size=20), st.data())
    def test_any_cut_gives_the_same_fault(self, sent, ending, rest, data):
        """What is readable before a fault is returned, however it was cut."""
        stream = b"".join(raw_frame(*frame) for frame in sent) + ending + rest
        whole = decode_eagerly([stream], limit=400)
        self.assertEqual(decode_eagerly(data.draw(cuts(stream)), limit=400), whole)

    def test_a_data_frame_is_handed_on_as_it_arrives(self):
        """First the connID with what is there, then only bytes."""
        decoder = FrameDecoder()
        decoder.eager = True
        stream = raw_frame(3, b"\0\0\0\7" + b"abcdef") + raw_frame(5)
        self.assertEqual(decoder.feed(stream[:9]), [])
        pieces = [
            [(kind, bytes(payload)) for kind, payload in decoder.feed(chunk)]
            for chunk in (stream[9:10], stream[10:12], stream[12:])
        ]
        self.assertEqual(
            pieces,
            [[(3, b"\0\0\0\7")], [(MORE, b"ab")], [(MORE, b"cdef"), (5, b"")]],
        )

    def test_nothing_of_a_data_frame_is_kept(self):
        """However long it is and however slowly it comes."""
        decoder = FrameDecoder()
        decoder.eager = True
        chunks = [raw_frame(3, bytes(4), length=MIB), *[bytes(100)] * 5000]
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for chunk in chunks:
                decoder.feed(chunk)
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        self.assertLess(kept, 2000)

    def test_a_data_frame_without_a_whole_id_comes_whole(self):
        """Its receiver says what is wrong with it."""
        self.assertEqual(
            decode_eagerly([raw_frame(3, b"abc")[:8], b"c"]), ([(3, b"abc")], None)
        )
