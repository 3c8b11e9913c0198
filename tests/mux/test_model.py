"""A gateway and an agent over a pipe that delays and cuts, but never alters.

The model is what an honest pair of owners does; its totals are its own.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.stream import State, StreamRequest
from tests.mux.doubles import RecordingEnd, Side, a_hello, an_ack

WINDOW = 16384
MAX_FRAME = 4100
PATTERN = bytes((n * 7 + n // 251) & 255 for n in range(1 << 20))
RARELY = st.integers(0, 99).map(lambda n: n in (41, 42, 43, 44))
MAY_FINISH = {State.OPENING, State.OPEN, State.FR}


class Near(RecordingEnd):
    """A near socket with an application behind it.

    Attributes:
        said: bytes that the application has written.
        sent: how many of them the session has taken.
        left: how many received bytes the kernel has taken.
        finishing: the application has no more.
    """

    def __init__(self, side, seed):
        super().__init__()
        self.side = side
        self.said = bytearray()
        self.sent = self.left = 0
        self.finishing = self.finished = False
        self.seed = seed * 1009
        self.on_ended = side.session.settle

    @property
    def over(self):
        return bool(self.endings)

    @property
    def held(self):
        return len(self.received) - self.left

    def opened(self):
        super().opened()
        self.pump()

    def granted(self):
        super().granted()
        self.pump()

    def write(self, size):
        start = self.seed + len(self.said)
        self.said += PATTERN[start : start + size]
        self.pump()

    def finish(self):
        self.finishing = True
        self.pump()

    def pump(self):
        """Hand over what may be sent, then the end of it."""
        rules, state = self.side.rules, self.stream.state
        if self.over or state in (State.DIALING, State.DIALING_FR):
            return
        while self.sent < len(self.said):
            taken = rules.send(self.stream, bytes(self.said[self.sent :]))
            if not taken:
                return
            self.sent += taken
        waits = state is State.OPENING and not self.side.session.negotiated
        if self.finishing and not self.finished and not waits and state in MAY_FINISH:
            self.finished = True
            rules.finish(self.stream)

    def drain(self, amount):
        """Let the kernel take some of what was received."""
        self.left += amount
        self.side.rules.repay(self.stream, self.held)


class Pipe:
    """One direction of the connection."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.chunks: deque[bytes] = deque()
        self.closed = False

    def fill(self):
        """Take what the source has to say."""
        found = b"".join(self.source.session.take())
        if found and not self.closed:
            self.chunks.append(found)

    def arrive(self, limit):
        """Hand at most `limit` bytes to the sink."""
        if self.chunks:
            chunk = self.chunks.popleft()
            if len(chunk) > limit:
                self.chunks.appendleft(chunk[limit:])
            self.sink.hear(chunk[:limit])

    def close(self):
        """Lose what is under way."""
        self.closed = True
        self.chunks.clear()


