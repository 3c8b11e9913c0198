"""Bulk bytes between two real sockets, inside of the kernel and out of it."""

import errno
import gc
import os
import random
import socket
import subprocess
import sys
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.net.poller import Poller, ReactorPoller
from gateway.net.splice import AVAILABLE, MOST_BYTES, PipePool
from gateway.relay.linger import PROGRESS_SECONDS
from gateway.relay.pair import FINISHED
from tests.net.hand import Hand, Joined

NOISE = random.Random(7).randbytes(1 << 21)
BULK = 1 << 20
EXAMPLES = settings(max_examples=40, deadline=None)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 1), st.integers(1, 300_000)),
        st.tuples(st.just("hear"), st.integers(0, 1), st.integers(1, 300_000)),
        st.tuples(st.just("spin"), st.just(0), st.integers(1, 4)),
        st.tuples(st.just("pause"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("resume"), st.integers(0, 1), st.just(0)),
    ),
    max_size=60,
)


class SpliceCase(SynchronousTestCase):
    """Has a reactor to be moved by hand."""

    skip = None if AVAILABLE else "this system cannot splice"

    def setUp(self):
        self.hand = Hand()
        self.addCleanup(self.hand.stop)
        self.pool = PipePool()

    def join(self, pool=None):
        """Return a new pair."""
        joined = Joined(self.hand, pool or self.pool)
        self.addCleanup(joined.close)
        self.hand.spin(2)
        return joined

    def assert_counted(self, joined):
        """What was said and heard on both sides is what was counted."""
        pair, visitor, target = joined.pair, joined.visitor, joined.target
        self.assertEqual(target.heard, visitor.said)
        self.assertEqual(visitor.heard, target.said)
        self.assertEqual(
            (pair.sent, pair.received), (len(visitor.said), len(target.said))
        )

    def assert_over(self, joined):
        """Everything of the pair is gone, and its end was told once."""
        self.assertEqual(len(joined.reasons), 1)
        self.assertEqual([one.connected for one in joined.transports], [False] * 2)
        self.assertEqual([one.unsent for one in joined.transports], [0, 0])
        self.assertEqual((self.pool.lent, len(joined.linger)), (0, 0))


worlds = st.sampled_from(
    [(Poller, True), (ReactorPoller, True), (Poller, False), (ReactorPoller, False)]
)


