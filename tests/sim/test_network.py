"""The contract of `INetwork`, kept by the simulated one."""

from typing import Any

from twisted.internet.task import LoopingCall

from tests.contracts.network import NetworkContract
from tests.net.real import RealSocketsCase, reactor
from tests.sim.clock import SimClock
from tests.sim.kernel import Kernel
from tests.sim.process import Process

STEP_SECONDS = 0.02


class SimNetworkTests(RealSocketsCase, NetworkContract):
    """The fake clock is kept going by the real reactor, as fast as it can."""

    network: Any

    def setUp(self):
        clock = SimClock()
        kernel = Kernel(clock, 1)
        self.network = Process(kernel, "host", "process").network
        self.addCleanup(self.network.close)
        pump = LoopingCall(clock.run, STEP_SECONDS)
        pump.clock = reactor
        pump.start(0)
        self.addCleanup(pump.stop)


class GatheredSimNetworkTests(SimNetworkTests):
    """The same with writes that leave at the end of the turn."""

    gathered = True
