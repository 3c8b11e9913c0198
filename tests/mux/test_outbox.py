"""What may leave before what, and how much may wait."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.outbox import MAX_CONTROL_BYTES, Outbox


class OutboxTests(SynchronousTestCase):
    """Two queues that look like one."""

    def test_urgent_frames_go_before_data(self):
        """In the order of their own."""
        outbox = Outbox()
        outbox.ordered(b"head", b"data")
        outbox.urgent(b"ping")
        outbox.behind(b"fin")
        outbox.urgent(b"window")
        found = list(outbox.take())
        self.assertEqual(found, [b"ping", b"window", b"head", b"data", b"fin"])

    def test_what_is_taken_is_gone(self):
        """And counted."""
        outbox = Outbox()
        self.assertFalse(outbox)
        outbox.ordered(b"abc", memoryview(b"xyz")[:2])
        self.assertTrue(outbox)
        outbox.take()
        outbox.urgent(b"ping")
        self.assertTrue(outbox)
        outbox.take()
        self.assertFalse(outbox)
        self.assertEqual(list(outbox.take()), [])
        self.assertEqual(outbox.sent_bytes, 9)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["urgent", "behind", "ordered", "take"]),
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
            getattr(outbox, name)(bytes(MAX_CONTROL_BYTES - 1))
            outbox.urgent(b"x")
            self.assertFalse(outbox.flooded, msg=name)
            getattr(outbox, name)(b"x")
            self.assertTrue(outbox.flooded, msg=name)
            outbox.take()
            self.assertFalse(outbox.flooded, msg=name)

    def test_data_is_no_flood(self):
        """Credit and the link's fullness bound it."""
        outbox = Outbox()
        outbox.ordered(b"head", bytes(MAX_CONTROL_BYTES + 1))
        self.assertFalse(outbox.flooded)
        self.assertEqual(MAX_CONTROL_BYTES, 1 << 20)