class LawTests(SpliceCase):
    """Whatever the order of things, with both pollers, with and without splicing."""

    def setUp(self):
        super().setUp()
        self.hands = {Poller: self.hand, ReactorPoller: Hand(ReactorPoller)}
        self.addCleanup(self.hands[ReactorPoller].stop)

    @contextmanager
    def played(self, world, plan):
        """Give a pair after the steps of a plan, and release it."""
        poller_class, splice = world
        joined = Joined(self.hands[poller_class], self.pool if splice else None)
        try:
            joined.hand.spin(2)
            for step, which, amount in plan:
                self.do(joined, step, which, amount)
            yield joined
        finally:
            joined.close()

    def do(self, joined, step, which, amount):
        side, transport = joined.sides[which], joined.transports[which]
        if step == "say":
            at = len(side.said) % BULK
            side.say(NOISE[at : at + amount])
            joined.hand.spin()
        elif step == "hear":
            side.hear(amount)
        elif step == "pause":
            transport.pauseProducing()
        elif step == "resume":
            transport.resumeProducing()
        else:
            joined.hand.spin(amount)

    def resume(self, joined):
        for transport in joined.transports:
            transport.resumeProducing()

    @EXAMPLES
    @given(worlds, steps, st.permutations([0, 1]), st.booleans())
    def test_every_byte_arrives_once_and_in_order(self, world, plan, order, wait):
        with self.played(world, plan) as joined:
            for which in order:
                joined.sides[which].finish()
                if wait:
                    joined.hand.spin(3)
            self.resume(joined)
            joined.run_out()
            self.assert_counted(joined)
            self.assertEqual([side.ended for side in joined.sides], ["end", "end"])
            self.assert_over(joined)
            self.assertEqual(joined.reasons, [FINISHED])

    @EXAMPLES
    @given(worlds, steps, st.integers(0, 1))
    def test_a_reset_ends_both_and_loses_no_pipe(self, world, plan, which):
        with self.played(world, plan) as joined:
            joined.sides[which].reset()
            joined.hand.spin(6)
            # without epoll a paused socket hears of a reset a second later
            self.resume(joined)
            joined.run_out()
            other = joined.sides[1 - which]
            self.assertEqual(other.ended, "reset")
            self.assertTrue(joined.sides[which].said.startswith(other.heard))
            self.assert_over(joined)

    @EXAMPLES
    @given(worlds, steps)
    def test_closing_delivers_what_was_taken(self, world, plan):
        with self.played(world, plan) as joined:
            taken = joined.pair.sent, joined.pair.received
            visitor, target = joined.sides
            said = len(visitor.said), len(target.said)
            joined.pair.close("removed")
            joined.run_out()
            heard = len(target.heard), len(visitor.heard)
            if taken == said:
                self.assertEqual(heard, taken)
            # the kernel resets a connection that is closed with bytes unread
            self.assertTrue(heard[0] <= taken[0] and heard[1] <= taken[1])
            self.assertTrue(visitor.said.startswith(target.heard))
            self.assertTrue(target.said.startswith(visitor.heard))
            self.assert_over(joined)
            self.assertEqual(joined.reasons, ["removed"])

    @EXAMPLES
    @given(worlds, steps)
    def test_aborting_drops_what_is_under_way(self, world, plan):
        with self.played(world, plan) as joined:
            joined.pair.abort("killed")
            joined.hand.spin(3)
            self.assert_over(joined)
            joined.run_out()
            self.assertTrue(joined.visitor.said.startswith(joined.target.heard))


class FlowTests(SpliceCase):
    """What a direction does as it grows and shrinks."""

    def setUp(self):
        super().setUp()
        self.fills: list[int] = []
        splice = os.splice

        def watched(src, dst, count, *, flags):
            moved = splice(src, dst, count, flags=flags)
            self.fills.append(moved)
            return moved

        self.patch(os, "splice", watched)

    def bulk(self, joined, size=BULK):
        joined.flow(joined.target, joined.visitor, NOISE[:size])

    def test_bulk_is_spliced(self):
        joined = self.join()
        self.bulk(joined)
        # each byte goes in and out
        self.assertGreater(sum(self.fills), 1.5 * BULK)
        self.assert_counted(joined)

    def test_small_messages_are_not(self):
        joined = self.join()
        for _ in range(30):
            joined.flow(joined.visitor, joined.target, b"x" * 100)
            joined.flow(joined.target, joined.visitor, b"y" * 3000)
        self.assertEqual(self.fills, [])
        self.assert_counted(joined)

    def test_a_direction_that_is_small_again_is_read_again(self):
        joined = self.join()
        self.bulk(joined)
        for _ in range(20):
            joined.flow(joined.target, joined.visitor, b"small")
        del self.fills[:]
        for _ in range(20):
            joined.flow(joined.target, joined.visitor, b"small")
        self.assertEqual(self.fills, [])
        self.bulk(joined)
        self.assertNotEqual(self.fills, [])
        self.assert_counted(joined)

    def test_directions_are_on_their_own(self):
        joined = self.join()
        self.bulk(joined)
        del self.fills[:]
        joined.flow(joined.visitor, joined.target, b"question")
        self.assertEqual(self.fills, [])

    def test_an_idle_pair_holds_no_pipe(self):
        joined = self.join()
        self.bulk(joined)
        self.assertEqual(self.pool.lent, 0)

    def test_a_pull_of_pipes_that_are_all_lent_is_read(self):
        joined = self.join(PipePool(most=0))
        self.bulk(joined)
        self.assertEqual(self.fills, [])
        self.assert_counted(joined)


