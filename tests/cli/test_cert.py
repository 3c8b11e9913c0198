"""`gotunnel cert` on real files."""

import json
import stat
from pathlib import Path

from OpenSSL.crypto import FILETYPE_PEM, load_certificate
from twisted.trial.unittest import SynchronousTestCase

from gateway.net.certificates import (
    CertificateFiles,
    check_server,
    client_context,
    names_of,
    server_context,
)
from gateway.net.keys import load_private_key
from tests.certificates import private_pem
from tests.cli.cases import run


class CertTests(SynchronousTestCase):
    """An authority, and what it signs."""

    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()

    def cert(self, *words, expect=0):
        result = run("cert", *words)
        self.assertEqual(result.exit_code, expect, result.output)
        return result.output

    def make(self, *words, expect=0):
        return self.cert(*words, "--dir", self.folder, expect=expect)

    def load(self, name):
        return load_certificate(FILETYPE_PEM, (self.folder / name).read_bytes())

    def test_a_whole_set(self):
        self.assertIn("Keep the key secret", self.make("ca"))
        said = self.make("gateway", "gw.test", "192.0.2.1", "2001:db8::1")
        self.assertIn(f"cert_file: {self.folder}/gateway.crt", said)
        self.assertIn("name: office", self.make("agent", "office"))
        gateway = self.load("gateway.crt")
        for name in ("gw.test", "192.0.2.1", "2001:db8::1"):
            self.assertIsNone(check_server(gateway, name, None))
        self.assertIn("is not for", str(check_server(gateway, "other.test", None)))
        self.assertEqual(names_of(self.load("agent-office.crt")), {"office"})
        for build, name in (
            (server_context, "gateway"),
            (lambda files: client_context(files, verify=True), "agent-office"),
        ):
            build(
                CertificateFiles(
                    cert_file=str(self.folder / f"{name}.crt"),
                    key_file=str(self.folder / f"{name}.key"),
                    ca_file=str(self.folder / "ca.crt"),
                )
            )

    def test_the_key_of_the_authority_may_be_encrypted(self):
        self.make("ca")
        key_file = self.folder / "ca.key"
        key = load_private_key(str(key_file))
        key_file.write_bytes(private_pem(key, b"its password"))
        said = self.make("agent", "office", expect=1)
        self.assertIn(
            f"{key_file} is encrypted: decrypt it, or give --key-password-file", said
        )
        password = self.folder / "password"
        password.write_bytes(b"its password\n")
        password.chmod(0o600)
        self.make("agent", "office", "--key-password-file", password)
        self.make("gateway", "gw.test", "--key-password-file", password)
        self.assertEqual(names_of(self.load("agent-office.crt")), {"office"})

    def test_keys_are_their_owners_alone(self):
        self.make("ca")
        self.make("agent", "office")
        for name in ("ca.key", "agent-office.key"):
            mode = stat.S_IMODE((self.folder / name).stat().st_mode)
            self.assertEqual(mode, 0o600)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_nothing_is_replaced_unasked(self):
        self.make("ca")
        before = (self.folder / "ca.key").read_bytes()
        self.assertIn("there already; --force", self.make("ca", expect=1))
        self.assertEqual((self.folder / "ca.key").read_bytes(), before)
        self.make("ca", "--force")
        self.assertNotEqual((self.folder / "ca.key").read_bytes(), before)
        self.assertEqual(
            sorted(path.name for path in self.folder.iterdir()), ["ca.crt", "ca.key"]
        )

    def test_what_is_missing_or_wrong_is_said(self):
        self.assertIn("`gotunnel cert ca` makes one", self.make("agent", "a", expect=1))
        self.make("ca")
        self.assertIn("is not a name of", self.make("agent", "no name", expect=2))
        self.assertIn("gateway", self.make("gateway", "no host!", expect=2))
        said = self.make("gateway", "gw.test", "--days", "3650", expect=1)
        self.assertIn("3650 days from now the authority", said)
        (self.folder / "ca.key").write_text("nonsense")
        self.assertIn(
            "ca.key: holds no private key in PEM form",
            self.make("agent", "a", expect=1),
        )

    def test_show(self):
        made = json.loads(self.make("ca", "--json"))
        self.assertEqual(made["key_file"], str(self.folder / "ca.key"))
        self.make("gateway", "gw.test", "192.0.2.1")
        file = self.folder / "gateway.crt"
        said = self.cert("show", file)
        self.assertIn("names: gw.test, 192.0.2.1", said)
        [row] = json.loads(self.cert("show", file, "--json"))
        self.assertEqual(row["subject"], "gw.test")
        self.assertEqual(row["issuer"], "gotunnel private authority")
        digest = self.load("gateway.crt").digest("sha256").decode()
        self.assertEqual(row["fingerprint"].upper(), digest)
        said = self.cert("show", self.folder / "ca.key", expect=1)
        self.assertIn("holds no certificate", said)
