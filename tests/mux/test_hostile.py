"""A peer that sends well-formed frames in any order, and one that sends anything."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import ProtocolError
from gateway.mux.stream import State
from tests.mux.doubles import (
    RecordingEnd,
    Side,
    a_hello,
    an_ack,
    legacy_agent,
    legacy_gateway,
    negotiated_agent,
    negotiated_gateway,
)
from tests.strategies import cuts, open_payload, raw_frame, valid_frames

FLUSHING = {"finished", "closed by the far end", "link lost"}


def undecided_gateway():
    """A gateway that has heard nothing yet, and accepts anybody."""
    return Side(gateway=True, answer=an_ack())


def slow_gateway():
    """A gateway whose owner never answers a HELLO."""
    return Side(gateway=True)


def strict_gateway():
    """A gateway that takes no legacy peers."""
    return Side(gateway=True, answer=an_ack(), allow_legacy=False)


def undecided_agent():
    """An agent that has said HELLO."""
    side = Side(gateway=False)
    side.session.greet(a_hello())
    side.said()
    return side


MAKERS = [
    undecided_gateway,
    slow_gateway,
    strict_gateway,
    undecided_agent,
    negotiated_gateway,
    negotiated_agent,
    legacy_gateway,
    legacy_agent,
]
ACTIONS = ["open", "answer", "refuse", "send", "finish", "reset", "repay", "tick"]
STEPS = st.one_of(
    valid_frames(),
    valid_frames(st.just(1)),
    valid_frames(st.just(2)),
    st.sampled_from(ACTIONS),
    st.tuples(st.just("again"), st.integers(2, 30)),
)


class Owner:
    """Does what an owner may do, whatever the peer does."""

    def __init__(self, side):
        self.side = side
        self.ends = side.observer.ends
        self.opened: list[RecordingEnd] = []

    def live(self):
        found = [*self.opened, *self.ends]
        return [end for end in found if end.stream.state is not State.ENDED]

    def act(self, action):
        side, session = self.side, self.side.session
        if action == "tick":
            if side.later(3.0) is not None:
                session.end()
        elif session.rules is None or session.ended:
            return
        elif action == "open":
            if side.core.settings.roles.opens and len(self.opened) < 20:
                self.opened.append(side.open())
        elif self.live():
            self._treat(self.live()[-1], action)

    def _treat(self, end, action):
        rules, stream = self.side.rules, end.stream
        dialing = stream.state in (State.DIALING, State.DIALING_FR)
        if action == "answer" and dialing:
            rules.answer(stream, 0)
        elif action == "refuse" and dialing:
            rules.answer(stream, 2)
        elif action == "send" and stream.state in (State.OPEN, State.FR, State.OPENING):
            rules.send(stream, bytes(5000))
        elif action == "finish" and stream.state in (State.OPEN, State.FR):
            rules.finish(stream)
        elif action == "reset":
            rules.reset(stream, 0, "the owner wants it")
        elif action == "repay" and not dialing:
            rules.repay(stream, 0)


class HostilePeerTests(SynchronousTestCase):
    """Protocol errors are the only way out."""

    def _check(self, side, owner):
        core = side.core
        live = {end.stream.id for end in owner.live()}
        self.assertTrue(live <= set(core.streams))
        self.assertLessEqual(len(core.streams), 2 * len(live))
        for end in [*owner.opened, *owner.ends]:
            over = end.stream.state is State.ENDED
            self.assertEqual(len(end.endings), int(over))
            if over and end.ending.flush:
                self.assertIn(end.ending.reason, FLUSHING)
        fault = side.fault
        if fault is not None:
            self.assertIsInstance(fault, ProtocolError)
            self.assertTrue(side.session.ended)
            self.assertEqual(core.counts[f"fault_{fault.kind}"], 1)
        if side.session.ended:
            self.assertEqual(core.streams, {})

    @settings(max_examples=400, deadline=None)
    @given(st.sampled_from(MAKERS), st.lists(STEPS, max_size=40))
    def test_frames_in_any_order(self, make, steps):
        """Of either direction, with an owner that acts in between."""
        side = make()
        owner = Owner(side)
        frame = b""
        for step in steps:
            if isinstance(step, bytes):
                frame = step
                side.hear(frame)
            elif isinstance(step, tuple):
                side.hear(frame * step[1])
            else:
                owner.act(step)
            self._check(side, owner)
        side.said()
        side.session.end()
        self._check(side, owner)

    @settings(max_examples=100, deadline=None)
    @given(
        st.sampled_from(
            [undecided_agent, negotiated_agent, legacy_agent, legacy_gateway]
        ),
        st.lists(valid_frames(), max_size=20).map(b"".join),
        st.data(),
    )
    def test_cuts_change_nothing(self, make, stream, data):
        """Neither what is said nor what the owner hears."""
        whole, pieces = make(), make()
        whole.hear(stream)
        for chunk in data.draw(cuts(stream)):
            pieces.hear(chunk)
        self.assertEqual(pieces.said(), whole.said())
        self.assertEqual(pieces.core.counts, whole.core.counts)
        self.assertEqual(pieces.observer.names(), whole.observer.names())
        self.assertEqual(
            [end.events for end in pieces.observer.ends],
            [end.events for end in whole.observer.ends],
        )

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(MAKERS), st.lists(st.binary(max_size=60), max_size=10))
    def test_arbitrary_bytes(self, make, chunks):
        """A fault at most."""
        side = make()
        for chunk in chunks:
            side.hear(chunk)
        self._check(side, Owner(side))

    def test_a_flood_of_opens_leaves_bounded_tables(self):
        """Live streams are the owner's to limit; closed ones are forgotten."""
        side = negotiated_agent()
        for number in range(12_000):
            side.hear(raw_frame(0x14, open_payload(number)))
            end = side.observer.ends.pop()
            side.rules.answer(end.stream, 6)
            side.session.take()
        self.assertEqual(side.core.streams, {})
        self.assertEqual(len(side.core.tombstones), 10_000)
        self.assertIsNone(side.fault)