class RefusalTests(SpliceCase):
    """Systems and sockets that do not splice."""

    def break_splicing(self, code, calls, socket_fd=None):
        """Let all calls that concern a socket fail but the first ones."""
        splice, left = os.splice, [calls]

        def broken(src, dst, count, *, flags):
            if socket_fd is None or socket_fd in (src, dst):
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(code, os.strerror(code))
            return splice(src, dst, count, flags=flags)

        self.patch(os, "splice", broken)
        self.left = left

    def test_a_pair_that_cannot_splice_does_without(self):
        for code in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            for calls in (0, 1, 2, 3, 8, 9):
                joined = self.join()
                self.break_splicing(code, calls)
                joined.flow(joined.target, joined.visitor, NOISE[:BULK])
                joined.target.finish()
                joined.visitor.finish()
                joined.run_out()
                self.assert_counted(joined)
                self.assert_over(joined)
                self.assertIn(self.left[0], (-1, -2))
                self.doCleanups()
                self.setUp()

    def test_a_source_that_breaks_ends_the_pair(self):
        joined = self.join()
        self.break_splicing(errno.ECONNRESET, 2, joined.far.fd)
        joined.fill(joined.target)
        joined.run_out()
        self.assert_over(joined)
        self.assertEqual(joined.reasons, ["the connection of the target broke"])

    def test_a_sink_that_breaks_ends_the_pair(self):
        joined = self.join()
        self.break_splicing(errno.EPIPE, 2, joined.near.fd)
        joined.fill(joined.target)
        joined.run_out()
        self.assert_over(joined)
        self.assertEqual(joined.reasons, ["the connection of the visitor broke"])

    def test_urgent_bytes_do_not_spin(self):
        """Splicing stops before an urgent byte; reading steps over it."""
        joined = self.join()
        joined.flow(joined.target, joined.visitor, NOISE[:BULK])
        heard = len(joined.visitor.heard)
        joined.target.sock.send(b"before")
        joined.target.sock.send(b"!", socket.MSG_OOB)
        joined.target.sock.send(b"after")
        joined.run_out()
        self.hand.wakes = 0
        self.hand.spin(30)
        self.assertLess(self.hand.wakes, 3)
        self.assertEqual(joined.visitor.heard[heard:], b"beforeafter")