class LinkMachine(RuleBasedStateMachine):
    """Random owners and a random network."""

    legacy = False

    def __init__(self):
        super().__init__()
        numbers = {"window": WINDOW, "max_frame": MAX_FRAME}
        self.gateway = Side(gateway=True, answer=an_ack(**numbers), **numbers)
        self.agent = Side(gateway=False, **numbers)
        self.sides = (self.gateway, self.agent)
        self.down = Pipe(self.gateway, self.agent)
        self.up = Pipe(self.agent, self.gateway)
        self.near: list[Near] = []
        self.far: dict[int, Near] = {}
        self.lost = False
        self.agent.observer.new_end = self._new_end  # type: ignore[method-assign]

    @initialize()
    def begin(self):
        if self.legacy:
            self._later(2.0)
            self.agent.hear(b"\x01\x05\x00\x00\x00\x00")
        else:
            self.agent.session.greet(a_hello(window=WINDOW, max_frame=MAX_FRAME))
            self._settle_down()
        for _ in range(2):
            self.open()
        self._settle_down()
        for end in self._dialing():
            self.agent.rules.answer(end.stream, 0)
        for end in self._live():
            end.write(20000)

    def _new_end(self, stream):
        end = Near(self.agent, 500 + len(self.far))
        end.stream = stream
        self.far[stream.id] = end
        return end

    def _ends(self):
        return [*self.near, *self.far.values()]

    def _live(self):
        return [end for end in self._ends() if not end.over]

    def _pick(self, choice, ends):
        return choice.draw(st.sampled_from(list(ends)))

    # -- what owners do ---------------------------------------------------------

    def _may_open(self):
        session = self.gateway.session
        return not (session.ended or session.leaving or session.far_leaving)

    @precondition(lambda self: self._may_open() and len(self.near) < 12)
    @rule()
    def open(self):
        end = Near(self.gateway, len(self.near))
        self.near.append(end)
        end.stream = self.gateway.rules.open(end, StreamRequest(1, 80, "", {}))

    @precondition(lambda self: self.legacy and any(not e.over for e in self.near))
    @rule(choice=st.data())
    def ask_again(self, choice):
        live = [end for end in self.near if not end.over]
        self.gateway.rules.open_long(self._pick(choice, live).stream, 80)

    def _dialing(self):
        states = (State.DIALING, State.DIALING_FR)
        return [end for end in self.far.values() if end.stream.state in states]

    @precondition(lambda self: self._dialing())
    @rule(choice=st.data(), status=st.sampled_from([0, 0, 0, 2]))
    def dialled(self, choice, status):
        end = self._pick(choice, self._dialing())
        self.agent.rules.answer(end.stream, status)
        if not status:
            end.pump()

    @precondition(lambda self: self._live())
    @rule(choice=st.data(), size=st.sampled_from([1, 100, 5000, 20000, 60000]))
    def write(self, choice, size):
        end = self._pick(choice, self._live())
        if not end.finishing and len(end.said) < 400_000:
            end.write(size)

    @precondition(lambda self: self._live())
    @rule(choice=st.data())
    def finish(self, choice):
        self._pick(choice, self._live()).finish()

    @precondition(lambda self: self._live())
    @rule(choice=st.data(), reason=st.sampled_from([0, 2, 5]))
    def reset(self, choice, reason):
        end = self._pick(choice, self._live())
        end.side.rules.reset(end.stream, reason, "the owner wants it")

    def _holding(self):
        return [end for end in self._live() if end.held and end not in self._dialing()]

    @precondition(lambda self: self._holding())
    @rule(choice=st.data(), whole=st.booleans())
    def drain(self, choice, whole):
        end = self._pick(choice, self._holding())
        end.drain(end.held if whole else choice.draw(st.integers(1, end.held)))

    @rule(choice=st.data(), reason=st.sampled_from([0, 4]))
    def leave(self, choice, reason):
        if choice.draw(RARELY):
            self._pick(choice, self.sides).session.leave(reason, "leaving")

    @rule(seconds=st.sampled_from([0.5, 5.0, 14.0]))
    def later(self, seconds):
        self._later(seconds)

    def _later(self, seconds):
        for side in self.sides:
            side.now += seconds
        for side in self.sides:
            if side.session.tick(side.now) is not None:
                self._lose()

    # -- what the network does ---------------------------------------------------

    @rule(downward=st.booleans())
    def fill(self, downward):
        (self.down if downward else self.up).fill()

    @rule(
        downward=st.booleans(),
        limit=st.sampled_from([1, 5, 11, 1000, 4106, 1 << 20]),
    )
    def arrive(self, downward, limit):
        (self.down if downward else self.up).arrive(limit)

    @rule()
    def arrive_in_full(self):
        for pipe in (self.down, self.up):
            pipe.fill()
            pipe.arrive(1 << 20)

    @precondition(lambda self: self._holding())
    @rule()
    def drain_all(self):
        for end in self._holding():
            end.drain(end.held)

    @rule(choice=st.data())
    def lose(self, choice):
        if choice.draw(RARELY):
            self._lose()

    def _lose(self):
        self.lost = True
        for pipe in (self.down, self.up):
            pipe.close()
        for side in self.sides:
            side.session.end()
            side.session.take()

    # -- what must hold -----------------------------------------------------------

    def _pairs(self):
        """Yield (from, to) of both directions of every stream."""
        by_id = {end.stream.id: end for end in self.near if end.stream is not None}
        for stream_id, far in self.far.items():
            near = by_id.get(stream_id)
            if near is None:  # the second request of a visitor, and the slower one
                assert not far.received
            else:
                yield near, far
                yield far, near

    @invariant()
    def nothing_is_lost_doubled_or_reordered(self):
        for source, sink in self._pairs():
            assert source.said.startswith(sink.received)
            assert len(sink.received) <= source.sent

    @invariant()
    def a_finished_direction_is_whole(self):
        for source, sink in self._pairs():
            finished = "far_finished" in sink.events or (
                sink.over and sink.endings[0].reason == "finished" and not self.legacy
            )
            if finished or (
                sink.over
                and sink.endings[0].reason == "closed by the far end"
                and sink.endings[0].flush
                and source.finished
            ):
                assert sink.received == source.said

    @invariant()
    def what_is_under_way_or_held_fits_the_window(self):
        if not self.legacy:
            for source, sink in self._pairs():
                assert source.sent - sink.left <= WINDOW
                assert sink.held <= WINDOW

    @invariant()
    def streams_end_at_most_once(self):
        for end in self._ends():
            assert len(end.endings) <= 1

    @invariant()
    def nobody_breaks_the_protocol(self):
        for side in self.sides:
            assert side.fault is None, side.fault

    @invariant()
    def tables_hold_live_streams_only(self):
        for side, ends in (
            (self.gateway, self.near),
            (self.agent, list(self.far.values())),
        ):
            ids = set()
            for end in ends:
                if not end.over:
                    ids |= {end.stream.id, end.stream.other_id} - {None}
            assert set(side.core.streams) == ids

    # -- the end ------------------------------------------------------------------

    def _settle_down(self):
        """Let the network and all kernels do what they have to do."""
        for _ in range(10_000):
            for pipe in (self.down, self.up):
                pipe.fill()
                pipe.arrive(1 << 20)
            for end in self._holding():
                end.drain(end.held)
            busy = any(side.core.outbox for side in self.sides)
            if not (busy or self.down.chunks or self.up.chunks or self._holding()):
                return
        raise AssertionError("the two ends never come to rest")

    def _close_behind_the_last_word(self):
        """A session that has finished closes the connection."""
        if any(side.session.ended for side in self.sides):
            for side in self.sides:
                side.session.end()

    def teardown(self):
        if not self.lost:
            self._settle_down()
            self._close_behind_the_last_word()
            for end in self._dialing():
                self.agent.rules.answer(end.stream, 0)
            for end in self._live():
                if not end.finishing:
                    end.write(30000)
                end.finish()
            self._settle_down()
            self._close_behind_the_last_word()
            self.nothing_is_lost_doubled_or_reordered()
            self.a_finished_direction_is_whole()
            self.nobody_breaks_the_protocol()
        leaving = any(side.session.leaving for side in self.sides)
        ended = all(side.session.ended for side in self.sides)
        assert ended == (leaving or self.lost)
        for side in self.sides:
            assert side.core.streams == {}
            assert not side.core.outbox
        for end in self._ends():
            assert len(end.endings) == 1


class LegacyLinkMachine(LinkMachine):
    """The same with two ends that know the plain protocol only."""

    legacy = True


EFFORT = settings(max_examples=80, stateful_step_count=50, deadline=None)


class ModelTests(SynchronousTestCase):
    """Trial collects `test_*` methods only, so the machines are run from here."""

    def test_a_negotiated_link(self):
        """Credit, half-close, resets, goodbyes, loss."""
        run_state_machine_as_test(LinkMachine, settings=EFFORT)

    def test_a_legacy_link(self):
        """Close, both forms of request, goodbyes, loss."""
        run_state_machine_as_test(LegacyLinkMachine, settings=EFFORT)
