"""A new token in its file: tried first, then used; a wrong one keeps nobody out."""

import os

from gateway.agent.identity import Identities, Identity, token_reader
from gateway.config.agent import AgentConfig
from gateway.errors import ConfigError
from gateway.wire import frames
from gateway.wire.hello import Hello
from tests.agent.rig import AgentCase
from tests.link.rig import INSTANCE, hello_ack
from tests.server.rig import LogCase

OLD = "the first token of them"
NEW = "the second token of them"
THIRD = "the third token of them"


class TokenFileTests(LogCase):
    """What the identities make of the file."""

    def setUp(self):
        super().setUp()
        self.text = OLD
        first = Identity(Hello(instance=INSTANCE)).with_token(OLD)
        self.identities = Identities(first, self.read, "agent.key")

    def read(self):
        if not self.text:
            raise ConfigError(["'agent.key' is empty"])
        return self.text

    @property
    def token(self):
        return self.identities.current.greeting.token

    def change(self, text):
        self.text = text
        return self.identities.renew()

    def refuse(self):
        self.identities.refused(self.identities.current)

    def test_an_unchanged_file_changes_nothing(self):
        self.assertFalse(self.identities.renew())
        self.assertEqual(OLD, self.token)

    def test_a_new_token_is_used(self):
        self.assertTrue(self.change(NEW))
        self.assertEqual(NEW, self.token)

    def test_a_key_is_proved_and_not_sent(self):
        self.change("gtk_0123abcd_" + "A" * 43)
        key = self.identities.current.key
        assert key is not None
        self.assertEqual("0123abcd", key.key_id)
        self.assertIsNone(self.token)
        self.assertEqual("scram-sha-256", self.identities.current.greeting.auth)

    def test_a_file_that_cannot_be_read_leaves_the_token(self):
        self.assertFalse(self.change(""))
        self.assertEqual(OLD, self.token)
        self.assertEqual(1, len(self.lines("is empty")))

    def test_a_refused_one_gives_way_to_the_one_before_in_turns(self):
        self.change(NEW)
        seen = []
        for _ in range(4):
            self.refuse()
            seen.append(self.token)
        self.assertEqual([OLD, NEW, OLD, NEW], seen)

    def test_links_that_are_refused_together_count_once(self):
        self.change(NEW)
        tried = self.identities.current
        self.identities.refused(tried)
        self.identities.refused(tried)
        self.assertEqual(OLD, self.token)

    def test_one_that_was_taken_ends_that(self):
        self.change(NEW)
        self.identities.accepted(self.identities.current)
        self.refuse()
        self.assertEqual(NEW, self.token)

    def test_the_first_one_has_none_before_it(self):
        self.refuse()
        self.assertEqual(OLD, self.token)

    def test_the_file_is_judged_as_at_the_start(self):
        file = self.mktemp()
        read = token_reader(AgentConfig(token_file=file))
        assert read is not None
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, read)))
        with open(file, "w") as out:
            out.write("short\n")
        self.assertIn("open to every user", str(self.assertRaises(ConfigError, read)))
        os.chmod(file, 0o600)
        self.assertIn("has 5 characters", str(self.assertRaises(ConfigError, read)))
        with open(file, "w") as out:
            out.write(f"{NEW}\n")
        self.assertEqual(NEW, read())


class ReloadTests(AgentCase):
    """A reload shows a new token to the gateway beside the link."""

    def setUp(self):
        self.text = OLD
        self.identity = Identity(Hello(instance=INSTANCE)).with_token(OLD)
        self.read_token = lambda: self.text
        super().setUp()

    def greeting(self, gateway):
        return next(body for kind, body in gateway.heard() if kind == frames.HELLO)

    def reloaded(self):
        self.up()
        self.text = NEW
        self.service.reload()

    def test_nothing_happens_without_a_change(self):
        self.up()
        self.service.reload()
        self.assertEqual(1, len(self.dials()))

    def test_a_probe_shows_it_and_the_link_goes_on(self):
        self.reloaded()
        trial = self.reach()
        greeting = self.greeting(trial)
        self.assertIn(NEW.encode(), greeting)
        self.assertIn(b'"probe"', greeting)
        trial.says(hello_ack(probe=True))
        self.wait(1)
        self.assertEqual(1, len(self.lines("the gateway takes the new token")))
        self.assertTrue(self.service.keepers[0].up)
        self.assertEqual(2, len(self.dials()))

    def test_what_is_refused_is_said(self):
        self.reloaded()
        trial = self.reach()
        trial.says(hello_ack(error="authentication failed"))
        self.assertEqual(
            1, len(self.lines("refused the new token: authentication failed"))
        )
        self.assertTrue(self.service.keepers[0].up)

    def test_what_is_not_reached_is_said(self):
        self.reloaded()
        self.refuse()
        self.assertEqual(1, len(self.lines("the new token could not be tried")))

    def test_a_silent_gateway_ends_the_trial(self):
        self.reloaded()
        self.reach()
        self.wait(60)
        self.assertEqual(1, len(self.lines("the new token could not be tried")))

    def test_the_next_link_uses_it(self):
        gateway = self.up()
        self.text = NEW
        gateway.transport.peer_resets()
        self.wait(5)
        self.assertIn(NEW.encode(), self.greeting(self.reach()))

    def test_a_second_change_replaces_the_trial(self):
        self.reloaded()
        first = self.reach()
        self.text = THIRD
        self.service.reload()
        self.assertTrue(first.transport.aborted)
        self.assertIn(THIRD.encode(), self.greeting(self.reach()))

    def test_a_stop_ends_it(self):
        self.reloaded()
        trial = self.reach()
        self.service.stopService()
        self.assertTrue(trial.transport.aborted)
