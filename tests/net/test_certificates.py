"""What is said of certificates that do not fit."""

import contextlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.trial.unittest import SynchronousTestCase

from gateway.net.certificates import (
    CertificateFiles,
    check_server,
    client_context,
    load_certificates,
)
from tests.certificates import Authority


class MisfitTests(SynchronousTestCase):
    """Whom a certificate is for."""

    def objection(self, name, *hosts, meant):
        authority = Authority(self.mktemp())
        file, _ = authority.issue(name, *hosts)
        shown = X509.from_cryptography(load_certificates(file)[0])
        return check_server(shown, meant, None)

    def test_a_common_name_does_not_count(self):
        words = self.objection("localhost", meant="localhost")
        self.assertNotIn("it is for localhost", words)
        self.assertIn("only the common name localhost, which does not count", words)

    def test_addresses_are_named(self):
        words = self.objection("gw", "192.0.2.1", meant="gw.test")
        self.assertIn("not for gw.test (it is for 192.0.2.1)", words)

    def test_names_and_addresses(self):
        words = self.objection("gw", "gw.test", "192.0.2.1", meant="other.test")
        self.assertIn("(it is for 192.0.2.1, gw.test)", words)


class IntermediateTests(SynchronousTestCase):
    """Issuers without their root."""

    def test_an_intermediate_alone_is_named_as_such(self):
        folder = self.mktemp()
        authority = Authority(folder)
        middle = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "middle")])
        signed = authority._sign(
            name,
            middle,
            [],
            issuer=authority._name,
            signer=authority._key,
            authority=True,
        )
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = authority._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw")]),
            leaf_key,
            ["gw.test"],
            issuer=name,
            signer=middle,
        )
        ca_file = f"{folder}/middle.crt"
        with open(ca_file, "wb") as file:
            file.write(signed.public_bytes(Encoding.PEM))
        server = SSL.Context(SSL.TLS_METHOD)
        server.use_certificate(leaf)
        server.use_privatekey(leaf_key)
        files = CertificateFiles(cert_file=None, key_file=None, ca_file=ca_file)
        near = SSL.Connection(client_context(files, verify=True), None)
        far = SSL.Connection(server, None)
        near.set_connect_state()
        far.set_accept_state()
        self.assertRaises(SSL.Error, self.shake_hands, near, far)
        self.assertIn("add the root certificate to the file", near.get_app_data())

    def shake_hands(self, near, far):
        for _ in range(10):
            for one, other in ((near, far), (far, near)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(1 << 16))
