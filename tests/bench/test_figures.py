"""Numbers for people."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.bench.figures import megabytes, share_text, size_text, span_text
from gateway.bench.loads import Tally
from gateway.bench.style import PLAIN, Style, style_for


class FigureTests(SynchronousTestCase):
    """Units."""

    def test_sizes_are_binary_and_speeds_are_not(self):
        self.assertEqual(
            [size_text(size) for size in (64, 1000, 1024, 1536, 1 << 20)],
            ["64 B", "1000 B", "1 KiB", "1536 B", "1 MiB"],
        )
        self.assertEqual(megabytes(120_850_000), "120.85")

    def test_spans_have_the_unit_that_suits(self):
        self.assertEqual(
            [span_text(span) for span in (107.154e-6, 2.3354e-3, 1.5)],
            ["107.2 µs", "2.335 ms", "1.500 s"],
        )
        self.assertEqual(span_text(1e-5, micro="u"), "10.0 us")

    @given(st.integers(1, 10**9), st.integers(1, 10**9))
    def test_all_is_said_of_all_alone(self, good, failed):
        self.assertNotEqual(share_text(good / (good + failed)), "100.00 %")
        self.assertEqual(share_text(1.0), "100.00 %")


class StyleTests(SynchronousTestCase):
    """Signs."""

    def test_the_sign_of_success_follows_the_share(self):
        style = Style()
        for failed, sign in ((0, "✓"), (1, "✓"), (2, "⚠"), (50, "⚠"), (51, "✗")):
            tally = Tally(messages=1000 - failed, failed=failed)
            self.assertTrue(style.success(tally).endswith(sign), (failed, sign))

    def test_a_one_way_flow_is_whole_or_not(self):
        self.assertEqual(Style().success(Tally(size_bytes=5)), "✓")
        self.assertEqual(Style().success(Tally(size_bytes=5, lost=1)), "✗")

    def test_terminals_get_what_they_can_show(self):
        self.assertEqual(style_for("utf-8", "xterm", "zh"), Style("zh"))
        self.assertEqual(style_for("UTF-8", "", "en"), Style("en"))
        for encoding, terminal in (("ascii", "xterm"), ("utf-8", "linux")):
            self.assertEqual(style_for(encoding, terminal, "zh"), PLAIN)
        self.assertTrue("".join(map(str, PLAIN)).isascii())
