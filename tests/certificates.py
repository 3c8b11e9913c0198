"""Certificates for the tests: an authority and what it signs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

DAY = timedelta(days=1)


class Authority:
    """A certificate authority whose files lie in a folder.

    Attributes:
        ca_file: its certificate.
    """

    def __init__(self, folder, name="tests"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(
            self._name, self._key, [], issuer=self._name, authority=True
        )
        self.ca_file = str(self.folder / f"{name}-ca.crt")
        Path(self.ca_file).write_bytes(_pem(self._certificate))

    def issue(self, name, *hosts, starts=-1, ends=30, key=None, **options):
        """Write NAME.crt and NAME.key; return both paths.

        Args:
            name: the common name.
            hosts: names and addresses that the certificate is for.
            starts: days from now at which it becomes valid.
            ends: days from now at which it expires.
            key: its private key; None = one of P-256.
            options: `self_signed`: whether it signs itself; `alternative_names`: the
                extension of that name, in any bytes; `password`: encrypts the key.
        """
        self_signed = options.get("self_signed", False)
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(
            subject,
            key,
            hosts,
            issuer=subject if self_signed else self._name,
            signer=key if self_signed else self._key,
            starts=starts,
            ends=ends,
            alternative_names=options.get("alternative_names"),
        )
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(_pem(certificate))
        pem = private_pem(key, options.get("password"))
        with open(os.open(key_file, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.truncate()
            file.write(pem)
        return str(cert_file), str(key_file)

    def _sign(
        self,
        subject,
        key,
        hosts,
        *,
        issuer,
        signer=None,
        authority=False,
        starts=-1,
        ends=30,
        alternative_names=None,
    ):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts * DAY)
            .not_valid_after(now + ends * DAY)
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]),
                critical=False,
            )
        if alternative_names is not None:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(
                    ExtensionOID.SUBJECT_ALTERNATIVE_NAME, alternative_names
                ),
                critical=False,
            )
        return builder.sign(signer or key, hashes.SHA256())


def private_pem(key, password=None, form=serialization.PrivateFormat.PKCS8):
    """Return a private key as PEM, encrypted if there is a password."""
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


def rsa_key():
    """Return a private RSA key of 2048 bits."""
    return rsa.generate_private_key(65537, 2048)


def _general_name(host):
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)
