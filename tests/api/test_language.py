"""Which language a caller gets."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.language import choose_language


class ChooseLanguageTests(SynchronousTestCase):
    """The header outranks the configuration where it says something."""

    def test_headers(self):
        for header, expected in (
            (None, "en"),
            ("", "en"),
            ("zh", "zh"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
            ("ZH-hans", "zh"),
            ("en-GB, zh;q=0.9", "en"),
            ("en;q=0.3, zh;q=0.4", "zh"),
            ("zh;q=0.3, en;q=0.30", "zh"),
            ("fr, zh;q=0.1", "zh"),
            ("fr", "en"),
            ("zh;q=0", "en"),
            ("*", "en"),
            ("*;q=0.5, zh;q=0.6", "zh"),
            ("zh;q=1.000", "zh"),
            ("zh;q=2, en;q=0.1", "en"),
            ("zh ; q=0.5", "zh"),
            ("zhuang", "en"),
            (",,;;,", "en"),
        ):
            self.assertEqual(choose_language(header, "en"), expected, header)

    def test_the_configured_language_where_the_header_is_silent(self):
        for header in (None, "", "fr", "*", "en;q=0", "q=1"):
            self.assertEqual(choose_language(header, "zh"), "zh", header)

    @settings(deadline=None, database=None)
    @given(st.text())
    def test_any_header_gives_a_language(self, header):
        self.assertIn(choose_language(header, "zh"), ("en", "zh"))
