"""Private keys from files, without a question on the terminal.

OpenSSL's own loaders ask for the password of an encrypted key on the terminal, which
stops the whole process.  Every key is loaded here instead.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.config.files import LARGEST_FILE, FileContent, read_at_once, read_secret
from gateway.errors import ConfigError, OperatorError

PrivateKey: TypeAlias = PrivateKeyTypes

CONFIGURED: Final = "set key_password_file"
_OTHERS_MAY_READ: Final = 0o007


class CertificateError(OperatorError):
    """A certificate, its key or its issuers cannot be used."""


def load_private_key(
    file: str,
    password_file: str | None = None,
    *,
    allow_readable: bool = False,
    remedy: str = CONFIGURED,
) -> PrivateKey:
    """Return the private key in a PEM file, decrypted if need be.

    Args:
        file: may also hold certificates.
        password_file: holds the password in one line; ignored for a plain key.
        allow_readable: accept files that other users of this machine can read.
        remedy: advice to whoever gave an encrypted key and no password.

    Raises:
        CertificateError: says which file, and why; never the password.
    """
    content, mode, _ = read_pem(file)
    if mode & _OTHERS_MAY_READ and not allow_readable:
        raise CertificateError(
            f"{file}: every user of this machine may use this private key "
            f"(mode {mode:04o}); chmod 0600 it"
        )
    try:
        return load_pem_private_key(content, None)
    except TypeError:
        pass  # it is encrypted
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(
            f"{file}: holds no private key in PEM form that can be used"
        ) from None
    if password_file is None:
        raise CertificateError(f"{file} is encrypted: decrypt it, or {remedy}")
    password = read_password(password_file, allow_readable=allow_readable)
    try:
        return load_pem_private_key(content, password)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise CertificateError(
            f"{file}: cannot be decrypted with the password in {password_file}"
        ) from None


def read_password(file: str, *, allow_readable: bool = False) -> bytes:
    """Return the password in a file.

    Args:
        file: holds it in one line.
        allow_readable: accept a file that other users of this machine can read.

    Raises:
        CertificateError: it cannot be read, or other users can read it.
    """
    try:
        return read_secret(file, read_at_once, allow_exposed=allow_readable).encode()
    except ConfigError as fault:
        raise CertificateError(f"password of a private key: {fault}") from None


def read_pem(file: str) -> FileContent:
    """Read a file of certificates or keys, never waiting for it.

    Raises:
        CertificateError: it cannot be read, is no regular file, or is too long.
    """
    try:
        found = read_at_once(file)
    except OSError as fault:
        raise CertificateError(f"{file}: {fault.strerror or fault}") from None
    if len(found.content) > LARGEST_FILE:
        raise CertificateError(
            f"{file}: is longer than {LARGEST_FILE} bytes, which is the limit"
        )
    return found
