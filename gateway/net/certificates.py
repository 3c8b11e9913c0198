"""TLS contexts from files, and the judgement of who is at the far end."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509Store
from OpenSSL.crypto import Error as CryptoError
from service_identity import VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.exceptions import CertificateError as UnreadableError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity

from gateway.net.addresses import family_of
from gateway.net.keys import CertificateError, load_private_key, read_pem
from gateway.wire.plain import is_plain

CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; 1.3 has no others
_OPTIONS: Final = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    | SSL.OP_NO_RENEGOTIATION
    # A resumed session skips the check of the peer's certificate, which may have
    # expired. In TLS 1.3 this makes tickets references to the cache, which is off.
    | SSL.OP_NO_TICKET
)
# SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER of OpenSSL's ssl.h, which pyOpenSSL does not name
# and older versions do not set: what is sent again may be a copy of what was begun
MOVING_BUFFER: Final = 2
_KEYS_OF_TLS: Final = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)
# what reading a certificate raises whose extensions no standard knows
_MALFORMED: Final = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_LONGEST_NAMES: Final = 100  # characters of a stranger's names in a sentence
# what X509_verify_cert finds, by the numbers of OpenSSL's x509_vfy.h
_COMPLAINTS: Final = {
    2: "an issuer in the trusted file is itself from an issuer that is not there: add "
    "the root certificate to the file",
    9: "the certificate is not valid yet (or a clock is wrong)",
    10: "the certificate has expired",
    18: "the certificate is self-signed and not trusted",
    19: "a self-signed certificate in its chain is not trusted",
    20: "the certificate is from an issuer that is not trusted",
    21: "the certificate is from an issuer that is not trusted",
    23: "the certificate is revoked",
    24: "an issuer in its chain is no certificate authority",
    26: "the certificate is not made for this purpose",
    66: "the key of the certificate is too weak",
    67: "the key of an issuer in its chain is too weak",
    68: "the certificate is signed with a weak digest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Files of one end; all PEM.

    Attributes:
        cert_file: certificate, then those of its issuers; None = none is shown.
        key_file: its private key; None = it is in `cert_file`.
        key_password_file: the password of an encrypted key; None = it is plain.
        ca_file: certificates of the issuers that the far end's must be from.
        allow_readable_key: do without the check that others cannot read the key.
    """

    cert_file: str | None
    key_file: str | None
    key_password_file: str | None = None
    ca_file: str | None = None
    allow_readable_key: bool = False

    @property
    def files(self) -> list[str]:
        """All files that are read."""
        named = (self.cert_file, self.key_file, self.key_password_file, self.ca_file)
        return [file for file in named if file is not None]


def server_context(files: CertificateFiles) -> SSL.Context:
    """Return what handshakes of a listener begin with.

    With `ca_file`, clients must show a certificate from there.

    Raises:
        CertificateError: says which file, and why.
    """
    context = _new_context(SSL.TLS_SERVER_METHOD)
    _show(context, files)
    if files.ca_file is not None:
        for issuer in _trust(context, files.ca_file):
            context.add_client_ca(issuer)
        _demand(context)
    return context


def client_context(files: CertificateFiles, *, verify: bool) -> SSL.Context:
    """Return what handshakes with a server begin with.

    Without `ca_file` the certificate authorities of this system are trusted.

    Args:
        files: the client's own certificate, if it has one, and whom it trusts.
        verify: whether the server's chain is checked at all.

    Raises:
        CertificateError: says which file, and why.
    """
    context = _new_context(SSL.TLS_CLIENT_METHOD)
    if files.cert_file is not None:
        _show(context, files)
    if verify:
        if files.ca_file is None:
            context.set_default_verify_paths()
        else:
            _trust(context, files.ca_file)
        _demand(context)
    return context


def _new_context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(MOVING_BUFFER)
    context.set_cipher_list(CIPHERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"gotunnel")
    return context


def _show(context: SSL.Context, files: CertificateFiles) -> None:
    cert_file = str(files.cert_file)
    key_file = files.key_file or cert_file
    chain = load_certificates(cert_file)
    key = load_private_key(
        key_file, files.key_password_file, allow_readable=files.allow_readable_key
    )
    try:
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
    except (SSL.Error, CryptoError) as fault:
        raise CertificateError(f"{cert_file}: {_said(fault)}") from None
    if not isinstance(key, _KEYS_OF_TLS):
        raise CertificateError(
            f"{key_file}: no private key for {cert_file}: TLS needs an RSA, EC, "
            "Ed25519 or Ed448 key"
        )
    try:
        context.use_privatekey(key)
        context.check_privatekey()
    except (SSL.Error, CryptoError) as fault:
        raise CertificateError(
            f"{key_file}: no private key for {cert_file}: {_said(fault)}"
        ) from None


