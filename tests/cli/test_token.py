"""`gotunnel token`."""

import json
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.tokens import TokenJudge
from tests.certificates import private_pem
from tests.cli.cases import run

SECRET = "a-secret-of-at-least-thirty-two-letters"


class TokenTests(SynchronousTestCase):
    """What it prints is what the gateway takes."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.secret_file = self.write("secret", SECRET)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def made(self, *words, expect=0, **more):
        result = run("token", *words, **more)
        self.assertEqual(result.exit_code, expect, result.output)
        return result.output.strip()

    def judged(self, token, public_key=None):
        secret = SECRET if public_key is None else None
        return TokenJudge(secret, public_key, None, time.time).judge(token, "-")

    def test_by_a_file(self):
        token = self.made("alice", "--secret-file", self.secret_file)
        self.assertEqual(self.judged(token)[:2], ("token alice", "reader"))
        said = self.made(
            *("bob", "--role", "admin", "--secret-file", self.secret_file, "--json")
        )
        self.assertEqual(self.judged(json.loads(said)["token"]).role, "admin")

    def test_by_the_environment(self):
        name = "GOTUNNEL_SECURITY__API__JWT_SECRET"
        for env in ({name: SECRET}, {f"{name}_FILE": str(self.secret_file)}):
            self.judged(self.made("alice", env=env))

    def test_by_a_private_key(self):
        key = ec.generate_private_key(ec.SECP256R1())
        file = self.write("key", private_pem(key).decode())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        token = self.made("alice", "--private-key-file", file)
        self.assertEqual(self.judged(token, public).name, "token alice")

    def test_by_an_encrypted_private_key(self):
        key = ec.generate_private_key(ec.SECP256R1())
        file = self.write("key", private_pem(key, b"its password").decode())
        said = self.made("alice", "--private-key-file", file, expect=1)
        self.assertIn(
            f"{file} is encrypted: decrypt it, or give --key-password-file", said
        )
        password = self.write("password", "its password\n")
        options = ["--private-key-file", file, "--key-password-file", password]
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.assertEqual(
            self.judged(self.made("alice", *options), public).name, "token alice"
        )

    def test_what_is_wrong_is_said(self):
        for words, expect, said in (
            (["a"], 2, "which secret?"),
            (["a", "--secret-file", self.write("short", "x" * 31)], 1, "at least 32"),
            (["a", "--secret-file", self.folder / "none"], 1, "cannot be read"),
            (
                ["a", "--private-key-file", self.secret_file],
                1,
                "holds no private key in PEM form",
            ),
            (["a\nb", "--secret-file", self.secret_file], 2, "plain characters"),
            (["a", "--expires", "soon"], 2, "is no time such as"),
            (["a", "--expires", "0s"], 2, "is not between"),
        ):
            self.assertIn(said, self.made(*words, expect=expect))
        (self.folder / "secret").chmod(0o644)
        said = self.made("a", "--secret-file", self.secret_file, expect=1)
        self.assertIn("is open to every user", said)
