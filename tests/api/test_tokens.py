"""Good tokens and bad ones."""

import base64
import hashlib
import hmac
import json

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.tokens import Caller, PublicKeyError, TokenJudge, issue
from gateway.errors import ExpiredTokenError, InvalidTokenError

SECRET = "a-secret-of-at-least-thirty-two-letters"
NOW = 1_800_000_000.0


def public_pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signed(key=SECRET, algorithm="HS256", **claims):
    plain = {"sub": "alice", "role": "admin", "exp": NOW + 60}
    body = {name: value for name, value in {**plain, **claims}.items() if value != ""}
    return jwt.encode(body, key, algorithm)


class JudgeTests(SynchronousTestCase):
    """What a token must be."""

    def setUp(self):
        self.now = NOW
        self.judge = self.made(SECRET)

    def made(self, secret=None, public_key=None, audience=None):
        return TokenJudge(secret, public_key, audience, lambda: self.now)

    def bad(self, token, judge=None):
        judge = judge or self.judge
        fault = self.assertRaises(InvalidTokenError, judge.judge, token, "192.0.2.1")
        self.assertEqual((str(fault), fault.http_code), ("Invalid token", 401))

    def expired(self, token):
        fault = self.assertRaises(
            ExpiredTokenError, self.judge.judge, token, "192.0.2.1"
        )
        self.assertRegex(str(fault), r"^Invalid token: it expired at \d{4}-\d\d-\d\d ")
        self.assertEqual(401, fault.http_code)

    def good(self, token, judge=None):
        return (judge or self.judge).judge(token, "192.0.2.1")

    def test_a_good_one(self):
        expected = Caller("token alice", "admin", "192.0.2.1")
        self.assertEqual(self.good(signed()), expected)

    def test_without_a_role_the_bearer_may_look(self):
        self.assertEqual(self.good(signed(role="")).role, "reader")

    def test_another_secret_or_a_changed_letter(self):
        self.bad(signed("another-secret-of-thirty-two-letters!"))
        head, body, signature = signed().split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        forged = base64.urlsafe_b64encode(
            json.dumps({**claims, "role": "admin", "sub": "eve"}).encode()
        )
        self.bad(".".join([head, forged.decode().rstrip("="), signature]))

    def test_no_signature(self):
        self.bad(jwt.encode({"sub": "a", "exp": NOW + 60}, "", "none"))
        head, body, _ = signed().split(".")
        self.bad(f"{head}.{body}.")

    def test_what_is_no_token(self):
        for text in ("", "x", "a.b.c", "....", "\xff\xfe", "e30.e30.e30", "x" * 9000):
            self.bad(text)
        self.bad(jwt.api_jws.encode(b"[1]", SECRET))
        self.bad(jwt.api_jws.encode(b"[" * 5000, SECRET))

    def test_times(self):
        self.expired(signed(exp=NOW))
        self.expired(signed(exp=NOW - 1))
        self.bad(signed(exp=""))
        self.bad(signed(exp="later"))
        self.bad(signed(exp=True))
        self.bad(signed(nbf=NOW + 31))
        self.bad(signed(nbf="now"))
        self.good(signed(nbf=NOW + 29))
        token = signed()
        self.now += 59
        self.good(token)
        self.now += 1
        self.expired(token)

    def test_roles_and_names(self):
        for claims in (
            {"role": "root"},
            {"role": ["admin"]},
            {"role": None},
            {"sub": 5},
            {"sub": "a\nb"},
            {"sub": "a" * 101},
        ):
            self.bad(signed(**claims))

    def test_audiences(self):
        judge = self.made(SECRET, audience="ops")
        self.good(signed(aud="ops"), judge)
        self.good(signed(aud=["dev", "ops"]), judge)
        self.bad(signed(aud="dev"), judge)
        self.bad(signed(), judge)
        self.good(signed(aud="whoever"))

    def test_public_keys(self):
        for key, algorithm in (
            (rsa.generate_private_key(65537, 2048), "RS256"),
            (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        ):
            judge = self.made(public_key=public_pem(key))
            token = issue(
                private_pem(key),
                algorithm,
                subject="bob",
                role="reader",
                now=NOW,
                seconds=60,
                audience=None,
            )
            self.assertEqual(self.good(token, judge).name, "token bob")
            self.bad(signed(), judge)
            self.bad(token)

    def test_a_public_key_is_no_secret(self):
        key = rsa.generate_private_key(65537, 2048)
        pem = public_pem(key)
        header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
        body = base64.urlsafe_b64encode(
            json.dumps({"sub": "eve", "role": "admin", "exp": NOW + 60}).encode()
        ).rstrip(b"=")
        digest = hmac.digest(pem, header + b"." + body, hashlib.sha256)
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=")
        forged = b".".join([header, body, signature]).decode()
        self.bad(forged, self.made(public_key=pem))
        self.bad(forged, self.made(SECRET, public_key=pem))

    def test_keys_that_are_none(self):
        for pem in (
            b"nonsense",
            public_pem(rsa.generate_private_key(65537, 1024)),
            public_pem(ec.generate_private_key(ec.SECP384R1())),
        ):
            self.assertRaises(PublicKeyError, self.made, None, pem)

    def test_what_we_issue_is_good(self):
        token = issue(
            SECRET,
            "HS256",
            subject="alice",
            role="admin",
            now=NOW,
            seconds=60,
            audience="ops",
        )
        self.assertEqual(
            self.good(token, self.made(SECRET, audience="ops")).role, "admin"
        )
        self.assertRaises(
            ValueError,
            issue,
            b"no key",
            "RS256",
            subject="",
            role="reader",
            now=NOW,
            seconds=1,
            audience=None,
        )
