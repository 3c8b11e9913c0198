"""Links whose ends have other roles than a gateway's and an agent's."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.roles import AGENT, GATEWAY, Roles
from gateway.wire.hello import Register, RegisterAck
from tests.mux.doubles import Side, a_hello, an_ack
from tests.strategies import raw_frame, with_id

OPENING_GREETER = Roles(greets=True, opens=True, dials=False)
DIALLING_ANSWERER = Roles(greets=False, opens=False, dials=True)
GREETER = Roles(greets=True, opens=True, dials=True)
ANSWERER = Roles(greets=False, opens=True, dials=True)


class Pair:
    """Two sessions that hear each other at once."""

    def __init__(self, greeter, answerer, **settings):
        self.greeter = Side(roles=greeter, **settings)
        self.answerer = Side(roles=answerer, answer=an_ack(), **settings)
        self.greeter.session.greet(a_hello())
        self.talk()

    def talk(self):
        """Carry what is said until neither end says anything."""
        sides = (self.greeter, self.answerer)
        while any(side.core.outbox for side in sides):
            for one, other in (sides, sides[::-1]):
                other.hear(*one.session.take())

    def exchange(self, opener, dialler):
        """Open a stream, talk both ways and finish it; return both its ends."""
        near = opener.open(port=5432, host="db")
        self.talk()
        far = dialler.observer.ends[-1]
        dialler.rules.answer(far.stream, 0)
        self.talk()
        opener.rules.send(near.stream, b"question")
        opener.rules.finish(near.stream)
        self.talk()
        dialler.rules.send(far.stream, b"answer")
        dialler.rules.finish(far.stream)
        self.talk()
        return near, far


class RolesTests(SynchronousTestCase):
    """Who opens does not depend on who greets."""

    def check(self, near, far):
        """A whole conversation took place."""
        self.assertEqual((far.request.port, far.request.host), (5432, "db"))
        self.assertEqual(bytes(far.received), b"question")
        self.assertEqual(bytes(near.received), b"answer")
        self.assertTrue(near.ending.flush and far.ending.flush)

    def test_the_greeting_end_opens_and_the_other_dials(self):
        """The roles of a gateway and an agent, exchanged."""
        pair = Pair(OPENING_GREETER, DIALLING_ANSWERER)
        near, far = pair.exchange(pair.greeter, pair.answerer)
        self.check(near, far)
        self.assertEqual(near.stream.id, 1)
        self.assertIsNone(pair.greeter.fault or pair.answerer.fault)

    def test_who_opens_is_asked_for_public_ports(self):
        """Whichever end has greeted."""
        pair = Pair(OPENING_GREETER, DIALLING_ANSWERER)
        wish = Register(id="web", port=0, host="127.0.0.1", local=8080)
        pair.answerer.session.register(wish)
        pair.talk()
        self.assertEqual(pair.greeter.observer.last("register_received"), wish)
        ack = RegisterAck(id="web", public_url="tcp://gw:10080", port=10080)
        pair.greeter.session.answer_registration(ack)
        pair.talk()
        self.assertEqual(pair.answerer.observer.last("register_answered"), ack)

    def test_who_greets_sends_the_keep_alives(self):
        """And the other end answers them."""
        pair = Pair(OPENING_GREETER, DIALLING_ANSWERER)
        pair.greeter.later(15)
        pair.answerer.later(15)
        self.assertIn((0x05, b""), pair.greeter.said())
        self.assertNotIn((0x05, b""), pair.answerer.said())
        pair.answerer.hear(raw_frame(0x05))
        self.assertEqual(pair.answerer.said(), [(0x05, b"")])

    def test_an_end_that_does_not_dial_takes_no_open(self):
        """Nor an answer, if it does not open."""
        pair = Pair(OPENING_GREETER, DIALLING_ANSWERER)
        pair.greeter.hear(raw_frame(0x14, bytes(10)))
        pair.answerer.hear(with_id(0x02, 1, b"\x00"))
        for side in (pair.greeter, pair.answerer):
            self.assertEqual(side.fault and side.fault.kind, "misplaced")

    def test_a_legacy_link_can_be_opened_by_the_greeting_end(self):
        """Its far end has said a keep-alive only."""
        opener = Side(roles=OPENING_GREETER)
        opener.session.greet(a_hello())
        opener.said()
        opener.hear(raw_frame(0x05))
        dialler = Side(roles=DIALLING_ANSWERER)
        dialler.later(2)
        near = opener.open(port=80)
        dialler.hear(*opener.session.take())
        dialler.rules.answer(dialler.observer.ends[0].stream, 0)
        opener.hear(*dialler.session.take())
        self.assertEqual(near.events, ["opened"])

    def test_a_stream_of_any_kind_reaches_the_dialler(self):
        """Who dials says whether it knows it, by an answer to that stream."""
        pair = Pair(AGENT, GATEWAY)
        known, odd = [
            pair.answerer.open(port=0, host="/run/db", protocol=kind)
            for kind in (1, 201)
        ]
        pair.talk()
        far, strange = pair.greeter.observer.ends
        self.assertEqual([far.request.protocol, strange.request.protocol], [1, 201])
        pair.greeter.rules.answer(strange.stream, 1)
        pair.greeter.rules.answer(far.stream, 0)
        pair.talk()
        self.assertEqual(known.events, ["opened"])
        self.assertEqual(odd.ending.reason, "refused: failure")

    def test_both_ends_open_and_dial_at_once(self):
        """The ids of the greeting end are odd, those of the other even."""
        pair = Pair(GREETER, ANSWERER)
        mine = [pair.greeter.open() for _ in range(3)]
        theirs = [pair.answerer.open() for _ in range(3)]
        pair.talk()
        self.assertEqual([end.stream.id for end in mine], [1, 3, 5])
        self.assertEqual([end.stream.id for end in theirs], [2, 4, 6])
        for side in (pair.greeter, pair.answerer):
            self.assertEqual(len(side.core.streams), 6)
        self.check(*pair.exchange(pair.greeter, pair.answerer))
        self.check(*pair.exchange(pair.answerer, pair.greeter))
        self.assertIsNone(pair.greeter.fault or pair.answerer.fault)

    def test_an_open_with_an_id_of_the_other_end_ends_the_link(self):
        """Each end gives out its own ids only."""
        for number, side_of in ((3, "greeter"), (4, "answerer")):
            side = getattr(Pair(GREETER, ANSWERER), side_of)
            side.hear(with_id(0x14, number, b"\x01\x00\x50\x00\x00\x00"))
            self.assertEqual(side.fault and side.fault.kind, "own_id")

    def test_gateways_and_agents_count_ids_as_ever(self):
        """One end opens, so every id is its own."""
        self.assertEqual((GATEWAY.first_id, GATEWAY.id_step), (1, 1))
        self.assertEqual((AGENT.first_id, AGENT.id_step), (1, 1))
