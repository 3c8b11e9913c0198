"""A small certificate authority for a private set-up: gateway and agents."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import OperatorError
from gateway.net.certificates import load_certificates
from gateway.net.keys import load_private_key

CA_DAYS: Final = 3650
_BACK_DATED: Final = timedelta(hours=1)  # clocks differ
_LONGEST_NAME: Final = 64  # of a common name, RFC 5280 appendix A.1
Key = ec.EllipticCurvePrivateKey


class IssueError(OperatorError):
    """A certificate cannot be made or written."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a certificate and its key lie.

    Attributes:
        cert: the certificate, PEM, for everybody.
        key: its private key, PEM, for its owner alone.
    """

    cert: Path
    key: Path

    @classmethod
    def at(cls, folder: Path, name: str) -> Files:
        """Return the files of that name in a folder."""
        return cls(folder / f"{name}.crt", folder / f"{name}.key")


@dataclass(frozen=True, slots=True)
class Authority:
    """Whose signature is trusted.

    Attributes:
        certificate: what others trust it by.
        key: what it signs with.
    """

    certificate: x509.Certificate
    key: Key


def make_authority(folder: Path, now: datetime, *, replace: bool) -> Files:
    """Make an authority in a folder, which is made if need be.

    Raises:
        IssueError: there is one already, or it cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("gotunnel private authority")
    certificate = (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise IssueError(f"{folder}: {fault.strerror or fault}") from None
    files = Files.at(folder, "ca")
    _write(files, certificate, key, replace=replace)
    return files


def load_authority(folder: Path, password_file: Path | None = None) -> Authority:
    """Return the authority in a folder.

    Args:
        folder: where it is.
        password_file: holds the password of its key; None = the key is plain.

    Raises:
        IssueError: there is none, or it cannot be read.
        CertificateError: a file cannot be used.
    """
    files = Files.at(folder, "ca")
    if not files.key.exists():
        raise IssueError(
            f"{files.key}: {os.strerror(errno.ENOENT)}; `gotunnel cert ca` makes one"
        )
    [certificate, *_] = load_certificates(str(files.cert))
    key = load_private_key(
        str(files.key),
        None if password_file is None else str(password_file),
        remedy="give --key-password-file",
    )
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IssueError(f"{files.key}: not a key of an elliptic curve")
    return Authority(certificate, key)


def issue_gateway(
    authority: Authority,
    folder: Path,
    hosts: Sequence[str],
    now: datetime,
    *,
    days: int,
    replace: bool,
) -> Files:
    """Make a certificate for a gateway, known by names and addresses.

    Raises:
        IssueError: it would outlive the authority, or cannot be written.
    """
    names = [_general_name(host) for host in hosts]
    return _issue(
        authority,
        folder,
        "gateway",
        hosts[0],
        names,
        ExtendedKeyUsageOID.SERVER_AUTH,
        now,
        days=days,
        replace=replace,
    )


def issue_agent(
    authority: Authority,
    folder: Path,
    name: str,
    now: datetime,
    *,
    days: int,
    replace: bool,
) -> Files:
    """Make a certificate for an agent, known by its name.

    Raises:
        IssueError: it would outlive the authority, or cannot be written.
    """
    return _issue(
        authority,
        folder,
        f"agent-{name}",
        name,
        [x509.DNSName(name)],
        ExtendedKeyUsageOID.CLIENT_AUTH,
        now,
        days=days,
        replace=replace,
    )


def _issue(
    authority: Authority,
    folder: Path,
    file_name: str,
    name: str,
    names: Sequence[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    now: datetime,
    *,
    days: int,
    replace: bool,
) -> Files:
    issuer = authority.certificate
    key = ec.generate_private_key(ec.SECP256R1())
    last = issuer.not_valid_after_utc
    if now + timedelta(days=days) > last:
        raise IssueError(
            f"{days} days from now the authority in {folder} has expired "
            f"({last:%Y-%m-%d}); ask for fewer, or make a new authority"
        )
    certificate = (
        _builder(_name(name[:_LONGEST_NAME]), issuer.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                authority.key.public_key()
            ),
            critical=False,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    files = Files.at(folder, file_name)
    _write(files, certificate, key, replace=replace)
    return files


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - _BACK_DATED)
        .not_valid_after(now.astimezone(UTC) + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(
    files: Files, certificate: x509.Certificate, key: Key, *, replace: bool
) -> None:
    """Write the key, then the certificate, each of them whole or not at all."""
    taken = [str(file) for file in (files.cert, files.key) if file.exists()]
    if taken and not replace:
        raise IssueError(
            f"{', '.join(taken)}: there already; --force replaces what is there"
        )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _put(files.key, pem, 0o600)
    _put(files.cert, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _put(path: Path, content: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, stat.S_IMODE(mode))
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as fault:
        raise IssueError(f"{path}: {fault.strerror or fault}") from None
