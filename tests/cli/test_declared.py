"""Files of declared mappings."""

import warnings

from twisted.trial.unittest import SynchronousTestCase

from gateway.cli.declared import (
    body_of,
    declared_of,
    declared_yaml,
    parse_declared,
)
from gateway.errors import ConfigError
from tests.cli.fake_gateway import row


class ParseTests(SynchronousTestCase):
    """What a person may write."""

    def problems(self, text):
        with self.assertRaises(ConfigError) as caught:
            parse_declared(text, "maps.yaml")
        return caught.exception.problems

    def test_a_port_is_enough(self):
        (mapping,) = parse_declared("mappings:\n- port: 10022\n", "maps.yaml")
        self.assertEqual((mapping.port, mapping.target_port), (10022, None))

    def test_no_mappings_at_all(self):
        self.assertEqual(parse_declared("mappings: []", "maps.yaml"), [])

    def test_json_is_read_too(self):
        (mapping,) = parse_declared('{"mappings": [{"port": 10022}]}', "maps.json")
        self.assertEqual(mapping.port, 10022)

    def test_an_empty_file_is_no_order_to_remove_everything(self):
        for text in ("", "mappings:\n", "mappings: 3\n", "[]", "other: []\n"):
            (problem,) = self.problems(text)
            self.assertIn("must hold `mappings:`", problem)

    def test_everything_wrong_is_said_with_its_line(self):
        text = (
            "mappings:\n"
            "- port: 70000\n"
            "- port: 10001\n"
            "  colour: red\n"
            "- port: 10002\n"
            "  protocol: udp\n"
            "- port: 10003\n"
            "- port: 10003\n"
            "- 10004\n"
            "rest: 1\n"
        )
        problems = self.problems(text)
        self.assertEqual(len(problems), 6)
        wanted = [
            ("line 10", "unknown key 'rest'"),
            ("line 2", "70000 is not a whole number from 1 to 65535"),
            ("line 4", "colour: unknown key; known are port, target_host"),
            ("line 5", "protocol udp is not available yet"),
            ("line 8", "port 10003 is declared twice"),
            ("line 9", "must have keys of port, target_host"),
        ]
        for problem, (place, words) in zip(problems, wanted, strict=True):
            self.assertIn(f"maps.yaml {place}:", problem)
            self.assertIn(words, problem)

    def test_a_free_port_cannot_be_declared(self):
        (problem,) = self.problems("mappings:\n- port: 0\n")
        self.assertIn("0 is not a whole number from 1 to 65535", problem)

    def test_tabs_and_duplicates_are_refused(self):
        self.assertIn("tab", self.problems("mappings:\n\t- port: 1\n")[0])
        twice = self.problems("mappings:\n- port: 10001\n  port: 10002\n")
        self.assertIn("twice", twice[0])


class ExportTests(SynchronousTestCase):
    """What is written."""

    def test_only_what_a_person_declares(self):
        mapping = declared_of(row(10022, target_port=22, connections=7))
        self.assertEqual(
            declared_yaml([mapping]),
            "mappings:\n- port: 10022\n  target_port: 22\n  use_tunnel: true\n",
        )

    def test_a_name_may_be_what_another_key_is_by_default(self):
        for name in ("tcp", "disabled", "off"):
            text = declared_yaml([declared_of(row(10022, name=name))])
            self.assertIn(f'name: "{name}"', text)

    def test_every_text_is_quoted(self):
        mapping = declared_of(row(10022, name="0o17", labels={"größe": "1e5"}))
        text = declared_yaml([mapping])
        self.assertIn('name: "0o17"', text)
        self.assertIn('"größe": "1e5"', text)

    def test_what_an_older_release_has_stored_is_written_as_it_is(self):
        text = declared_yaml([declared_of(row(10022, target_host="a b"))])
        self.assertIn('target_host: "a b"', text)
        with self.assertRaises(ConfigError) as caught:
            parse_declared(text, "maps.yaml")
        [problem] = caught.exception.problems
        self.assertIn("line 3: target_host: 'a b' is neither a host name", problem)

    def test_nothing_is_said_on_standard_error(self):
        networks = ["10.0.0.0/8"]
        found = declared_of(row(80, access_ips=networks, trusted_proxies=networks))
        odd = declared_of(row(81, protocol="of-old"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertIn("10.0.0.0/8", declared_yaml([found, odd]))
            self.assertEqual(body_of(found)["trusted_proxies"], networks)
            self.assertEqual(body_of(odd)["protocol"], "of-old")
            # also where nobody thought of it
            found.model_dump(mode="json")

    def test_nothing_to_write(self):
        self.assertEqual(parse_declared(declared_yaml([]), "maps.yaml"), [])
