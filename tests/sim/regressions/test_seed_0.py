"""A write that met a reset made the rest of the reading look like an orderly end."""

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tests.contracts.network import HalfRecorder, RecordingFactory
from tests.sim.clock import SimClock
from tests.sim.kernel import Kernel
from tests.sim.process import Process
from tests.sim.storm import run_seed


class TruncationTests(SynchronousTestCase):
    """A reset is a reset, whichever call is told of it first."""

    def test_seed_0(self):
        run_seed(0)

    def test_a_reset_that_a_write_meets_is_no_end_of_reading(self):
        """The system tells it once: to the write; the read then finds no more bytes."""
        clock = SimClock()
        process = Process(Kernel(clock, 0), "host", "process")
        accepting, connecting = RecordingFactory(), RecordingFactory(HalfRecorder)
        listening = process.network.listen("", 0, accepting)
        listening.startAccepting()
        port = listening.getHost().port
        process.network.connect("127.0.0.1", port, connecting, 5.0)
        clock.run(1.0)
        (near,), (far,) = connecting.built, accepting.built
        far.transport.write(b"half an answer")
        clock.run(1.0)
        far.transport.pauseProducing()
        near.transport.write(bytes(1_000_000))
        clock.run(1.0)
        far.transport.abortConnection()
        clock.run(1.0)
        self.assertEqual(near.calls, ["made", "data", "lost"])
        near.reasons[0].trap(ConnectionLost)
