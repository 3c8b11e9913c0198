"""Private keys are loaded in one place, which never asks a question."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

import gateway
from gateway.net.certificates import CertificateFiles, server_context
from gateway.net.keys import CertificateError, load_private_key
from tests.certificates import Authority, private_pem, rsa_key

PASSWORD = b"not-to-be-shown"
LOAD = """
import sys
from gateway.net.certificates import CertificateFiles, server_context
from gateway.net.keys import CertificateError
try:
    server_context(CertificateFiles(cert_file=sys.argv[1], key_file=sys.argv[2]))
except CertificateError as fault:
    print(fault)
"""


class KeyCase(SynchronousTestCase):
    """A folder with keys and passwords."""

    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.password_file = self.write("password", PASSWORD + b"\n")

    def write(self, name, content, mode=0o600):
        file = self.folder / name
        file.write_bytes(content)
        file.chmod(mode)
        return str(file)

    def assert_refused(self, words, *args, **options):
        """Fail unless the key is refused in these words, without its password."""
        fault = str(
            self.assertRaises(CertificateError, load_private_key, *args, **options)
        )
        self.assertIn(words, fault)
        self.assertNotIn(PASSWORD.decode(), fault)


class LoadTests(KeyCase):
    """What is loaded, and what is said where that cannot be."""

    def test_every_form_of_encryption(self):
        key = rsa_key()
        cert_file, _ = Authority(self.mktemp()).issue("a", key=key)
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            pem = private_pem(key, PASSWORD, form)
            for content in (pem, Path(cert_file).read_bytes() + pem):
                file = self.write("key", content)
                found: Any = load_private_key(file, self.password_file)
                self.assertEqual(found.private_numbers(), key.private_numbers())
                self.assert_refused(
                    f"{file} is encrypted: decrypt it, or set key_password_file", file
                )
                wrong = self.write("wrong", PASSWORD + b"?")
                self.assert_refused(
                    f"{file}: cannot be decrypted with the password in {wrong}",
                    *(file, wrong),
                )

    def test_a_plain_key_needs_no_password(self):
        file = self.write("key", private_pem(ec.generate_private_key(ec.SECP256R1())))
        load_private_key(file)
        load_private_key(file, self.password_file)

    def test_a_password_is_kept_like_any_secret(self):
        key = private_pem(ec.generate_private_key(ec.SECP256R1()), PASSWORD)
        file = self.write("key", key)
        for content, mode, words in (
            (PASSWORD, 0o644, "is open to every user of this machine"),
            (b"\n", 0o600, "is empty"),
            (b"\xff", 0o600, "is not UTF-8 text"),
        ):
            named = self.write("other", content, mode)
            self.assert_refused(words, file, named)
        self.assert_refused("cannot be read", file, str(self.folder / "none"))
        named = self.write("other", PASSWORD, 0o644)
        load_private_key(file, named, allow_readable=True)

    def test_a_key_that_others_can_read(self):
        pem = private_pem(ec.generate_private_key(ec.SECP256R1()))
        file = self.write("key", pem, 0o644)
        self.assert_refused("(mode 0644); chmod 0600 it", file)
        load_private_key(file, allow_readable=True)

    def test_what_holds_no_key(self):
        self.assert_refused("holds no private key", self.write("key", b"no key"))
        self.assert_refused("No such file", str(self.folder / "none"))
        self.assert_refused("Not a regular file", str(self.folder))
        self.assert_refused("is longer than", self.write("key", bytes((1 << 20) + 1)))

    def test_nothing_waits_for_a_pipe(self):
        pipe = str(self.folder / "pipe")
        os.mkfifo(pipe, 0o600)
        self.assert_refused("Not a regular file", pipe)
        key = private_pem(ec.generate_private_key(ec.SECP256R1()), PASSWORD)
        self.assert_refused("Not a regular file", self.write("key", key), pipe)
        files = CertificateFiles(cert_file=pipe, key_file=None)
        self.assertRaises(CertificateError, server_context, files)

    def test_a_key_that_tls_has_no_use_for(self):
        cert_file, _ = Authority(self.mktemp()).issue("a")
        key_file = self.write("key", private_pem(x25519.X25519PrivateKey.generate()))
        files = CertificateFiles(cert_file=cert_file, key_file=key_file)
        fault = self.assertRaises(CertificateError, server_context, files)
        self.assertIn("TLS needs an RSA, EC", str(fault))


class PromptTests(KeyCase):
    """Nobody is asked on the terminal."""

    def test_a_process_with_a_terminal_does_not_wait_for_it(self):
        authority = Authority(self.folder / "authority")
        cert_file, key_file = authority.issue("a", password=PASSWORD)
        master, terminal = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, terminal)
        ran = subprocess.run(
            [sys.executable, "-c", LOAD, cert_file, key_file],
            stdin=terminal,
            start_new_session=True,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env={**os.environ, "PYTHONPATH": str(Path(gateway.__file__).parents[1])},
        )
        self.assertIn("is encrypted", ran.stdout)

    def test_no_other_place_loads_keys(self):
        loaders = re.compile(
            r"\b(use_privatekey_file|use_certificate_chain_file|load_privatekey"
            r"|load_verify_locations|load_client_ca|load_\w+_private_key)\("
        )
        root = Path(gateway.__file__).parent
        found = {
            str(file.relative_to(root))
            for file in root.rglob("*.py")
            if loaders.search(file.read_text("utf-8"))
        }
        self.assertEqual(found, {"net/keys.py"})

    def test_a_chain_from_files_has_an_answer_to_the_question(self):
        root = Path(gateway.__file__).parent
        calls = [
            call
            for file in root.rglob("*.py")
            for call in re.findall(
                r"load_cert_chain\(([^)]*)\)", file.read_text("utf-8")
            )
        ]
        self.assertTrue(calls)
        self.assertTrue(all("lambda: password" in call for call in calls), calls)
