"""A stopping gateway said goodbye to its agents in an order of its own."""

from twisted.trial.unittest import SynchronousTestCase

from tests.sim.storm import run_seed
from tests.sim.world import World


class GoodbyeOrderTests(SynchronousTestCase):
    """Links are told to go in the order in which they came."""

    def test_seed_16_tells_the_same_story_twice(self):
        self.assertEqual(run_seed(16).trace, run_seed(16).trace)

    def test_agents_are_told_in_the_order_of_their_arrival(self):
        world = World(16)
        self.addCleanup(world.close)
        world.start_gateway()
        names = [f"agent-{number}" for number in range(9)]
        for name in names:
            agent = world.start_agent("left", name)
            world.until(lambda agent=agent: agent.connected)
        world.outcome(world.gateway.stopService())
        said = [line for line in world.trace if "agent link down: agent" in line]
        told = [line.split("agent link down: agent ")[1].split()[0] for line in said]
        self.assertEqual(told, names)
