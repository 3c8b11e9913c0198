"""Latencies against the statistics module."""

import math
import statistics

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.bench import latency
from gateway.bench.latency import KEPT, Latencies, percentile

SPANS = st.floats(min_value=1e-9, max_value=100)
MANY = st.lists(SPANS, min_size=2, max_size=200)


def latencies_of(spans, *, fold_every=7):
    """Return the spans as latencies that were folded now and then."""
    latencies = Latencies()
    for place, span in enumerate(spans):
        latencies.recent.append(span)
        if place % fold_every == 0:
            latencies.fold()
    return latencies


class PercentileTests(SynchronousTestCase):
    """The definition."""

    @settings(deadline=None)
    @given(MANY)
    def test_every_percentile_is_that_of_the_statistics_module(self, spans):
        cuts = statistics.quantiles(spans, n=100, method="inclusive")
        for place, cut in enumerate(cuts, 1):
            mine = percentile(sorted(spans), place / 100)
            self.assertTrue(math.isclose(mine, cut, rel_tol=1e-9), (place, mine, cut))

    def test_the_ends_are_the_least_and_the_most(self):
        self.assertEqual(percentile([1.0, 2.0, 9.0], 0), 1.0)
        self.assertEqual(percentile([1.0, 2.0, 9.0], 1), 9.0)

    def test_one_value_is_every_percentile(self):
        self.assertEqual(percentile([3.0], 0.99), 3.0)


class LatenciesTests(SynchronousTestCase):
    """The collection."""

    def assert_figures(self, latencies, spans):
        figures = latencies.summary()
        cuts = statistics.quantiles(spans, n=100, method="inclusive")
        expected = (
            min(spans),
            statistics.fmean(spans),
            cuts[49],
            cuts[94],
            cuts[98],
            max(spans),
        )
        for mine, other in zip(figures, expected, strict=True):
            self.assertTrue(math.isclose(mine, other, rel_tol=1e-9), (mine, other))

    @settings(deadline=None)
    @given(MANY, st.integers(1, 20))
    def test_folding_changes_no_figure(self, spans, fold_every):
        self.assert_figures(latencies_of(spans, fold_every=fold_every), spans)

    @settings(deadline=None)
    @given(st.lists(MANY, min_size=1, max_size=4))
    def test_workers_together_are_all_their_values(self, parts):
        whole = Latencies.together([latencies_of(part) for part in parts])
        self.assert_figures(whole, [span for part in parts for span in part])

    @settings(deadline=None)
    @given(MANY)
    def test_json_loses_nothing(self, spans):
        again = Latencies.of_content(latencies_of(spans).content())
        self.assert_figures(again, spans)

    def test_nothing_has_no_figures(self):
        self.assertIsNone(Latencies().summary())
        self.assertIsNone(Latencies.of_content(Latencies().content()).summary())
        self.assertIsNone(Latencies.together([]).summary())

    def test_an_idle_worker_changes_no_figure(self):
        whole = Latencies.together([Latencies(), latencies_of([1.0, 2.0, 3.0])])
        self.assert_figures(whole, [1.0, 2.0, 3.0])


class SampleTests(SynchronousTestCase):
    """More values than are kept."""

    def latencies(self, count, *, fold_every):
        """Return the latencies 0, 1, 2, ... in an order that is no order."""
        latencies = Latencies()
        for first in range(0, count, fold_every):
            places = range(first, min(count, first + fold_every))
            latencies.recent.extend(place * 7919 % count for place in places)
            latencies.fold()
        return latencies

    def figures(self, *parts):
        """Return the figures of all parts together."""
        return Latencies.together(parts).summary()

    def assert_even(self, latencies, count):
        figures = latencies.summary()
        self.assertEqual((figures.least, figures.most), (0, count - 1))
        self.assertAlmostEqual(figures.mean, (count - 1) / 2)
        for share in (50, 95, 99):
            found = getattr(figures, f"p{share}") / count
            self.assertLess(abs(found - share / 100), 0.002)

    def test_a_sample_stands_for_all(self):
        count = 4 * KEPT + 5
        latencies = self.latencies(count, fold_every=9973)
        self.assertLessEqual(len(latencies.content()["kept"]), KEPT * 8 * 4 / 3 + 4)
        self.assert_even(latencies, count)

    def test_a_sample_does_not_prefer_the_end(self):
        """However few values come at a time."""
        self.patch(latency, "KEPT", 64)
        for fold_every in (1, 3, 50):
            spans = [float(place) for place in range(1000)]
            figures = latencies_of(spans, fold_every=fold_every).summary()
            self.assertLess(abs(figures.p50 - 500), 20, fold_every)

    def test_workers_with_unlike_samples_weigh_the_same(self):
        """The one that counted thrice as much has thrice the say."""
        slow = Latencies()
        slow.recent.extend([1.0] * (3 * KEPT))
        fast = Latencies()
        fast.recent.extend([0.0] * KEPT)
        figures = self.figures(slow, fast)
        self.assertEqual((figures.p50, figures.least, figures.most), (1.0, 0.0, 1.0))
        self.assertAlmostEqual(figures.mean, 0.75)
        faster = Latencies()
        faster.recent.extend([0.0] * (3 * KEPT))
        figures = self.figures(slow, fast, faster)
        self.assertEqual((figures.p50, figures.p95), (0.0, 1.0))
