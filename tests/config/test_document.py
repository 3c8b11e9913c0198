"""Text to values, and what is refused on the way."""

import json
import string

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.document import parse_document, parse_yaml, resolve
from gateway.errors import ConfigError

REFUSED = [
    ("a: 1\n\tb: 2", "f line 2: a tab character; YAML is indented with spaces"),
    ("a:\n\t- 1", "f line 2: a tab character; YAML is indented with spaces"),
    ("a: 1\na: 2", "f line 2: key 'a' is given twice"),
    ("x: {a: 1, a: 2}", "f line 1: key 'a' is given twice"),
    ("a: &x 1\nb: *x", "f line 2: aliases (*name) are not supported; write it out"),
    ("a: !!python/object:os.system x", "f line 1: tags (!name) are not supported; "),
    ("a: !!str 1", "f line 1: tags (!name) are not supported; use quotes for text"),
    ("a: 1\n---\nb: 2", "f line 2: a second document begins; put all in one"),
    ("? [a]\n: 1", "f line 1: a key must be a single word"),
    ("[" * 500, "f line 1: more than 12 levels deep"),
    ("a: [1", "f line 1: not YAML: expected ',' or ']'"),
    ("a: 'secret", "f line 1: not YAML: found unexpected end of stream"),
    ("a: %x", "f line 1: not YAML: found character '%' that cannot start any token"),
    ("a: !mine!deep x", "f line 1: not YAML: found undefined tag handle some text"),
    ("a: 1\nb: \x00", "f line 2: a character that YAML does not allow"),
    ('"\\UFFFFFFFF": 1', "f line 1: a number or character code that is out of range"),
    ("%YAML 1." + "9" * 5000 + "\n---\na", "f line 1: a number or character code"),
]
REFUSED_JSON = [
    ('{"a": 1,\n}', "f.json line 2: not JSON: "),
    ('{"a": 1, "a": 2}', "f.json: key 'a' is given twice"),
    ("a: 1", "f.json line 1: not JSON: Expecting value"),
    ("[" * 100000, "f.json line 1: more than 12 levels deep"),
    ("[" * 20 + "]" * 20, "f.json line 1: more than 12 levels deep"),
    ('{"a": ' + "1" * 5000 + "}", "f.json line 1: a number of too many digits"),
]
WORDS = [
    ("", None),
    ("~", None),
    ("null", None),
    ("yes", True),
    ("On", True),
    ("FALSE", False),
    ("off", False),
    ("0", 0),
    ("-17", -17),
    ("10_000", 10000),
    ("0x1F", 31),
    ("0o17", 15),
    ("010", "010"),
    ("22:22", "22:22"),
    ("2024-01-01", "2024-01-01"),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    (".5", 0.5),
    (".inf", float("inf")),
    ("-.Inf", float("-inf")),
    ("9" * 5000, "9" * 5000),
    ("<<", "<<"),
    ("a b", "a b"),
]
TEXT = "tag:yaml.org,2002:str"
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(string.printable),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(string.ascii_letters, min_size=1), inner, max_size=4)
    ),
    max_leaves=8,
)


class QuotingDumper(yaml.SafeDumper):
    """Quotes all text, since not every plain word is text to everybody (1E5)."""


QuotingDumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar(TEXT, text, style='"')
)


class YamlTests(SynchronousTestCase):
    """YAML documents."""

    def test_what_is_refused_names_the_line(self):
        for text, message in REFUSED:
            fault = self.assertRaises(ConfigError, parse_document, text, "f")
            self.assertEqual(len(fault.problems), 1, text[:50])
            self.assertTrue(
                fault.problems[0].startswith(message), f"{text[:50]}: {fault}"
            )

    def test_words(self):
        for word, value in WORDS:
            self.assertEqual((resolve(word), type(resolve(word))), (value, type(value)))

    def test_quotes_make_text(self):
        found = parse_yaml("{a: '1', b: \"true\"}", "f").value
        self.assertEqual(found, {"a": "1", "b": "true"})

    def test_keys_are_text(self):
        found = parse_yaml("{22: a, null: b, yes: c}", "f").value
        self.assertEqual(found, {"22": "a", "null": "b", "yes": "c"})

    def test_lines_of_keys_and_items(self):
        lines = parse_yaml("# c\na:\n  b: 1\n  c:\n    - x\n    - y\n", "f").lines
        self.assertEqual(lines["a",], 2)
        self.assertEqual(lines["a", "b"], 3)
        self.assertEqual((lines["a", "c", 0], lines["a", "c", 1]), (5, 6))

    def test_nothing_is_null(self):
        for text in ("", "# only a comment\n", "---\n"):
            self.assertIs(parse_document(text, "f").value, None)

    @settings(deadline=None)
    @given(plain)
    def test_agrees_with_pyyaml(self, value):
        """What PyYAML writes in quotes is read back."""
        text = yaml.dump(value, Dumper=QuotingDumper, allow_unicode=True)
        self.assertEqual(parse_yaml(text, "f").value, value)


class JsonTests(SynchronousTestCase):
    """JSON documents."""

    def test_what_is_refused(self):
        for text, message in REFUSED_JSON:
            fault = self.assertRaises(ConfigError, parse_document, text, "f.json")
            self.assertTrue(str(fault).startswith(message), f"{text[:50]}: {fault}")

    def test_tabs_are_fine_and_lines_are_known(self):
        found = parse_document('{\n\t"a":\t{\n\t\t"b":\t1}}', "f")
        self.assertEqual(found.value, {"a": {"b": 1}})
        self.assertEqual(found.lines["a", "b"], 3)

    def test_braces_may_be_yaml(self):
        self.assertEqual(parse_document("{a: yes}", "f").value, {"a": True})

    def test_text_that_yaml_would_not_read(self):
        found = parse_document('{"a": "\\ud83d\\ude00", "b": "\\u0000"}', "f.json")
        self.assertEqual(found.value, {"a": "\U0001f600", "b": "\0"})
        key = "k" * 2000
        found = parse_document(json.dumps({key: 1}), "f.json")
        self.assertEqual((found.value, found.lines), ({key: 1}, {}))

    @settings(deadline=None)
    @given(plain)
    def test_agrees_with_json(self, value):
        """What the json module writes is read back."""
        self.assertEqual(parse_document(json.dumps(value), "f.json").value, value)
