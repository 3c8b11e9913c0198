"""No message about a configuration repeats a secret, whatever is wrong with it."""

import json
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.agent import AgentConfig
from gateway.config.gateway import GatewayConfig
from gateway.config.parse import describe
from gateway.config.shape import keys, leaves
from gateway.config.vocabulary import variable_of
from tests.config.loading import load, load_as_agent, problems_of

MARK = "Sw0rdf1sh-Sw0rdf1sh-Sw0rdf1sh-Sw0rdf1sh"
KEY = "gtk_0123abcd_" + "Zz-_9" * 8 + "abc"
PEM = f"-----BEGIN PRIVATE KEY-----\n{MARK}\n-----END PRIVATE KEY-----\n"
LOADERS = (load, load_as_agent)
MODELS = {load: GatewayConfig, load_as_agent: AgentConfig}
SHAPES = (
    lambda secret: secret,
    lambda secret: [secret],
    lambda secret: [secret, 5],
    lambda secret: [[secret]],
    lambda secret: {"a": secret},
    lambda secret: {secret: 1},
    lambda secret: [{secret: 1}],
    lambda secret: [{"name": "x", "verifiers": secret}],
    lambda secret: [{"name": "x", "verifiers": [secret]}],
    lambda secret: [{"name": "x", "verifiers": [secret, secret, secret]}],
    lambda secret: [{"name": "x", "verifiers": {secret: secret}}],
    lambda secret: [{"name": "x", "verifier": secret}],
)


def hidden_keys(loader):
    """Return the keys in whose place a secret may stand, and those of their files."""
    found = leaves(MODELS[loader])
    for key, leaf in found.items():
        if leaf.kind.is_hidden:
            yield key
            if f"{key}_file" in found:
                yield f"{key}_file"


def tree(key, value):
    """Return a configuration with a value at a key."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


class SecretsInErrorsTests(SynchronousTestCase):
    """A marker in every place of a secret, in every wrong form."""

    def assert_silent(self, problems, secret):
        """Fail if a secret, or much of it, is in a problem."""
        said = "\n".join(problems)
        self.assertNotIn(secret[14:30], said)
        self.assertNotIn(MARK, said)

    def test_the_places_of_secrets_are_known(self):
        self.assertEqual(
            {
                "tunnel.auth_token",
                "tunnel.auth_token_file",
                "tunnel.agents",
                "security.api.api_key",
                "security.api.api_key_file",
                "security.api.jwt_secret",
                "security.api.jwt_secret_file",
            },
            set(hidden_keys(load)),
        )
        self.assertEqual({"token", "token_file"}, set(hidden_keys(load_as_agent)))

    def test_in_files(self):
        for loader, shape, secret in product(LOADERS, SHAPES, (MARK, KEY, PEM)):
            for key in hidden_keys(loader):
                text = json.dumps(tree(key, shape(secret)))
                for name in ("gw.yaml", "gw.json"):
                    found = problems_of(text, name=name, loader=loader)
                    self.assert_silent(found, secret)
                found = problems_of(f"{secret!r}: 1\n{secret!r}: 2", loader=loader)
                self.assert_silent(found, secret)
                misspelled = json.dumps(tree(f"{key}z", shape(secret)))
                found = problems_of(misspelled, loader=loader)
                self.assertTrue(found)
                self.assert_silent(found, secret)

    def test_in_variables_and_options(self):
        for loader, shape, secret in product(LOADERS, SHAPES, (MARK, KEY, PEM)):
            for key in hidden_keys(loader):
                value = shape(secret)
                for text in (secret, json.dumps(value), f"[{secret}", f"{secret}: x"):
                    environ = {variable_of(key): text}
                    found = problems_of(environ=environ, loader=loader)
                    self.assert_silent(found, secret)
                found = problems_of(options={key: value}, loader=loader)
                self.assert_silent(found, secret)

    def test_an_agents_key_anywhere(self):
        """Also where no secret belongs: it is known by its form."""
        for loader in LOADERS:
            for key, leaf in leaves(MODELS[loader]).items():
                for value in (KEY, [KEY], {KEY: KEY}, KEY[:-1]):
                    text = json.dumps(tree(key, value))
                    self.assert_silent(problems_of(text, loader=loader), KEY)
                if leaf.kind.item:
                    for part in keys(leaf.kind.item):
                        text = json.dumps(tree(key, [{part: KEY}]))
                        self.assert_silent(problems_of(text, loader=loader), KEY)

    def test_a_private_key_in_place_of_a_files_name(self):
        for loader in LOADERS:
            for key in leaves(MODELS[loader]):
                if key.endswith("_file"):
                    text = json.dumps(tree(key, PEM))
                    self.assert_silent(problems_of(text, loader=loader), PEM)

    @settings(deadline=None)
    @given(st.text(min_size=16, max_size=60).filter(lambda it: len(set(it)) > 8))
    def test_any_secret_in_a_wrong_place_of_its_own(self, secret):
        for shape in SHAPES[1:]:
            text = json.dumps(tree("tunnel.auth_token", shape(secret)))
            said = "\n".join(problems_of(text))
            self.assertNotIn(secret, said)

    def test_settings_in_effect_are_shown_without_their_secrets(self):
        text = f"tunnel: {{auth_token: {MARK}}}\nsecurity: {{api: {{api_key: {MARK}}}}}"
        self.assertNotIn(MARK, "\n".join(describe(load(text))))
        self.assertNotIn(MARK, "\n".join(describe(load_as_agent(f"token: {MARK}"))))
