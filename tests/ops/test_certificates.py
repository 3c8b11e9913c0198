"""Certificates are read anew when their files change."""

from twisted.internet.task import Clock

from gateway.errors import OperatorError
from gateway.ops.certificates import LOOK_SECONDS, CertificateWatch
from gateway.ops.events import Events
from tests.server.rig import LogCase


class WatchTests(LogCase):
    """Looks now and then, and when it is told to."""

    def setUp(self):
        super().setUp()
        self.clock = Clock()
        self.outcome: bool | OperatorError = False
        self.looks = 0
        self.happened = Events(self.clock, lambda: 0.0, "feed")
        self.watch = CertificateWatch(
            self.clock, {"the port": self.read_again}, self.happened.emit
        )

    def read_again(self):
        self.looks += 1
        if isinstance(self.outcome, OperatorError):
            raise self.outcome
        return self.outcome

    def test_every_few_seconds_from_the_start_to_the_stop(self):
        self.watch.start()
        self.watch.start()
        self.clock.pump([LOOK_SECONDS] * 3)
        self.assertEqual(self.looks, 3)
        self.watch.stop()
        self.watch.stop()
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.looks, 3)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_nothing_to_look_at_needs_no_timer(self):
        CertificateWatch(self.clock, {}).start()
        self.assertFalse(self.clock.getDelayedCalls())

    def test_a_change_is_said(self):
        self.watch.look()
        self.assertEqual(self.lines("read anew"), [])
        self.outcome = True
        self.watch.look()
        self.assertEqual(len(self.lines("certificate of the port read anew")), 1)
        self.assertEqual(
            [(one.topic, one.action, one.fields) for one in self.happened.since(0)],
            [("reload", "reloaded", {"what": "certificate of the port"})],
        )

    def test_a_fault_is_said_and_the_next_look_comes(self):
        self.outcome = OperatorError("a.crt: No such file")
        self.watch.start()
        self.clock.advance(LOOK_SECONDS)
        (line,) = self.lines("the old one stays")
        self.assertIn("a.crt: No such file", line)
        self.outcome = True
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(len(self.lines("certificate of the port read anew")), 1)
