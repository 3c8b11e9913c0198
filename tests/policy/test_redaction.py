"""Secrets that must not be written."""

import json
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.redaction import HIDDEN, Redaction

SECRET = 'a "secret" with\\signs/ü-0123456789'
AGENT_KEY = "gtk_0123abcd_" + "Zz-_9" * 8 + "abc"


class RedactionTests(SynchronousTestCase):
    """The net below all else."""

    def test_a_secret_is_hidden_in_every_form_that_lines_have(self):
        redact = Redaction([SECRET, "another-secret-0123"])
        forms = [
            SECRET,
            json.dumps(SECRET),
            json.dumps(SECRET, ensure_ascii=False),
            repr(SECRET),
            quote(SECRET),
            quote(SECRET, safe=""),
        ]
        for form in forms:
            said = redact(f"token {form} is wrong")
            self.assertIn(HIDDEN, said)
            self.assertNotIn("0123456789", said)
        self.assertEqual(f"x {HIDDEN} y", redact("x another-secret-0123 y"))

    def test_an_agents_key_is_hidden_though_nobody_has_named_it(self):
        self.assertEqual(
            f"key gtk_0123abcd_{HIDDEN} is new", Redaction()(f"key {AGENT_KEY} is new")
        )

    def test_a_key_that_was_damaged_is_hidden_too(self):
        for damaged in (AGENT_KEY[:-1], AGENT_KEY + "x", f"{AGENT_KEY[:40]}..."):
            said = Redaction()(f"not '{damaged}'")
            self.assertIn(f"gtk_0123abcd_{HIDDEN}", said)
            self.assertNotIn("Zz-_9", said)

    def test_a_password_in_a_url_is_hidden(self):
        self.assertEqual(
            f"'https://me:{HIDDEN}@gw.test:9000' is wrong",
            Redaction()("'https://me:pass-word@gw.test:9000' is wrong"),
        )

    def test_all_else_stays(self):
        for text in ("connection closed", "https://gw.test:9000/a@b", "gtk_ID_SECRET"):
            self.assertEqual(text, Redaction([SECRET])(text))

    def test_short_words_are_no_secrets(self):
        self.assertEqual("port 10080", Redaction(["port", ""])("port 10080"))
