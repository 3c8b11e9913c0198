"""Every frame of docs/vectors.json, both ways."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import PayloadError
from gateway.wire import frames
from gateway.wire.codec import FrameDecoder
from tests.wire.golden import CODECS, VECTORS


def payload_of(row):
    """Return the payload of the one frame of a row, by way of the decoder."""
    decoder = FrameDecoder()
    [(kind, payload)] = decoder.feed(bytes.fromhex(row["hex"]))
    if kind != row["kind"] or decoder.fault is not None:
        raise AssertionError(row["name"])
    return payload


class GoldenTests(SynchronousTestCase):
    """The bytes that other implementations rely on."""

    def test_every_frame_encodes_to_its_bytes(self):
        """Nothing of the format may change."""
        for row in VECTORS["frames"]:
            if "decode_only" not in row:
                encode, _ = CODECS[row["kind"]]
                self.assertEqual(
                    encode(row["message"]).hex(), row["hex"], msg=row["name"]
                )

    def test_every_frame_decodes_to_its_message(self):
        """Longer payloads and unknown keys included."""
        for row in VECTORS["frames"]:
            _, decode = CODECS[row["kind"]]
            found = decode(payload_of(row))
            self.assertEqual(found, row["message"], msg=row["name"])

    def test_every_malformed_payload_is_named(self):
        """The error says what is wrong with which frame."""
        for row in VECTORS["malformed"]:
            _, decode = CODECS[row["kind"]]
            try:
                found = decode(payload_of(row))
            except PayloadError as fault:
                self.assertIn(row["error"], str(fault), msg=row["name"])
            else:
                self.fail(f"{row['name']}: {found}")

    def test_every_unreadable_stream_is_a_fault(self):
        """Without one frame."""
        for row in VECTORS["unreadable"]:
            opening = row.get("stage") == "opening"
            decoder = FrameDecoder(frames.MAX_FIRST if opening else frames.MAX_PAYLOAD)
            decoder.eager = row.get("stage") == "decided"
            self.assertEqual(decoder.feed(bytes.fromhex(row["hex"])), [])
            fault = decoder.fault
            self.assertEqual(fault and fault.kind, row["fault"], msg=row["name"])

    def test_no_kind_is_missing(self):
        """Each kind has a frame in both lists of the names."""
        shown = {row["kind"] for row in VECTORS["frames"]}
        self.assertEqual(shown, set(frames.KIND_NAMES))
        self.assertEqual(shown, set(CODECS))

    def test_names_are_unique(self):
        """A name stands for one frame."""
        for part in ("frames", "malformed", "unreadable"):
            names = [row["name"] for row in VECTORS[part]]
            self.assertEqual(len(names), len(set(names)))
