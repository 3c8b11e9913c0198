"""The clock work of a link, on a clock that is only a number."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.mux.liveness import Liveness


class DeathTests(SynchronousTestCase):
    """When silence means that nobody is there."""

    def test_three_intervals_of_silence_are_death(self):
        """Not a moment less."""
        live = Liveness(15.0, now=100.0)
        self.assertEqual((live.dead_seconds, live.dead_at()), (45.0, 145.0))
        self.assertFalse(live.is_dead(144.9))
        self.assertTrue(live.is_dead(145.0))

    def test_any_byte_is_life(self):
        """The count starts anew."""
        live = Liveness(1.0, now=0.0)
        live.heard(2.5)
        self.assertFalse(live.is_dead(5.4))
        self.assertTrue(live.is_dead(5.5))

    def test_a_legacy_link_has_45_seconds_at_least(self):
        """Its peer may have an interval of its own."""
        live = Liveness(1.0, now=0.0)
        live.decide(5.0, legacy=True)
        self.assertEqual(live.dead_seconds, 45.0)
        live.decide(20.0, legacy=True)
        self.assertEqual(live.dead_seconds, 60.0)
        live.decide(5.0, legacy=False)
        self.assertEqual((live.dead_seconds, live.interval), (15.0, 5.0))

    def test_our_own_pauses_are_not_silence(self):
        """Whoever does not read cannot hear."""
        live = Liveness(1.0, now=0.0)
        live.pause(2.0)
        self.assertFalse(live.is_dead(500.0))
        live.resume(10.0)
        self.assertFalse(live.is_dead(10.9))
        self.assertTrue(live.is_dead(11.0))

    def test_pausing_twice_is_pausing_once(self):
        """So is resuming."""
        live = Liveness(1.0, now=0.0)
        live.pause(1.0)
        live.pause(2.0)
        live.resume(3.0)
        live.resume(9.0)
        self.assertEqual(live.dead_at(), 5.0)


class BeatTests(SynchronousTestCase):
    """Keep-alives that we originate."""

    def test_one_beat_an_interval(self):
        """The first after one interval."""
        live = Liveness(15.0, now=0.0)
        self.assertEqual(live.beat_at(), 15.0)
        found = [second for second in range(61) if live.beat_due(float(second))]
        self.assertEqual(found, [15, 30, 45, 60])

    def test_a_late_beat_is_not_made_up_for(self):
        """The next one is a whole interval later."""
        live = Liveness(15.0, now=0.0)
        self.assertTrue(live.beat_due(100.0))
        self.assertFalse(live.beat_due(114.9))
        self.assertTrue(live.beat_due(115.0))


class EchoTests(SynchronousTestCase):
    """Keep-alives that we answer."""

    @given(st.lists(st.floats(0, 0.4), max_size=80))
    def test_at_most_one_echo_a_second(self, gaps):
        """However many arrive, and the first is answered."""
        live, now, echoed = Liveness(15.0, now=0.0), 0.0, []
        for gap in gaps:
            now += gap
            if live.echo_due(now):
                echoed.append(now)
        self.assertEqual(bool(echoed), bool(gaps))
        for earlier, later in itertools.pairwise(echoed):
            self.assertGreaterEqual(later, earlier + 1.0)


class PingTests(SynchronousTestCase):
    """The measured round trip."""

    def test_an_answer_tells_the_round_trip(self):
        """Until then it is not known."""
        live = Liveness(15.0, now=0.0)
        self.assertIsNone(live.rtt_seconds)
        self.assertTrue(live.ask(b"12345678", 10.0))
        self.assertTrue(live.answered(b"12345678", 10.25))
        self.assertEqual(live.rtt_seconds, 0.25)

    def test_one_question_is_outstanding(self):
        """The next may leave when the first is answered."""
        live = Liveness(15.0, now=0.0)
        self.assertTrue(live.ask(b"a" * 8, 1.0))
        self.assertFalse(live.ask(b"b" * 8, 20.0))
        self.assertFalse(live.answered(b"b" * 8, 21.0))
        self.assertTrue(live.answered(b"a" * 8, 22.0))
        self.assertTrue(live.ask(b"b" * 8, 23.0))

    def test_an_answer_counts_once(self):
        """A second one, or one to nothing, is refused."""
        live = Liveness(15.0, now=0.0)
        self.assertFalse(live.answered(b"a" * 8, 1.0))
        live.ask(b"a" * 8, 1.0)
        self.assertTrue(live.answered(b"a" * 8, 2.0))
        self.assertFalse(live.answered(b"a" * 8, 3.0))
        self.assertEqual(live.rtt_seconds, 1.0)
