"""Keys, verifiers and scopes."""

import os
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy import access, credentials
from gateway.policy.access import TargetRules
from gateway.policy.credentials import (
    ITERATIONS,
    MOST_ITERATIONS,
    AgentCredential,
    AgentScope,
    Verifier,
    credential_document,
    credential_of_document,
    make_key,
    read_key,
)

VERIFIERS = st.builds(
    Verifier,
    st.text("0123456789abcdef", min_size=8, max_size=8),
    st.binary(min_size=12, max_size=100),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.integers(ITERATIONS, MOST_ITERATIONS),
)


VERIFIER = Verifier("0" * 8, b"s" * 12, b"s" * 32, b"k" * 32, 4096)


class KeyTests(SynchronousTestCase):
    """What an agent holds."""

    def test_a_key_is_read_as_it_was_made(self):
        for _ in range(20):
            key = make_key(os.urandom)
            self.assertEqual(read_key(key.secret), key)

    def test_a_key_has_256_random_bits(self):
        sizes = []

        def random(size):
            sizes.append(size)
            return os.urandom(size)

        make_key(random)
        self.assertEqual(sizes, [4, 32])

    def test_other_secrets_are_no_keys(self):
        good = make_key(os.urandom).secret
        for text in (
            "",
            "a shared secret of many letters",
            good[:-1],
            good + "x",
            good[1:],
        ):
            self.assertIsNone(read_key(text))


class VerifierTests(SynchronousTestCase):
    """What a gateway keeps."""

    @given(VERIFIERS)
    def test_text_and_back(self, verifier):
        self.assertEqual(Verifier.parse(str(verifier)), verifier)

    def test_what_is_none(self):
        good = str(Verifier("0" * 8, b"salt" * 4, b"s" * 32, b"k" * 32, 4096))
        for text in (
            "",
            good[1:],
            good[:-1],
            good.replace("4096", "0"),
            good.replace("4096", "4095"),
            good.replace("4096", "100001"),
            str(VERIFIER._replace(salt=b"s" * 11)),
            good.replace("SHA-256", "SHA-1"),
            good.replace("$", ":"),
            good + "\n",
        ):
            self.assertRaises(ValueError, Verifier.parse, text)


class ScopeTests(SynchronousTestCase):
    """What an agent may do."""

    def test_ports(self):
        scope = AgentScope(ports="10000-10100,10443")
        for port in (10000, 10100, 10443):
            self.assertTrue(scope.has_port(port))
        for port in (9999, 10101, 10442, 443):
            self.assertFalse(scope.has_port(port))
        self.assertTrue(AgentScope().has_port(22))

    def test_targets(self):
        scope = AgentScope(targets=("127.0.0.1:22,80", "db.internal", "10.0.0.0/8"))
        for host, port in (
            ("", 22),
            ("127.0.0.1", 80),
            ("db.internal", 1),
            ("10.1.1.1", 9),
        ):
            self.assertIsNone(scope.refusal(host, port))
        for host, port in (("", 23), ("127.0.0.2", 22), ("other", 80), ("11.0.0.1", 9)):
            self.assertIn("not among", str(scope.refusal(host, port)))
        for targets in (("127.0.0.1:22",), ("::1",), ("localhost:22",)):
            with self.subTest(targets):
                for host in ("", "localhost"):
                    self.assertIsNone(AgentScope(targets=targets).refusal(host, 22))
        self.assertIsNotNone(scope.refusal("localhost", 23))
        self.assertIsNone(AgentScope().refusal("anything", 1))
        self.assertIsNotNone(AgentScope(targets=()).refusal("", 22))

    def test_rules_are_parsed_once_for_all_connections(self):
        ports = Mock(side_effect=access.parse_ports)
        rules = Mock(side_effect=TargetRules.parse)
        self.patch(credentials, "parse_ports", ports)
        self.patch(TargetRules, "parse", rules)
        targets = tuple(f"127.0.0.1:{port}" for port in range(1, 1000))
        scope = AgentScope(ports="10000-10100", targets=targets)
        for port in range(1, 100):
            self.assertFalse(scope.has_port(port))
            self.assertIsNone(scope.refusal("127.0.0.1", port))
        ports.assert_called_once_with("10000-10100")
        rules.assert_called_once_with(targets)

    @given(
        st.lists(VERIFIERS, min_size=1, max_size=2),
        st.sampled_from(["", "1-5", "10,20-30"]),
        st.none() | st.just(("10.0.0.0/8:80", "db")),
        st.integers(0, 16),
        st.none() | st.integers(0, 2**40),
    )
    def test_documents_and_back(self, verifiers, ports, targets, count, expires_at):
        credential = AgentCredential(
            name="office",
            verifiers=tuple(verifiers),
            scope=AgentScope(ports=ports, targets=targets, max_links=count),
            expires_at=expires_at,
            created_at=1,
            updated_at=2,
        )
        document = credential_document(credential)
        self.assertEqual(credential_of_document("office", document), credential)

    def test_malformed_documents(self):
        good = credential_document(
            AgentCredential(
                name="a",
                verifiers=(Verifier("0" * 8, b"s" * 12, b"s" * 32, b"k" * 32, 4096),),
            )
        )
        for change in (
            {"verifiers": ["x"]},
            {"verifiers": 5},
            {"ports": "70000"},
            {"targets": ["x/y"]},
            {"max_links": "many"},
            {"created_at": None},
        ):
            self.assertRaises(
                ValueError, credential_of_document, "a", {**good, **change}
            )
        del good["ports"]
        self.assertRaises(ValueError, credential_of_document, "a", good)
