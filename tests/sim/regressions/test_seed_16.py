"""A stopping gateway said goodbye to its agents in an order of its own."""

from twisted.trial.unittest import SynchronousTestCase

from tests.sim.storm import run_seed


class GoodbyeOrderTests(SynchronousTestCase):
    """Links are told to go in the order in which they came."""

    def test_seed_16_tells_the_same_story_twice(self):
        self.assertEqual(run_seed(16).trace, run_seed(16).trace)
