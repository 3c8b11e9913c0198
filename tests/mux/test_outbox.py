"""What may leave before what, and how much may wait."""

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.outbox import FRAME_BYTES, MAX_CONTROL_BYTES, Outbox
from gateway.policy.budget import Budget
from tests.strategies import split_frames


class OutboxTests(SynchronousTestCase):
    """Two queues that look like one."""

    def test_urgent_frames_go_before_data(self):
        """In the order of their own."""
        outbox = Outbox()
        outbox.data(7, b"data", 4, 4)
        outbox.urgent(b"ping")
        outbox.behind(b"fin")
        outbox.urgent(b"window")
        head = b"\x01\x03\x00\x00\x00\x08\x00\x00\x00\x07"
        found = list(outbox.take())
        self.assertEqual(found, [b"ping", b"window", head, b"data", b"fin"])

    def test_what_is_taken_is_gone(self):
        """And counted."""
        outbox = Outbox()
        self.assertFalse(outbox)
        outbox.data(7, memoryview(b"xyz"), 2, 2)
        self.assertTrue(outbox)
        outbox.take()
        outbox.urgent(b"ping")
        self.assertTrue(outbox)
        outbox.take()
        self.assertFalse(outbox)
        self.assertEqual(list(outbox.take()), [])
        self.assertEqual(outbox.sent_bytes, 16)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["urgent", "behind", "data", "take"]),
                st.binary(min_size=1, max_size=4),
            )
        )
    )
    def test_nothing_is_lost_and_each_queue_keeps_its_order(self, steps):
        """Whenever it is emptied."""
        outbox = Outbox()
        out: list[Any] = []
        urgent: list[bytes] = []
        ordered: list[bytes] = []
        wanted: list[bytes] = []
        for name, piece in steps:
            if name == "take":
                out += outbox.take()
                wanted += urgent + ordered
                urgent, ordered = [], []
            elif name == "data":
                outbox.data(7, piece, len(piece), 4)
                size = struct.pack("!I", len(piece) + 4)
                ordered += [b"\x01\x03" + size + b"\x00\x00\x00\x07", piece]
            else:
                getattr(outbox, name)(piece)
                (urgent if name == "urgent" else ordered).append(piece)
        out += outbox.take()
        self.assertEqual(out, wanted + urgent + ordered)
        self.assertEqual(outbox.sent_bytes, sum(map(len, out)))

    def test_more_than_one_mib_of_control_frames_is_a_flood(self):
        """Whichever queue they stand in; exactly 1 MiB is not."""
        for name in ("urgent", "behind"):
            outbox = Outbox()
            getattr(outbox, name)(bytes(MAX_CONTROL_BYTES - 1 - 2 * FRAME_BYTES))
            outbox.urgent(b"x")
            self.assertFalse(outbox.flooded, msg=name)
            getattr(outbox, name)(b"x")
            self.assertTrue(outbox.flooded, msg=name)
            outbox.take()
            self.assertFalse(outbox.flooded, msg=name)

    def test_control_frames_are_counted_in_memory_until_they_leave(self):
        memory = Budget()
        outbox = Outbox(memory)
        outbox.urgent(b"ping")
        outbox.behind(b"fin")
        outbox.data(7, b"data", 4, 4)
        self.assertEqual(memory.held, 7 + 2 * FRAME_BYTES)
        outbox.take()
        self.assertEqual(memory.held, 0)

    def test_a_closed_one_holds_nothing_and_takes_nothing(self):
        memory = Budget()
        outbox = Outbox(memory)
        outbox.urgent(b"ping")
        outbox.close()
        outbox.behind(b"fin")
        self.assertEqual((memory.held, outbox.waiting_bytes), (0, 0))
        self.assertEqual(list(outbox.take()), [])

    def test_data_is_no_flood(self):
        """Credit and the link's fullness bound it."""
        outbox = Outbox()
        outbox.data(7, bytes(MAX_CONTROL_BYTES + 1), MAX_CONTROL_BYTES + 1, 1 << 22)
        self.assertFalse(outbox.flooded)
        self.assertEqual(MAX_CONTROL_BYTES, 1 << 20)


class DataTests(SynchronousTestCase):
    """Near bytes to the pieces of frames."""

    def test_pieces_join_to_frames(self):
        """Of any size and limit; only the first bytes are taken."""
        data = bytes(range(256)) * 3
        for size in (1, 2, 99, 100, 101, 200, 201, 767, 768):
            for limit in (1, 100, 768, 1000):
                outbox = Outbox()
                outbox.data(7, data, size, limit)
                waiting = outbox.waiting_bytes
                whole = b"".join(outbox.take())
                self.assertEqual(waiting, len(whole))
                found = split_frames(whole)
                joined = b"".join(payload[4:] for _, payload in found)
                self.assertEqual(joined, data[:size])
                for kind, payload in found:
                    self.assertEqual((kind, payload[:4]), (3, b"\x00\x00\x00\x07"))
                    self.assertTrue(1 <= len(payload) - 4 <= limit)

    def test_a_whole_chunk_is_not_copied(self):
        """The piece is the chunk itself."""
        data = b"x" * 100
        outbox = Outbox()
        outbox.data(7, data, 100, 100)
        self.assertIs(outbox.take()[1], data)
