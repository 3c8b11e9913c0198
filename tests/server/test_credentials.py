"""Keys of agents: made, replaced, revoked, and proved by agents of every kind."""

import json
import os

from twisted.internet.defer import succeed

from gateway.errors import (
    AgentKeyExistsError,
    AgentKeyMissingError,
    AgentKeyUnusedError,
    ConfiguredKeyError,
    LegacyAllowedError,
    PortForbiddenError,
    StoreFailedError,
)
from gateway.interfaces import StoredCredentials
from gateway.link.proof import SCRAM, AgentProof, make_verifier
from gateway.policy.credentials import (
    AgentCredential,
    AgentKey,
    AgentScope,
    make_key,
    read_key,
)
from gateway.policy.mapping import MappingWish
from gateway.server.credentials import Credentials
from gateway.wire import frames
from tests.link.rig import INSTANCE, KEEP_ALIVE, OTHER_INSTANCE
from tests.server.rig import NOON, GatewayCase
from tests.strategies import json_frame, raw_frame


class KeyCase(GatewayCase):
    """A gateway without a token."""

    def now(self, coroutine):
        return self.successResultOf(self.ensure(coroutine))

    def made(self, name="office", expires_in=None, **scope):
        """Make a key; return it as the agent holds it."""
        new = self.now(self.credentials.create(name, AgentScope(**scope), expires_in))
        key = read_key(new.secret)
        assert key is not None
        return key

    def rotated(self):
        """Make another key; return it as the agent holds it."""
        return read_key(self.now(self.credentials.rotate("office")).secret)

    def prove(self, key, name="office", instance="0" * 16, link=0, user=None):
        """Connect an agent that proves to know a key; return it and what it heard."""
        agent = self.connect()
        assert agent is not None
        proof = AgentProof(name if user is None else user, key, "c" * 32)
        hello = {"agent": name, "instance": instance, "link": link, "auth": SCRAM}
        agent.says(
            json_frame(frames.HELLO, **hello),
            raw_frame(frames.AUTH, proof.first().encode()),
        )
        ((kind, payload),) = agent.heard()
        self.assertEqual(frames.AUTH, kind)
        answer = proof.answer(bytes(payload).decode())
        assert answer is not None
        agent.says(raw_frame(frames.AUTH, answer.encode()))
        return agent, agent.heard()

    def assert_admitted(self, heard):
        self.assertEqual([frames.AUTH, frames.HELLO_ACK], [k for k, _ in heard][:2])
        self.assertNotIn(b"error", heard[1][1])

    def assert_refused(self, heard, words=b"authentication failed"):
        ((kind, payload),) = [row for row in heard if row[0] != frames.AUTH]
        self.assertEqual(frames.HELLO_ACK, kind)
        self.assertIn(words, payload)


