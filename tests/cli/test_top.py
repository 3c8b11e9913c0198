"""How numbers look in `gotunnel top`, and what keys are."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli.keys import DOWN, ENTER, ESCAPE, PAGE_DOWN, UP, key_of
from gateway.cli.top_screen import bars, duration_text, size_text


class TextTests(SynchronousTestCase):
    """Numbers for people."""

    def test_sizes(self):
        for size, text in (
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 40, "5.0 TiB"),
        ):
            self.assertEqual(text, size_text(size))

    def test_durations(self):
        for seconds, text in (
            (0.9, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3661, "1h01m"),
            (90000, "1d01h"),
        ):
            self.assertEqual(text, duration_text(seconds))

    @given(st.lists(st.floats(0, 1e12)))
    def test_a_curve_has_a_bar_for_each_value(self, values):
        self.assertEqual(len(values), len(bars(values)))

    def test_the_highest_value_is_the_highest_bar(self):
        self.assertEqual("▁▅█", bars([0, 50, 100]))


class KeyTests(SynchronousTestCase):
    """What a terminal sends."""

    def test_keys_with_names(self):
        for typed, name in (
            (b"\x1b[A", UP),
            (b"\x1bOB", DOWN),
            (b"\x1b[6~", PAGE_DOWN),
            (b"\x1b", ESCAPE),
            (b"\r", ENTER),
        ):
            self.assertEqual(name, key_of(typed))

    def test_letters_are_themselves_and_the_rest_is_nothing(self):
        self.assertEqual(
            ["k", "é", None, None],
            list(map(key_of, (b"k", "é".encode(), b"\x01", b"\x1b[99z"))),
        )
