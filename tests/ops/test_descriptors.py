"""How many files are open."""

import os

from prometheus_client import ProcessCollector
from prometheus_client.registry import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.descriptors import KEPT_SECONDS, Descriptors, open_descriptors
from gateway.ops.process_metrics import process_families


class DescriptorTests(SynchronousTestCase):
    """On systems new and old."""

    def setUp(self):
        self.lists = 0
        self.now = 0.0

    def listed(self):
        self.lists += 1
        return ["0", "1", "2", "3"]

    def test_the_number_is_right(self):
        before = open_descriptors()
        assert before is not None
        fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
        try:
            self.assertEqual(open_descriptors(), before + 50)
        finally:
            for fd in fds:
                os.close(fd)

    def test_nothing_is_listed_where_the_system_tells_the_number(self):
        found = Descriptors(lambda: 7, self.listed, lambda: self.now)
        self.assertEqual((found.count(), self.lists), (7, 0))

    def test_an_older_system_is_listed_now_and_then(self):
        found = Descriptors(lambda: 0, self.listed, lambda: self.now)
        self.assertEqual([found.count() for _ in range(100)], [3] * 100)
        self.assertEqual(self.lists, 1)
        self.now += KEPT_SECONDS
        self.assertEqual((found.count(), self.lists), (3, 2))

    def test_another_system_does_not_tell(self):
        def missing():
            raise FileNotFoundError

        self.assertIsNone(Descriptors(missing, self.listed).count())

    def test_metrics_of_the_process_are_those_of_the_library(self):
        theirs = ProcessCollector(registry=CollectorRegistry()).collect()
        ours = list(process_families())
        self.assertEqual(
            {(one.name, one.type, one.documentation) for one in ours},
            {(one.name, one.type, one.documentation) for one in theirs},
        )
        values = {one.name: one.samples[0].value for one in theirs}
        for one in ours:
            if one.name in ("process_start_time_seconds", "process_max_fds"):
                self.assertEqual(one.samples[0].value, values[one.name])