class ProofTests(KeyCase):
    """Who is admitted."""

    def test_who_knows_a_key_under_its_own_name(self):
        key = self.made()
        self.assert_admitted(self.prove(key)[1])
        self.assertTrue(self.links.has("office"))

    def test_nobody_else(self):
        key = self.made()
        other = self.made("other")
        forged = AgentKey(key.key_id, make_key(os.urandom).secret)
        for given, name, user in (
            (forged, "office", None),
            (other, "office", None),
            (other, "office", "other"),
            (key, "boss", "office"),
            (key, "nobody", None),
        ):
            self.assert_refused(self.prove(given, name, user=user)[1])
        self.assertFalse(self.links.connected)
        self.assertEqual(1, len(self.lines("Unauthorized")))

    def test_the_first_key_ends_the_time_of_agents_without_any(self):
        stranger = self.agent("stranger")
        stranger.heard()
        self.assertTrue(self.links.open_to_all)
        self.made()
        self.assertFalse(self.links.open_to_all)
        ((kind, payload),) = stranger.heard()
        self.assertEqual((frames.GOAWAY, frames.REVOKED), (kind, payload[0]))
        again = self.agent("stranger", OTHER_INSTANCE)
        self.assertIn(b"authentication failed", again.heard()[0][1])
        legacy = self.connect()
        legacy.says(KEEP_ALIVE)
        self.assertTrue(legacy.transport.half_closed)

    def test_the_first_key_ends_connections_that_have_not_said_who_they_are(self):
        self.agent("office").heard()
        silent = self.connect()
        self.later(3)  # it may still become a legacy agent, by its first frame
        undecided = self.connect()
        self.made()
        for one in (silent, undecided):
            one.says(KEEP_ALIVE)
            one.transport.pump()
            self.assertTrue(one.transport.aborted)
        self.assertEqual([], self.links.views())

    def test_with_a_token_beside_the_keys_either_will_do(self):
        self.build(token="a secret that is shared")
        key = self.made()
        self.assert_admitted(self.prove(key)[1])
        agent = self.agent("web", token="a secret that is shared")
        self.assertNotIn(b"error", agent.heard()[0][1])
        self.now(self.credentials.revoke("office"))
        self.assertTrue(self.links.has("web"))

    def test_a_key_that_expires_ends_links_and_visitors(self):
        self.create(10080, agent="office")
        agent, heard = self.prove(self.made(expires_in=60))
        self.assert_admitted(heard)
        other, _ = self.prove(self.made("other"), "other")
        visitor = self.visit()
        self.clock.advance(30)
        agent.says(KEEP_ALIVE)
        other.says(KEEP_ALIVE)
        self.assertTrue(self.links.has("office"))
        agent.heard()
        self.clock.advance(30)
        ((kind, payload),) = agent.heard()[-1:]
        self.assertEqual((frames.GOAWAY, frames.REVOKED), (kind, payload[0]))
        self.assertIn(b"the key has expired", payload)
        self.assertFalse(self.links.has("office"))
        self.assertTrue(self.links.has("other"))
        visitor.pump()
        self.assertTrue(visitor.aborted)

    def test_a_longer_life_is_a_longer_link(self):
        agent, _ = self.prove(self.made(expires_in=60))
        self.now(self.credentials.update("office", {}, 90))
        for seconds, there in ((40, True), (40, True), (20, False)):
            self.clock.advance(seconds)
            agent.says(KEEP_ALIVE)
            self.assertEqual(there, self.links.has("office"))
        self.assertFalse(self.clock.getDelayedCalls() and self.links.connected)

    def test_a_link_without_a_key_does_not_expire(self):
        self.build(token="a-token-of-many-letters")
        key = self.made(expires_in=20)
        agent = self.agent("office", token="a-token-of-many-letters")
        other, _ = self.prove(key, "office", link=1, instance=INSTANCE)
        self.assertEqual(2, self.links.views()[0].links)
        other.transport.peer_resets()
        self.clock.advance(30)
        agent.says(KEEP_ALIVE)
        self.assertTrue(self.links.has("office"))

    def test_an_expired_key_admits_no_new_link(self):
        key = self.made(expires_in=10)
        self.assert_admitted(self.prove(key)[1])
        self.clock.advance(10)
        self.assert_refused(self.prove(key, instance="1" * 16)[1])

    def test_a_proof_of_another_kind_is_refused(self):
        self.made()
        agent = self.connect()
        assert agent is not None
        hello = {"agent": "office", "instance": "0" * 16, "auth": "magic"}
        agent.says(json_frame(frames.HELLO, **hello))
        self.assert_refused(agent.heard())

    def test_who_leaves_in_the_middle_leaves_nothing(self):
        self.made()
        agent = self.connect()
        assert agent is not None
        hello = {"agent": "office", "instance": "0" * 16, "auth": SCRAM}
        agent.says(json_frame(frames.HELLO, **hello))
        agent.transport.peer_resets()
        self.assertEqual(0, len(self.links.admission._proofs))


class WordsTests(KeyCase):
    """What the log says of a key that is refused."""

    def test_an_unknown_or_expired_key(self):
        key = self.made(expires_in=60)
        self.clock.advance(61)
        self.assert_refused(self.prove(key)[1])
        self.assertEqual(1, len(self.lines("has this key, or it has expired")))

    def test_a_wrong_secret_under_a_known_id(self):
        key = self.made()
        wrong = AgentKey(key.key_id, f"gtk_{key.key_id}_{'B' * 43}")
        self.assert_refused(self.prove(wrong)[1])
        self.assertEqual(1, len(self.lines("it is not the key that has this id")))


class NameTests(KeyCase):
    """An agent without a name of its own takes that of its key."""

    def test_it_is_that_of_the_key(self):
        key = self.made()
        _, heard = self.prove(key, name="default", user="")
        self.assert_admitted(heard)
        self.assertTrue(self.links.has("office"))
        self.assertFalse(self.links.has("default"))

    def test_a_key_that_two_agents_have_gives_none(self):
        key = self.made()
        self.made("other")
        [one] = [row for row, *_ in self.credentials.views() if row.name == "office"]
        twin = AgentCredential(name="twin", verifiers=one.verifiers)
        self.credentials.configure([twin], legacy_allowed=False)
        self.assert_refused(self.prove(key, name="default", user="")[1])

    def test_a_name_of_its_own_must_be_that_of_the_key(self):
        self.assert_refused(self.prove(self.made(), name="boss")[1])