class StallTests(SpliceCase):
    """A reader that has stopped."""

    def stalled(self):
        """Return a pair whose target has filled everything."""
        joined = self.join()
        joined.flow(joined.target, joined.visitor, NOISE[:BULK])
        joined.fill(joined.target)
        return joined

    def assert_quiet(self):
        self.hand.wakes = 0
        self.hand.spin(50)
        self.assertLess(self.hand.wakes, 3)  # the kernel may be late with something

    def test_what_is_under_way_is_bounded_and_counted(self):
        joined = self.stalled()
        self.assertGreater(joined.near.unsent, 0)
        self.assertLessEqual(joined.near.unsent, MOST_BYTES)
        self.assertEqual(self.pool.lent, 1)
        self.assert_quiet()
        joined.run_out()
        self.assert_counted(joined)
        self.assertEqual((joined.near.unsent, self.pool.lent), (0, 0))

    def test_nothing_is_read_before_the_pipe_is_empty(self):
        joined = self.join()
        joined.flow(joined.target, joined.visitor, NOISE[:BULK])
        while not joined.near.unsent:
            joined.target.say(b"x" * 65536)
            self.hand.spin()
        taken = joined.pair.received
        joined.fill(joined.target)
        self.assertEqual(joined.pair.received, taken)

    def test_the_other_direction_goes_on(self):
        joined = self.stalled()
        joined.flow(joined.visitor, joined.target, NOISE[:BULK])
        joined.flow(joined.visitor, joined.target, b"small")
        self.assert_quiet()

    def test_a_full_sink_is_no_reason_to_wake_up(self):
        joined = self.stalled()
        joined.target.finish()
        self.hand.spin(3)
        self.assert_quiet()
        joined.visitor.finish()
        self.hand.spin(3)
        self.assert_quiet()
        joined.run_out()
        self.assert_counted(joined)
        self.assert_over(joined)

    def test_what_is_in_the_pipe_goes_before_the_end(self):
        joined = self.stalled()
        joined.pair.close("removed")
        self.hand.spin(3)
        self.assertEqual((joined.reasons, self.pool.lent), ([], 1))
        taken = joined.pair.received
        joined.run_out()
        self.assertEqual(len(joined.visitor.heard), taken)
        self.assert_over(joined)

    def test_a_close_without_progress_becomes_a_reset(self):
        joined = self.stalled()
        joined.pair.close("removed")
        joined.clock.advance(PROGRESS_SECONDS - 1)
        joined.visitor.hear()
        self.hand.spin(2)
        joined.fill(joined.target)
        joined.clock.advance(1)
        self.hand.spin(2)
        if not joined.reasons:
            joined.clock.advance(PROGRESS_SECONDS)
            self.hand.spin(2)
        self.assert_over(joined)

    def test_a_reset_is_noticed_while_the_source_is_paused(self):
        joined = self.stalled()
        joined.target.reset()
        self.hand.spin(3)
        joined.run_out()
        self.assert_over(joined)
        self.assertEqual(joined.visitor.ended, "reset")

    def test_a_reset_of_the_reader_drops_what_is_in_the_pipe(self):
        joined = self.stalled()
        open_before = self.pool.open
        joined.visitor.reset()
        self.hand.spin(3)
        self.assert_over(joined)
        self.assertLess(self.pool.open, open_before)

    def test_a_pipe_is_for_one_direction_at_a_time(self):
        pairs = [self.stalled() for _ in range(5)]
        self.assertEqual(self.pool.lent, 5)
        for joined in pairs:
            joined.run_out()
            self.assert_counted(joined)
        self.assertEqual(self.pool.lent, 0)

    def test_what_is_written_behind_a_pipe_stays_behind_it(self):
        joined = self.stalled()
        taken = joined.pair.received
        joined.near.write(b"inserted")
        joined.run_out()
        said = bytes(joined.target.said)
        self.assertEqual(
            joined.visitor.heard, said[:taken] + b"inserted" + said[taken:]
        )


class DescriptorTests(SpliceCase):
    """What is left behind, and what is done without."""

    def count(self):
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    def test_many_connections_leave_nothing(self):
        self.join().close()
        before = self.count()
        pool = PipePool()
        for number in range(200):
            joined = Joined(self.hand, pool)
            joined.flow(joined.target, joined.visitor, NOISE[:100_000])
            if number % 4 == 1:
                joined.fill(joined.target)
            if number % 4 == 2:
                joined.target.reset()
            elif number % 4 == 3:
                joined.pair.close("enough")
            joined.close()
            del joined
        self.assertEqual(pool.lent, 0)
        self.assertLessEqual(self.count(), before + 2 * pool.open)
        del pool
        self.assertEqual(self.count(), before)

    def test_a_process_without_descriptors_does_without_pipes(self):
        script = (
            "import resource\n"
            "from gateway.net.splice import PipePool\n"
            "from tests.net.hand import Hand, Joined\n"
            "pool = PipePool()\n"
            "joined = Joined(Hand(), pool)\n"
            "highest = max(one.fd for one in joined.transports)\n"
            "highest = max(highest, *(s.sock.fileno() for s in joined.sides))\n"
            "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))\n"
            "joined.flow(joined.target, joined.visitor, b'0123456789abcdef' * 65536)\n"
            "assert joined.visitor.heard == joined.target.said\n"
            "assert pool.open == 0\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 40, hard))\n"
            "for _ in range(30):  # the pool asks the system again after a while\n"
            "    joined.flow(joined.target, joined.visitor, b'0' * (1 << 23))\n"
            "    if pool.open:\n"
            "        break\n"
            "assert joined.visitor.heard == joined.target.said\n"
            "assert pool.open == 1, pool.open\n"
            "print('as it should be')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.stderr, done.stdout), ("", "as it should be\n"))
