"""An agent asks for public ports and says which it got."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.agent.expose import Exposures
from gateway.wire import frames
from gateway.wire.hello import HelloAck, Register, RegisterAck
from tests.link.rig import negotiated_agent

SITE = Register(id="site", local=8080)
DATABASE = Register(id="db", local=5432)
REGISTERING = HelloAck(features=frozenset({"register"}))


class ExposeTests(SynchronousTestCase):
    """Wishes, answers and retries."""

    def setUp(self):
        self.clock = Clock()
        self.announced: list[str] = []
        self.rig = negotiated_agent()

    def exposures(self, *wishes):
        return Exposures(self.clock, wishes, self.announced.append)

    def asked(self):
        return self.rig.far.kinds().count(frames.REGISTER)

    def granted(self, exposures, url="tcp://:10001", gateway="gw.test", **fields):
        ack = RegisterAck(**{"id": "site", "public_url": url, "port": 10001, **fields})
        exposures.answered(self.rig.link, ack, gateway)

    def refused(self, exposures, word="site"):
        ack = RegisterAck(id=word, error="no available port")
        exposures.answered(self.rig.link, ack, "gw.test")

    def test_every_wish_is_sent_over_a_new_link(self):
        self.exposures(SITE, DATABASE).ask(self.rig.link, REGISTERING)
        self.assertEqual(2, self.asked())

    def test_without_wishes_nothing_is_asked_or_said(self):
        self.exposures().ask(self.rig.link, None)
        self.assertEqual(0, self.asked())

    def test_a_gateway_that_cannot_is_not_asked(self):
        exposures = self.exposures(SITE)
        exposures.ask(self.rig.link, None)
        exposures.ask(self.rig.link, HelloAck())
        self.assertEqual(0, self.asked())

    def test_the_address_names_the_gateway_as_it_was_dialled(self):
        for gateway, address in (
            ("gw.test", "tcp://gw.test:10001"),
            ("192.0.2.1", "tcp://192.0.2.1:10001"),
            ("2001:db8::1", "tcp://[2001:db8::1]:10001"),
        ):
            self.announced.clear()
            self.granted(self.exposures(SITE), gateway=gateway)
            self.assertEqual([address], self.announced)

    def test_an_address_with_a_host_stands_as_it_is(self):
        self.granted(self.exposures(SITE), "https://site.example.com")
        self.assertEqual(["https://site.example.com"], self.announced)

    def test_an_address_that_would_command_a_terminal_is_not_announced(self):
        for url in ("tcp://:10001\nrm -rf /", "tcp://\x1b[2Jgw:1"):
            self.granted(self.exposures(SITE), url)
        self.assertEqual([], self.announced)

    def test_an_address_is_announced_once(self):
        exposures = self.exposures(SITE)
        self.granted(exposures)
        self.granted(exposures)
        self.assertEqual(1, len(self.announced))
        self.granted(exposures, "tcp://:10002")
        self.assertEqual(2, len(self.announced))

    def test_an_answer_that_nobody_asked_for_is_passed_over(self):
        self.granted(self.exposures(SITE), id="other")
        self.assertEqual([], self.announced)

    def test_a_refusal_is_retried_after_30_seconds(self):
        exposures = self.exposures(SITE)
        self.refused(exposures)
        self.refused(exposures)
        self.clock.advance(29)
        self.assertEqual(0, self.asked())
        self.clock.advance(2)
        self.assertEqual(1, self.asked())
        self.assertFalse(self.clock.getDelayedCalls())

    def test_what_was_refused_is_announced_anew(self):
        exposures = self.exposures(SITE)
        self.granted(exposures)
        self.refused(exposures)
        self.granted(exposures)
        self.assertEqual(2, len(self.announced))

    def test_a_link_that_is_gone_is_not_asked_again(self):
        exposures = self.exposures(SITE)
        self.refused(exposures)
        self.rig.transport.peer_resets()
        self.clock.advance(31)
        self.assertEqual(0, self.asked())

    def test_the_stop_leaves_no_timer(self):
        exposures = self.exposures(SITE, DATABASE)
        self.refused(exposures)
        for _ in range(2):
            exposures.stop()
        self.refused(exposures, "db")
        self.assertFalse(self.clock.getDelayedCalls())
