"""A proof by SCRAM: honest ends meet, others do not."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.link.proof import AgentProof, GatewayProof, ProofError, make_verifier
from gateway.policy.credentials import AgentKey, make_key

PEPPER = b"p" * 32


class ProofTests(SynchronousTestCase):
    """The exchange."""

    def setUp(self):
        self.key = make_key(os.urandom)
        self.verifier = make_verifier(self.key, os.urandom)

    def find(self, name, key_id):
        known = ("office", self.key.key_id)
        return self.verifier if (name, key_id) == known else None

    def gateway(self, nonce="s" * 32):
        return GatewayProof(self.find, PEPPER, nonce)

    def meet(self, agent, gateway):
        """Let both talk to the end; return what went over the wire."""
        said = [agent.first()]
        while True:
            said.append(gateway.answer(said[-1]))
            answer = agent.answer(said[-1])
            if answer is None:
                return said
            said.append(answer)

    def test_both_know_the_key(self):
        agent, gateway = AgentProof("office", self.key, "c" * 32), self.gateway()
        said = self.meet(agent, gateway)
        self.assertTrue(agent.proven and gateway.proven)
        self.assertEqual((gateway.name, len(said)), ("office", 4))
        self.assertNotIn(self.key.secret, "".join(said))

    def test_the_exchange_of_the_protocol_page(self):
        page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
        self.key = AgentKey("0a1b2c3d", "gtk_0a1b2c3d_" + "A" * 43)
        self.verifier = make_verifier(self.key, lambda size: bytes(range(size)))
        agent = AgentProof("office", self.key, "rOprNGfwEbeRWgbNEkqO")
        for message in self.meet(agent, self.gateway("hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")):
            self.assertIn(f"| `{message}` |", page)

    def test_an_agent_with_another_key_is_refused(self):
        other = make_key(os.urandom)._replace(key_id=self.key.key_id)
        agent, gateway = AgentProof("office", other, "c" * 32), self.gateway()
        self.assertRaises(ProofError, self.meet, agent, gateway)
        self.assertFalse(gateway.proven)

    def test_names_and_ids_that_nobody_has_look_like_others(self):
        for name, key in (
            ("nobody", self.key),
            ("office", make_key(os.urandom)),
            ("a/b", self.key),
        ):
            salts = set()
            for _ in range(2):
                gateway = self.gateway()
                agent = AgentProof(name, key, "c" * 32)
                first = gateway.answer(agent.first())
                salts.add(first)
                self.assertRegex(first, r"^r=c{32}s{32},s=[A-Za-z0-9+/]{22}==,i=4096$")
                final = agent.answer(first)
                self.assertRaises(ProofError, gateway.answer, final)
                self.assertFalse(gateway.proven)
            self.assertEqual(len(salts), 1)

    def test_a_gateway_keeps_no_agent_busy(self):
        agent = AgentProof("office", self.key, "c" * 32)
        agent.first()
        salt = "AAAAAAAAAAAAAAAAAAAAAA=="
        with self.assertRaisesRegex(ProofError, "10000000 iterations, 100000 at most"):
            agent.answer(f"r={'c' * 32}{'s' * 32},s={salt},i=10000000")

    def test_a_gateway_that_does_not_know_the_key_is_refused(self):
        forged = make_verifier(make_key(os.urandom), os.urandom)
        self.verifier = forged._replace(
            salt=self.verifier.salt, stored_key=self.verifier.stored_key
        )
        agent, gateway = AgentProof("office", self.key, "c" * 32), self.gateway()
        self.assertRaises(ProofError, self.meet, agent, gateway)
        self.assertFalse(agent.proven)

    def test_a_recorded_exchange_is_worth_nothing(self):
        said = self.meet(AgentProof("office", self.key, "c" * 32), self.gateway())
        again = self.gateway("t" * 32)
        again.answer(said[0])
        self.assertRaises(ProofError, again.answer, said[2])

    def test_nonsense_is_refused(self):
        agent = AgentProof("office", self.key, "c" * 32)
        for message in ("", "x", "r=,s=,i=", "n,,n=office,r=", "r=c,s=AAAA,i=1", ",,,"):
            self.assertRaises(ProofError, self.gateway().answer, message)
            fresh = AgentProof("office", self.key, "c" * 32)
            fresh.first()
            self.assertRaises(ProofError, fresh.answer, message)
        first = self.gateway()
        first.answer(agent.first())
        self.assertRaises(ProofError, first.answer, "c=biws,r=x,p=AAAA")
