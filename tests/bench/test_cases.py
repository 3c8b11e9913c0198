"""What each mode measures."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench.cases import TAKES_CONNECTIONS, TAKES_SIZE, Case, Mode, cases_of
from gateway.bench.loads import Kind


class CasesTests(SynchronousTestCase):
    """Published settings, and those of the user."""

    def test_the_usual_settings(self):
        usual = {mode: cases_of(mode, None, None) for mode in Mode}
        self.assertEqual(usual[Mode.SPEED], [Case(Kind.ECHO, 4, 1024)])
        self.assertEqual(usual[Mode.RELIABILITY], [Case(Kind.CHECKED, 4, 1024)])
        self.assertEqual(usual[Mode.UPLOAD], [Case(Kind.UPLOAD, 5, 65536)])
        self.assertEqual(usual[Mode.DOWNLOAD], [Case(Kind.DOWNLOAD, 5, 65536)])
        self.assertEqual(
            [case.connections for case in usual[Mode.CONCURRENT]],
            [1, 2, 5, 10, 20, 50, 100],
        )
        sizes = [case.size for case in usual[Mode.SIZES]]
        self.assertEqual(len(sizes), 13)
        self.assertEqual((sizes[0], sizes[3], sizes[-1]), (64, 1024, 1 << 20))
        self.assertEqual(
            [(c.connections, c.size >> 10) for c in usual[Mode.BANDWIDTH]],
            [
                *((connections, 64) for connections in (1, 5, 10, 20, 50)),
                *((connections, 128) for connections in (10, 20, 50)),
                *((connections, 256) for connections in (10, 20)),
            ],
        )

    def test_a_setting_is_used_by_exactly_the_modes_that_take_it(self):
        for mode in Mode:
            usual = cases_of(mode, None, None)
            with_size = [case.size == 777 for case in cases_of(mode, 777, None)]
            with_crowd = [c.connections == 33 for c in cases_of(mode, None, 33)]
            self.assertEqual(set(with_size), {mode in TAKES_SIZE}, mode)
            self.assertEqual(set(with_crowd), {mode in TAKES_CONNECTIONS}, mode)
            self.assertEqual(len(with_size), len(usual))
