"""Leaving politely, leaving at once, and being told to."""

from twisted.trial.unittest import SynchronousTestCase

from tests.mux.doubles import (
    Side,
    a_hello,
    an_ack,
    hello_frame,
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
)
from tests.strategies import open_payload, raw_frame, with_id

SUCCESS = with_id(0x02, 1, b"\x00")
RESET = with_id(0x18, 1, b"\x00")
FIN = with_id(0x12, 1)
OPEN = raw_frame(0x14, open_payload(1))


def goaway(reason, text=b""):
    """Return a GOAWAY as bytes."""
    return raw_frame(0x17, bytes((reason,)) + text)


def watch(side, *ends):
    """Settle the session when a stream ends, as the owner of a link does."""
    for end in ends:
        end.on_ended = side.session.settle


class PoliteTests(SynchronousTestCase):
    """GOAWAY 0 and 4: no new streams, running ones finish."""

    def test_the_first_sender_waits_for_answer_and_streams(self):
        """In either order; then it is finished, once."""
        for reason in (0, 4):
            for answer_first in (True, False):
                side = negotiated_gateway()
                end = side.open()
                watch(side, end)
                side.said()
                side.session.leave(reason, "stopping")
                self.assertEqual(side.said(), [(0x17, bytes((reason,)) + b"stopping")])
                self.assertTrue(side.session.leaving)
                for frame in (goaway(reason), RESET)[:: 1 if answer_first else -1]:
                    self.assertEqual(side.observer.names(), [])
                    side.hear(frame)
                self.assertEqual(side.observer.names(), ["finished"])
                self.assertTrue(side.session.ended)
                side.session.settle()
                self.assertEqual(side.observer.names(), ["finished"])

    def test_an_idle_link_finishes_with_the_answer(self):
        """There is nothing else to wait for."""
        side = negotiated_agent()
        side.session.leave(0, "")
        self.assertFalse(side.session.ended)
        side.hear(goaway(0))
        self.assertEqual(side.observer.names(), ["finished"])

    def test_a_goodbye_is_answered_once(self):
        """Behind the data before it, and the owner is told once."""
        for reason in (0, 4):
            side = negotiated_gateway()
            end = side.open()
            side.hear(SUCCESS)
            side.said()
            side.rules.send(end.stream, b"data")
            side.hear(goaway(reason, b"bye"), goaway(reason, b"bye"))
            side.hear(goaway(4 - reason))
            said = side.said()
            self.assertEqual([kind for kind, _ in said], [0x03, 0x17])
            self.assertEqual(said[1][1], bytes((reason,)))
            self.assertEqual(
                side.observer.calls, [("goodbye_received", (reason, "bye"))]
            )
            self.assertTrue(side.session.far_leaving)
            self.assertFalse(side.session.ended)
            self.assertIsNone(end.ending)

    def test_running_streams_go_on(self):
        """On both sides of a goodbye."""
        side = negotiated_gateway()
        end = side.open()
        side.hear(SUCCESS, goaway(0))
        side.hear(with_id(0x03, 1, b"more"), FIN)
        side.rules.send(end.stream, b"answer")
        side.rules.finish(end.stream)
        self.assertEqual([k for k, _ in side.said()], [0x14, 0x17, 0x03, 0x12])
        self.assertTrue(end.ending.flush)

    def test_opens_before_the_answer_are_served(self):
        """The gateway had not read the goodbye yet."""
        side = negotiated_agent()
        side.session.leave(0, "stopping")
        side.hear(OPEN, goaway(0))
        [end] = side.observer.ends
        watch(side, end)
        self.assertEqual(end.events, ["requested"])
        self.assertEqual(side.observer.names(), [])
        side.rules.answer(end.stream, 0)
        side.hear(RESET)
        self.assertEqual(side.observer.names(), ["finished"])

    def test_crossing_goodbyes_answer_each_other(self):
        """Neither end answers any more, and both finish."""
        for make in (negotiated_gateway, negotiated_agent):
            side = make()
            side.session.leave(0, "me")
            side.hear(goaway(4, b"no, me"))
            self.assertEqual(side.said(), [(0x17, b"\x00me")])
            self.assertEqual(side.observer.names(), ["finished"])

    def test_leaving_after_the_far_end_needs_no_word(self):
        """Its goodbye was answered, so both know."""
        side = negotiated_gateway()
        end = side.open()
        watch(side, end)
        side.hear(goaway(0))
        side.said()
        side.session.leave(0, "me too")
        self.assertEqual(side.said(), [])
        self.assertNotIn("finished", side.observer.names())
        side.hear(RESET)
        self.assertEqual(side.observer.names(), ["goodbye_received", "finished"])

    def test_leaving_twice_is_leaving_once(self):
        """One GOAWAY."""
        side = negotiated_gateway()
        side.session.leave(0, "first")
        side.session.leave(4, "second")
        self.assertEqual(side.said(), [(0x17, b"\x00first")])

    def test_a_legacy_link_is_told_nothing(self):
        """Its streams finish all the same."""
        for make in (legacy_gateway, legacy_agent):
            side = make()
            if side.core.settings.roles.opens:
                end = side.open()
            else:
                side.hear(with_id(0x01, 1, b"\x00\x50"))
                [end] = side.observer.ends
            watch(side, end)
            side.said()
            side.session.leave(0, "stopping")
            self.assertEqual((side.said(), side.observer.names()), ([], []))
            side.hear(with_id(0x04, 1))
            self.assertEqual(side.observer.names(), ["finished"])

    def test_an_ended_link_leaves_no_more(self):
        """It is silent."""
        side = negotiated_gateway()
        side.session.end()
        side.session.leave(0, "late")
        side.session.leave(1, "late")
        side.session.settle()
        self.assertEqual((side.said(), side.observer.calls), ([], []))