class ChangeTests(KeyCase):
    """Keys come and go."""

    def test_two_keys_are_good_until_one_is_retired(self):
        old = self.made()
        new = self.rotated()
        for key in (old, new):
            self.assert_admitted(self.prove(key)[1])
        self.now(self.credentials.retire("office"))
        self.assert_refused(self.prove(old)[1])
        self.assert_admitted(self.prove(new)[1])

    def test_a_third_key_takes_the_place_of_a_second_one_that_was_never_used(self):
        keys = [self.made()]
        self.prove(keys[0])
        keys += [self.rotated() for _ in range(2)]
        self.assert_refused(self.prove(keys[1])[1])
        for key in (keys[0], keys[2]):
            self.assert_admitted(self.prove(key)[1])

    def test_once_the_second_one_was_used_it_takes_the_oldest_ones_place(self):
        keys = [self.made(), self.rotated()]
        self.prove(keys[1])
        keys.append(self.rotated())
        self.assert_refused(self.prove(keys[0])[1])
        for key in keys[1:]:
            self.assert_admitted(self.prove(key)[1])

    def test_the_older_key_is_not_retired_before_the_newer_was_used(self):
        old = self.made()
        self.prove(old)
        new = self.rotated()
        retiring = self.ensure(self.credentials.retire("office"))
        fault = self.failureResultOf(retiring, AgentKeyUnusedError).value
        self.assertIn(new.key_id, str(fault))
        self.assert_admitted(self.prove(old)[1])
        self.prove(new)
        self.now(self.credentials.retire("office"))
        self.assert_refused(self.prove(old)[1])

    def test_it_is_when_that_is_forced(self):
        old, new = self.made(), self.rotated()
        self.now(self.credentials.retire("office", force=True))
        self.assert_refused(self.prove(old)[1])
        self.assert_admitted(self.prove(new)[1])

    def test_the_first_use_of_a_key_is_stored_once(self):
        key = self.made()
        writes = []
        put = self.store.put_credential

        def note(one):
            writes.append(one)
            return put(one)

        self.patch(self.store, "put_credential", note)
        for link in range(3):
            self.prove(key, link=link)
        self.assertEqual([(key.key_id,)], [one.used for one in writes])

    def test_revoking_ends_links_and_visitors(self):
        key = self.made()
        agent, _ = self.prove(key)
        self.create(agent="office")
        visitor = self.visit()
        agent.reached()
        agent.heard()
        self.now(self.credentials.revoke("office"))
        kinds = [kind for kind, _ in agent.heard()]
        self.assertEqual([frames.GOAWAY], kinds)
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertFalse(self.links.has("office"))
        self.assert_refused(self.prove(key)[1])

    def test_the_last_key_revoked_opens_the_gateway_to_nobody(self):
        key = self.made()
        self.now(self.credentials.revoke("office"))
        for _ in range(2):
            self.assertFalse(self.links.open_to_all)
            self.assertEqual([], self.credentials.views())
            stranger = self.agent("stranger")
            self.assertIn(b"authentication failed", stranger.heard()[0][1])
            legacy = self.connect()
            legacy.says(KEEP_ALIVE)
            self.assertTrue(legacy.transport.half_closed)
            self.assert_refused(self.prove(key)[1])
            self.build()
            self.now(self.credentials.restore())
        for gone in (self.credentials.rotate, self.credentials.revoke):
            self.failureResultOf(self.ensure(gone("office")), AgentKeyMissingError)
        self.assert_admitted(self.prove(self.made())[1])

    def test_who_says_so_opens_it_again(self):
        self.made()
        self.now(self.credentials.revoke("office"))
        self.build(allow_legacy=True)
        self.now(self.credentials.restore())
        self.assertTrue(self.links.open_to_all)

    def test_a_key_that_cannot_be_read_opens_the_gateway_to_nobody(self):
        found = succeed(StoredCredentials([], ["the key of agent 'office' is spoilt"]))
        self.patch(self.store, "load_credentials", lambda: found)
        self.now(self.credentials.restore())
        self.assertFalse(self.links.open_to_all)

    def test_what_survives_a_restart(self):
        key = self.made(ports="10080", max_streams=5)
        self.build()
        self.now(self.credentials.restore())
        agent, heard = self.prove(key)
        self.assert_admitted(heard)
        self.assertEqual(5, self.record(agent).scope.max_streams)

    def test_what_cannot_be_done(self):
        self.made()
        for fault, change in (
            (
                AgentKeyExistsError,
                self.credentials.create("office", AgentScope(), None),
            ),
            (AgentKeyMissingError, self.credentials.rotate("nobody")),
            (AgentKeyMissingError, self.credentials.retire("nobody")),
            (AgentKeyMissingError, self.credentials.update("nobody", {})),
            (AgentKeyMissingError, self.credentials.revoke("nobody")),
        ):
            self.failureResultOf(self.ensure(change), fault)

    def test_a_key_of_the_configuration_stays_as_it_is(self):
        key = make_key(os.urandom)
        configured = AgentCredential(
            name="office", verifiers=(make_verifier(key, os.urandom),)
        )
        self.made()
        table = Credentials(
            self.store, [configured], os.urandom, self.wall_now, legacy_allowed=False
        )
        self.now(table.restore())
        self.assertEqual(1, len(self.lines("the configuration has one")))
        self.assertEqual([(configured, "config", False)], table.views())
        for change in (table.rotate, table.retire, table.revoke):
            self.failureResultOf(self.ensure(change("office")), ConfiguredKeyError)
        self.failureResultOf(
            self.ensure(table.create("office", AgentScope(), None)), AgentKeyExistsError
        )

    def test_no_key_where_agents_without_one_are_to_be_served(self):
        self.build(allow_legacy=True)
        making = self.credentials.create("office", AgentScope(), None)
        self.failureResultOf(self.ensure(making), LegacyAllowedError)

    def test_a_store_that_fails_changes_nothing(self):
        key = self.made()
        self.store.fail("the disk is full")
        for change in (
            self.credentials.create("other", AgentScope(), None),
            self.credentials.rotate("office"),
            self.credentials.revoke("office"),
        ):
            self.failureResultOf(self.ensure(change), StoreFailedError)
        self.store.fault = None
        self.assert_admitted(self.prove(key)[1])
        self.assertEqual(["office"], [row[0].name for row in self.credentials.views()])


