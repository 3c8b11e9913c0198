"""What is plain, what is made so, and how."""

import json
import re
import unicodedata

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.wire.plain import (
    UNSAFE,
    check_plain,
    cleaned,
    escaped,
    is_plain,
    json_escaped,
)

BIDI = [chr(code) for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F))]
BIDI += [chr(code) for code in range(0x2066, 0x206A)]
FORBIDDEN = st.sampled_from(
    [chr(code) for code in (0, 7, 10, 27, 127, 0x85, 0x9B, 0x2028, 0x2029, 0xD800)]
    + BIDI
)
TEXTS = st.lists(st.characters() | FORBIDDEN | st.sampled_from('ab \\"é漢')).map(
    "".join
)


def forbidden_in(text):
    """Return the characters that no output may have, by what Unicode says of them."""
    return [
        letter
        for letter in text
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in BIDI
    ]


class PlainTests(SynchronousTestCase):
    """Pure functions."""

    @settings(deadline=None)
    @given(TEXTS)
    def test_plain_is_what_unicode_does_not_call_control_or_direction(self, text):
        self.assertEqual(is_plain(text), not forbidden_in(text))
        if is_plain(text):
            self.assertEqual((text, text), (check_plain(text), escaped(text)))
        else:
            self.assertRaises(ValueError, check_plain, text)

    @settings(deadline=None)
    @given(TEXTS, st.integers(3, 20))
    @example("\u202e" * 3, 3)
    def test_what_is_cleaned_is_plain_and_no_longer_than_allowed(self, text, longest):
        found = cleaned(text, longest)
        self.assertEqual([], forbidden_in(found))
        self.assertLessEqual(len(found), longest)
        if len(text) <= longest and is_plain(text):
            self.assertEqual(text, found)

    @settings(deadline=None)
    @given(st.dictionaries(TEXTS, TEXTS))
    def test_escaped_json_is_plain_and_says_the_same(self, value):
        found = json_escaped(json.dumps(value, ensure_ascii=False))
        self.assertEqual([], forbidden_in(found))
        self.assertEqual(value, json.loads(found))
        found.encode()

    @settings(deadline=None)
    @given(TEXTS.filter(lambda text: not re.search("[\ud800-\udfff]", text)))
    def test_the_class_of_characters_is_the_same_in_bodies(self, text):
        self.assertEqual(is_plain(text), not re.search(f"[{UNSAFE}]", text))

    def test_escapes_show_what_was_there(self):
        self.assertEqual(r"a\x1b[31m\u202eb", escaped("a\x1b[31m\u202eb"))
        self.assertEqual("abc...", cleaned("abcdefgh", 6))

    def test_the_complaint_names_the_character_and_its_place(self):
        fault = self.assertRaises(ValueError, check_plain, "ab\u202ec")
        self.assertIn("holds U+202E as character 3", str(fault))
