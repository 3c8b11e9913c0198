"""Hypothesis strategies, and the frame format written a second time.

What is here never calls the code under test: a fault of the codec must not be
able to hide itself.
"""

import itertools
import json
import struct

from hypothesis import strategies as st

HEADER = struct.Struct("!BBI")
MIB = 1 << 20


def raw_frame(kind, payload=b"", *, version=1, length=None):
    """Return a frame by the text of the protocol; `length` can lie."""
    size = len(payload) if length is None else length
    return HEADER.pack(version, kind, size) + payload


def split_frames(stream):
    """Return the (kind, payload) pairs of a whole number of frames."""
    found = []
    start = 0
    while start < len(stream):
        version, kind, size = HEADER.unpack_from(stream, start)
        body = start + HEADER.size
        if version != 1 or body + size > len(stream):
            raise AssertionError(f"not whole frames at byte {start}")
        found.append((kind, bytes(stream[body : body + size])))
        start = body + size
    return found


def json_frame(kind, **fields):
    """Return a frame whose payload is one JSON object."""
    return raw_frame(kind, json.dumps(fields).encode())


def with_id(kind, stream_id, rest=b""):
    """Return a frame whose payload starts with a stream id."""
    return raw_frame(kind, struct.pack("!I", stream_id) + rest)


def open_payload(stream_id, port=80, host=b"", meta=b"", protocol=1):
    """Return the payload of OPEN."""
    head = struct.pack("!IBHB", stream_id, protocol, port, len(host))
    return head + host + struct.pack("!H", len(meta)) + meta


def frames(max_size=300):
    """Any kind with any payload."""
    return st.tuples(st.integers(0, 255), st.binary(max_size=max_size))


@st.composite
def cuts(draw, stream):
    """Cut a byte string anywhere, empty pieces included."""
    places = draw(st.lists(st.integers(0, len(stream)), max_size=12))
    edges = [0, *sorted(places), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def stream_ids():
    """Mostly few and small, so that they meet; the ends of the range too."""
    return st.one_of(st.integers(0, 6), st.sampled_from([(1 << 32) - 1, 1 << 31]))


def _json_values():
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 40), 1 << 40),
        st.floats(),
        st.text(max_size=20),
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )


def json_objects(*keys):
    """Objects that have some of the named keys, with any values."""
    return st.dictionaries(
        st.sampled_from(keys) | st.text(max_size=5), _json_values(), max_size=8
    )


def hello_fields():
    """A HELLO that is in order."""
    return st.fixed_dictionaries(
        {
            "instance": st.text("0123456789abcdef", min_size=16, max_size=16),
            "window": st.integers(16384, (1 << 31) - 1),
            "max_frame": st.integers(4100, MIB),
        }
    )


def valid_frames(ids=None):
    """Frames of the right form for their kind, as bytes, of either direction."""
    ids = stream_ids() if ids is None else ids
    byte = st.integers(0, 255).map(lambda n: bytes((n,)))
    small = st.integers(0, 6).map(lambda n: bytes((n,)))
    port = st.integers(0, 65535).map(lambda n: struct.pack("!H", n))
    host = st.binary(max_size=8).map(lambda text: bytes((len(text),)) + text)
    credit = st.sampled_from([0, 1, 4096, 1 << 20, (1 << 31) - 1])
    credits = credit.map(lambda n: struct.pack("!I", n))
    chunk = st.sampled_from([b"", b"x", b"y" * 100, b"z" * 20000])
    nonce = st.binary(min_size=8, max_size=8)
    return st.one_of(
        st.builds(with_id, st.just(0x01), ids, port),
        st.builds(with_id, st.just(0x01), ids, st.tuples(port, host).map(b"".join)),
        st.builds(with_id, st.just(0x02), ids, small),
        st.builds(with_id, st.just(0x03), ids, chunk),
        st.builds(with_id, st.just(0x04), ids),
        st.just(raw_frame(0x05)),
        hello_fields().map(lambda fields: json_frame(0x10, **fields)),
        st.just(json_frame(0x11, session="s")),
        st.builds(with_id, st.just(0x12), ids),
        st.builds(with_id, st.just(0x13), ids, credits),
        ids.map(lambda found: raw_frame(0x14, open_payload(found))),
        st.just(json_frame(0x15, id="web", local=80)),
        st.just(json_frame(0x16, id="web", port=80)),
        st.builds(with_id, st.just(0x18), ids, small),
        st.builds(lambda kind, text: raw_frame(0x1A, kind + text), small, nonce),
        st.builds(raw_frame, st.sampled_from([0x00, 0x06, 0x19, 0x7F]), byte),
        # rare, since it ends so much
        small.map(lambda reason: raw_frame(0x17, reason)),
    )