class ScopeTests(KeyCase):
    """What a hostile agent gets."""

    def register(self, agent, **wish):
        agent.says(json_frame(frames.REGISTER, id=f"x{wish}", **wish))
        ((_, payload),) = agent.heard()
        return payload

    def test_ports_of_its_own_alone(self):
        agent, _ = self.prove(self.made(ports="10050-10051"))
        self.assertIn(b"denied: port 10080", self.register(agent, port=10080, local=1))
        self.assertIn(b"10051", self.register(agent, port=10051, local=1))
        self.assertIn(b"10050", self.register(agent, local=2))

    def test_an_old_port_is_judged_by_the_key_as_it_is_now(self):
        key = self.made(ports="10050-10051")
        agent, _ = self.prove(key)
        agent.says(json_frame(frames.REGISTER, id="web", port=10050, local=80))
        agent.heard()
        agent.link.abort("gone")
        self.now(self.credentials.update("office", {"ports": "10051"}))
        agent, _ = self.prove(key)
        for local in (80, 81):
            agent.says(json_frame(frames.REGISTER, id="web", local=local))
            ((_, answer),) = agent.heard()
            self.assertEqual(10051, json.loads(answer)["port"])
            self.assertEqual([10051], self.network.open_ports())

    def test_a_narrowed_key_gives_its_port_back(self):
        agent, _ = self.prove(self.made(targets=("127.0.0.1:80",)))
        agent.says(json_frame(frames.REGISTER, id="web", port=10050, local=80))
        agent.says(json_frame(frames.REGISTER, id="db", port=10051, local=80))
        agent.heard()
        visitors = [self.visit(10050), self.visit(10051)]
        agent.heard()
        self.now(self.credentials.update("office", {"ports": "10051"}))
        self.assertEqual([10051], self.network.open_ports())
        self.assertEqual([True, False], [one.aborted for one in visitors])
        (answer,) = [
            body for kind, body in agent.heard() if kind == frames.REGISTER_ACK
        ]
        self.assertEqual(
            {
                "id": "web",
                "public_url": "",
                "port": 0,
                "error": "denied: port 10050 is not among this agent's (10051)",
            },
            json.loads(answer),
        )
        self.now(self.credentials.update("office", {"targets": ("127.0.0.1:81",)}))
        self.assertEqual([], self.network.open_ports())

    def test_no_way_to_a_port_passes_the_key_by(self):
        scope = AgentScope(ports="10050")
        wish = MappingWish(port=10051, target_port=80, use_tunnel=True, agent="office")
        with self.assertRaises(PortForbiddenError):
            self.mappings.open_for_agent(wish, scope)
        self.assertEqual([], self.network.open_ports())

    def test_what_it_may_do_can_change(self):
        self.create(10080, agent="office")
        agent, _ = self.prove(self.made())
        visitor = self.visit()
        self.assertEqual([frames.OPEN], agent.kinds())
        changes = {"ports": "10050", "targets": ("127.0.0.1:80",), "max_streams": 5}
        kept = self.now(self.credentials.update("office", changes)).credential
        self.assertEqual(("10050", 5), (kept.scope.ports, kept.scope.max_streams))
        self.assertIn(b"denied: port 10081", self.register(agent, port=10081, local=80))
        self.assertIn(b"denied", self.register(agent, local=22))
        self.visit()
        self.assertEqual([], agent.kinds())
        visitor.pump()
        self.assertFalse(visitor.aborted)
        self.now(self.credentials.update("office", {"ports": ""}))
        self.visit()
        self.assertIn(frames.OPEN, agent.kinds())

    def test_its_rate_can_change(self):
        agent, _ = self.prove(self.made())
        self.assertIsNone(self.record(agent).buckets)
        self.now(self.credentials.update("office", {"bandwidth_limit": 1000}))
        buckets = self.record(agent).buckets
        self.assertEqual([1000, 1000], [bucket.rate for bucket in buckets])
        self.now(self.credentials.update("office", {"bandwidth_limit": 2000}))
        self.assertIs(buckets, self.record(agent).buckets)
        self.assertEqual([2000, 2000], [bucket.rate for bucket in buckets])
        self.now(self.credentials.update("office", {"bandwidth_limit": 0}))
        self.assertIsNone(self.record(agent).buckets)

    def test_targets_of_its_own_alone(self):
        agent, _ = self.prove(self.made(targets=("127.0.0.1:80",)))
        for wish in ({"local": 22}, {"local": 80, "host": "10.0.0.1"}):
            self.assertIn(b"denied", self.register(agent, **wish))
        self.assertNotIn(b"error", self.register(agent, local=80))

    def test_visitors_of_other_ports_go_elsewhere(self):
        agent, _ = self.prove(self.made(ports="10081"))
        self.create(agent="office")
        agent.heard()
        visitor = self.visit()
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual([], agent.heard())
        (line,) = self.lines("connection closed")
        self.assertIn("the key of agent office forbids port 10080", line)

    def test_it_is_not_asked_for_other_targets(self):
        agent, _ = self.prove(self.made(targets=("127.0.0.1:80",)))
        self.create(agent="office", target_host="10.0.0.1", target_port=80)
        agent.heard()
        visitor = self.visit()
        visitor.pump()
        self.assertTrue(visitor.aborted)
        self.assertEqual([], agent.heard())

    def test_links_and_streams(self):
        key = self.made(max_links=1, max_streams=1)
        _, heard = self.prove(key)
        self.assert_admitted(heard)
        self.assert_refused(self.prove(key, link=1)[1], b"max tunnels reached")
        self.create(agent="office")
        self.assertFalse(self.visit().aborted)
        second = self.visit()
        second.pump()
        self.assertTrue(second.aborted)
        self.assert_admitted(self.prove(key)[1])  # in the place of the link it had

    def test_an_agent_is_told_how_many_links_it_may_have(self):
        for most, told in ((0, 16), (3, 3), (16, 16)):
            _, heard = self.prove(
                self.made(f"agent{most}", max_links=most), f"agent{most}"
            )
            self.assertEqual(told, json.loads(heard[1][1])["links"])

    def test_the_rate_is_of_all_its_links(self):
        key = self.made(bandwidth_limit=1000)
        one, _ = self.prove(key)
        two, _ = self.prove(key, link=1)
        self.assertIsNotNone(self.record(one).buckets)
        self.assertIs(self.record(one).buckets, self.record(two).buckets)

    def test_the_time_of_a_key_is_told(self):
        self.made(expires_in=60)
        ((credential, _, expired),) = self.credentials.views()
        self.assertEqual((credential.expires_at, expired), (NOON + 60, False))
        self.clock.advance(60)
        self.assertTrue(self.credentials.views()[0][2])