def _trust(context: SSL.Context, ca_file: str) -> list[x509.Certificate]:
    """Trust the issuers in a file, and return them."""
    issuers = load_certificates(ca_file)
    store = cast(X509Store, context.get_cert_store())
    try:
        for issuer in issuers:
            store.add_cert(X509.from_cryptography(issuer))
    except CryptoError as fault:
        raise CertificateError(f"{ca_file}: {_said(fault)}") from None
    return issuers


def _demand(context: SSL.Context) -> None:
    context.set_verify(
        SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _note_complaint
    )


def _note_complaint(
    connection: SSL.Connection, certificate: X509, number: int, depth: int, ok: int
) -> bool:
    if not ok and connection.get_app_data() is None:
        words = _COMPLAINTS.get(number, f"the certificate is not good, reason {number}")
        name = _shown_names(certificate) or "one without a name"
        connection.set_app_data(f"{words} ({name})")
    return bool(ok)


def _said(fault: SSL.Error | CryptoError) -> str:
    entries = fault.args[0] if fault.args else []
    return ", ".join(dict.fromkeys(entry[2] for entry in entries)) or "not usable"


def load_certificates(file: str) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, at least one.

    Raises:
        CertificateError: it cannot be read, or holds none.
    """
    return parse_certificates(file, read_pem(file).content)


def parse_certificates(file: str, content: bytes) -> list[x509.Certificate]:
    """Return the certificates that were read from a PEM file, at least one.

    Raises:
        CertificateError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise CertificateError(f"{file}: holds no certificate in PEM form") from None


def names_of(certificate: X509) -> frozenset[str]:
    """Return what a certificate calls its owner.

    That is its DNS names; the common name where it has none (RFC 6125, 6.4.4).
    """
    try:
        found = certificate.to_cryptography()
        names = _alternative_names(found)
        if not names:
            entries = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            names = frozenset(str(entry.value) for entry in entries)
    except _MALFORMED:
        return frozenset()
    return frozenset(filter(is_plain, names))


def _shown_names(certificate: X509) -> str:
    """Return what a certificate calls its owner, for a sentence."""
    return _shortened(", ".join(sorted(names_of(certificate))))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAMES else f"{text[:_LONGEST_NAMES]}..."


def _alternative_names(certificate: x509.Certificate) -> frozenset[str]:
    extension = _alternatives(certificate)
    if extension is None:
        return frozenset()
    return frozenset(extension.get_values_for_type(x509.DNSName))


def _addresses(certificate: x509.Certificate) -> list[str]:
    extension = _alternatives(certificate)
    if extension is None:
        return []
    return [str(one) for one in extension.get_values_for_type(x509.IPAddress)]


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return None


def fingerprint_of(certificate: X509) -> str:
    """Return the SHA-256 of a certificate, 64 hex digits."""
    return certificate.to_cryptography().fingerprint(hashes.SHA256()).hex()


def state_of(files: CertificateFiles) -> tuple[object, ...]:
    """Return what is different when one of the files is."""
    found: list[object] = []
    for file in files.files:
        try:
            seen = os.stat(file)
        except OSError as fault:
            found.append(fault.errno)
        else:
            # the last one tells of another owner or mode
            found.append(
                (seen.st_mtime_ns, seen.st_size, seen.st_ino, seen.st_ctime_ns)
            )
    return tuple(found)


def check_server(
    certificate: X509 | None, name: str, fingerprint: str | None
) -> str | None:
    """Return None if a server is who it should be, else who it is not.

    Args:
        certificate: what it has proved to own.
        name: host name or literal address that was meant.
        fingerprint: SHA-256 of the very certificate, 64 hex digits; None = the name
            decides.
    """
    if certificate is None:
        return "the gateway showed no certificate"
    if fingerprint is not None:
        found = fingerprint_of(certificate)
        if hmac.compare_digest(found, fingerprint):
            return None
        return f"the gateway's certificate has another fingerprint, SHA-256 {found}"
    wanted = DNS_ID(name) if family_of(name) is None else IPAddress_ID(name)
    try:
        patterns = extract_patterns(certificate.to_cryptography())
        verify_service_identity(patterns, obligatory_ids=[wanted], optional_ids=[])
    except (UnreadableError, VerificationError, *_MALFORMED):
        return f"the gateway's certificate is not for {name} ({_holder(certificate)})"
    return None


def _holder(certificate: X509) -> str:
    """Return what names and addresses a server's certificate is for, for a sentence."""
    try:
        found = certificate.to_cryptography()
        names = [*_alternative_names(found), *_addresses(found)]
    except _MALFORMED:
        return "it is for nobody by name"
    shown = ", ".join(sorted(filter(is_plain, names)))
    if shown:
        return f"it is for {_shortened(shown)}"
    common = _shown_names(certificate)
    if not common:
        return "it is for nobody by name"
    return (
        f"it has only the common name {common}, which does not count: issue it with "
        "a subject alternative name"
    )
