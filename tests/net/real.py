"""What the tests of real sockets share."""

import gc
import os
from typing import Any

from twisted.internet import reactor as _reactor  # noqa: TID251 - sockets need it
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway.net.network import Network

reactor: Any = _reactor
PATIENCE_SECONDS = 10.0
STEP_SECONDS = 0.001


async def until(condition, patience_seconds=PATIENCE_SECONDS):
    """Let the reactor run until `condition()` is true."""
    deadline = reactor.seconds() + patience_seconds
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError("it did not happen")
        await deferLater(reactor, STEP_SECONDS)


async def settle():
    """Let the reactor do what can be done without waiting."""
    for _ in range(20):
        await deferLater(reactor, STEP_SECONDS)


class RealSocketsCase(TestCase):
    """A test with a network of its own on the real reactor."""

    timeout = 60

    def poller(self):
        """Return the poller to test with; None chooses as the product does."""

    def setUp(self):
        self.network = Network(reactor, self.poller())

    async def until(self, condition):
        await until(condition)

    async def settle(self):
        await settle()

    async def open_descriptors(self):
        """Return how many descriptors this process has open, garbage aside."""
        await settle()  # a reactor that has just started has opened its own
        gc.collect()
        return len(os.listdir("/proc/self/fd"))