class ImpoliteTests(SynchronousTestCase):
    """GOAWAY 1 to 3: all streams end."""

    def test_an_impolite_goodbye_ends_all_streams(self):
        """No answer is waited for."""
        for reason in (1, 2, 3):
            side = negotiated_gateway()
            opening, finished = side.open(), side.open()
            side.hear(with_id(0x02, 2, b"\x00"), with_id(0x12, 2))
            side.said()
            side.session.leave(reason, "go")
            self.assertEqual(side.said(), [(0x17, bytes((reason,)) + b"go")])
            self.assertFalse(opening.ending.flush)
            self.assertTrue(finished.ending.flush)
            self.assertTrue(side.session.ended)
            self.assertEqual(side.observer.names(), [])

    def test_an_impolite_goodbye_is_not_answered(self):
        """The owner is told, and the streams have ended before that."""
        for reason in (1, 2, 3, 9):
            side = negotiated_agent()
            side.hear(OPEN)
            [end] = side.observer.ends
            side.hear(goaway(reason, b"go"), OPEN)
            self.assertEqual(end.events, ["requested", "ended"])
            self.assertEqual(
                side.observer.calls, [("goodbye_received", (reason, "go"))]
            )
            self.assertEqual(side.said(), [])
            self.assertEqual(len(side.observer.ends), 1)

    def test_an_impolite_goodbye_may_follow_a_polite_one(self):
        """A link that takes its time to leave can still be replaced."""
        for far_first in (False, True):
            side = negotiated_gateway()
            end = side.open()
            side.said()
            if far_first:
                side.hear(goaway(0))
            else:
                side.session.leave(0, "stopping")
            side.said()
            side.session.leave(1, "replaced")
            self.assertEqual(side.said(), [(0x17, b"\x01replaced")])
            self.assertEqual(end.events, ["ended"])
            self.assertTrue(side.session.ended)

    def test_a_polite_leaver_can_be_told_to_go(self):
        """The far end has lost its patience."""
        side = negotiated_agent()
        side.session.leave(0, "stopping")
        side.hear(goaway(2, b"revoked"))
        self.assertEqual(side.observer.names(), ["goodbye_received"])
        self.assertTrue(side.session.ended)

    def test_a_legacy_link_just_ends(self):
        """GOAWAY means nothing to its peer."""
        side = legacy_gateway()
        end = side.open()
        side.said()
        side.session.leave(1, "replaced")
        self.assertEqual((side.said(), end.events), ([], ["ended"]))


class UndecidedTests(SynchronousTestCase):
    """Leaving before the link has found out what it speaks."""

    def test_a_gateway_that_knows_hello_says_goodbye(self):
        """Between HELLO and HELLO_ACK nothing else is said."""
        side = Side(gateway=True)
        side.hear(hello_frame())
        side.session.leave(0, "stopping")
        self.assertEqual(side.said(), [(0x17, b"\x00stopping")])
        side.session.accept(an_ack())
        self.assertEqual(side.said(), [])
        self.assertIsNone(side.session.rules)
        self.assertIsNotNone(side.later(5))

    def test_a_gateway_that_has_heard_nothing_says_nothing(self):
        """The peer may be a legacy one."""
        side = Side(gateway=True)
        side.session.leave(0, "stopping")
        self.assertEqual((side.said(), side.observer.names()), ([], ["finished"]))

    def test_an_agent_says_nothing(self):
        """The same."""
        side = Side(gateway=False)
        side.session.greet(a_hello())
        side.said()
        side.session.leave(0, "stopping")
        self.assertEqual((side.said(), side.observer.names()), ([], ["finished"]))
