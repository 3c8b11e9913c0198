"""The probe of a gateway: how it measures."""

import os
import socket
import time
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.agent import probe
from gateway.agent.probe import Prober
from gateway.config.agent import AgentConfig
from gateway.ops.path import Probe
from gateway.wire.messages import PADDING_BYTES


class ConnectTests(SynchronousTestCase):
    """The connection."""

    def test_small_pieces_wait_for_no_acknowledgement(self):
        """They would make the speed that is measured a tenth of what it is."""
        made: list[Any] = []
        connect = socket.create_connection

        def create_connection(*args):
            made.append(connect(*args))
            return made[0]

        self.patch(socket, "create_connection", create_connection)
        with socket.create_server(("127.0.0.1", 0)) as server:
            host, port = server.getsockname()
            found = Probe(host=host, port=port, addresses=[host])
            probe._connect(found)
            with made[0]:
                option = socket.IPPROTO_TCP, socket.TCP_NODELAY
                self.assertEqual(made[0].getsockopt(*option), 1)


class SpeedTests(SynchronousTestCase):
    """Bytes and seconds."""

    def measure(self, *trips):
        """Return what is found where the exchanges of PING take so long."""
        clock = [0.0]
        left = list(trips)

        class Connection:
            def within(self, seconds):
                pass

            def send(self, data):
                pass

        class Frames:
            def next_padding(self):
                clock[0] += 0.001
                return PADDING_BYTES

        def ping(*_):
            clock[0] += left[0]
            return left.pop(0)

        self.patch(probe, "time", SimpleNamespace(monotonic=lambda: clock[0]))
        prober: Any = Prober(AgentConfig(), os.urandom, time.time)
        self.patch(prober, "_ping", ping)
        found = Probe(host="gw", port=1)
        prober._measure(Connection(), Frames(), found)
        return found

    def test_the_round_trip_is_no_part_of_the_speed(self):
        found = self.measure(0.3, 0.2, 0.3, 1.2)
        self.assertEqual(found.round_trip, 0.2)
        assert found.upload is not None
        self.assertAlmostEqual(found.upload[1], 1.0)

    def test_a_round_trip_that_varies_makes_no_speed_without_end(self):
        found = self.measure(0.3, 0.3, 0.3, 0.2)
        assert found.upload is not None
        self.assertAlmostEqual(found.upload[1], 0.1)
