"""The verdict over ratios."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench.compare import FLOORS, METRICS, STOCK, ratios_of


def medians(share):
    """Return medians at which every way has a share of its floor."""
    found = {(STOCK, metric): 200.0 for metric in METRICS}
    return found | {key: 200.0 * floor * share for key, floor in FLOORS.items()}


class RatioTests(SynchronousTestCase):
    """Floors are the only judge."""

    def test_on_the_floor_is_enough(self):
        self.assertTrue(all(ratio.holds for ratio in ratios_of(medians(1.0))))

    def test_below_the_floor_is_not(self):
        ratios = ratios_of(medians(0.99))
        self.assertEqual(len(ratios), 4)
        self.assertFalse(any(ratio.holds for ratio in ratios))
        self.assertEqual(
            str(ratios[0]), "direct  msgs   1.29 of stock, floor 1.30: TOO SLOW"
        )

    def test_one_slow_way_does_not_hide_behind_the_others(self):
        slow = medians(2.0) | {("tunnel", "bulk"): 1.0}
        judged = {(r.way, r.metric): r.holds for r in ratios_of(slow)}
        self.assertEqual(
            [key for key, holds in judged.items() if not holds], [("tunnel", "bulk")]
        )
