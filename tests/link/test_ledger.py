"""What the debug site shows of a link."""

import json

from twisted.trial.unittest import SynchronousTestCase

from gateway.interfaces import NamedLink
from gateway.link.ledger import as_text, ledger_of
from tests.link.rig import WINDOW, answer, data, legacy_gateway, negotiated_gateway


class LedgerTests(SynchronousTestCase):
    """Queues and credit."""

    def test_credit_of_a_stream_both_ways(self):
        rig = negotiated_gateway()
        visitor = rig.visit()
        rig.far.says(answer(visitor.id), data(visitor.id, b"x" * 1000))
        visitor.socket.peer_sends(b"y" * 300)
        found = ledger_of(NamedLink("office", 0, rig.link))
        self.assertEqual((found["state"], found["protocol"]), ("up", "negotiated"))
        [stream] = found["streams"]
        self.assertEqual(stream["state"], "open")
        self.assertEqual((stream["sent"], stream["received"]), (300, 1000))
        self.assertEqual(stream["send_credit"], WINDOW - 300)
        self.assertEqual(stream["receive_credit"], stream["window"] - 1000)
        self.assertFalse(stream["paused"])
        json.dumps(found)
        text = as_text([found])
        self.assertTrue(text.startswith("links: 1\n\noffice/0 "), text)
        self.assertIn(f"send_credit={WINDOW - 300}", text)

    def test_a_full_link_shows_what_waits(self):
        rig = negotiated_gateway()
        visitor = rig.visit()
        rig.far.says(answer(visitor.id))
        rig.fill()
        visitor.socket.peer_sends(b"y" * 300)
        found = ledger_of(NamedLink("office", 0, rig.link))
        [stream] = found["streams"]
        self.assertTrue(found["full"])
        self.assertEqual((found["stalled"], stream["tail"]), (1, 300))
        self.assertTrue(stream["paused"])

    def test_a_legacy_link_has_no_credit(self):
        rig = legacy_gateway()
        visitor = rig.visit()
        found = ledger_of(NamedLink(None, None, rig.link))
        self.assertEqual(found["protocol"], "legacy")
        [stream] = found["streams"]
        self.assertEqual(stream["id"], visitor.id)
        self.assertIsNone(stream["send_credit"])
        self.assertIn("send_credit=-", as_text([found]))
