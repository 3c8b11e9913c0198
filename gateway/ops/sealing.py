"""Whether certificates and keys in files, or shown by a server, can be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from gateway.config.gateway import CertificateConfig
from gateway.errors import OperatorError
from gateway.net.certificates import (
    CertificateFiles,
    client_context,
    load_certificates,
    server_context,
)
from gateway.ops.findings import Finding, Verdict, good

SOON: Final = timedelta(days=21)
RENEW: Final = "renew it: gotunnel cert gateway HOST --force, or as you got it"
RENEW_AGENT: Final = "renew it: gotunnel cert agent NAME --force, or as you got it"


def files_of(
    config: CertificateConfig, *, allow_readable: bool = False
) -> CertificateFiles:
    """Return the files of a port with TLS.

    Args:
        config: names them.
        allow_readable: accept a private key that other users can read.
    """
    return CertificateFiles(
        cert_file=config.cert_file,
        key_file=config.key_file,
        key_password_file=config.key_password_file,
        ca_file=config.client_ca,
        allow_readable_key=allow_readable,
    )


def judge_files(
    area: str, key: str, files: CertificateFiles, now: datetime, *, server: bool
) -> Iterator[Finding]:
    """Judge a certificate, its key and its issuers, as one end uses them.

    Args:
        area: of the findings.
        key: where they are configured.
        files: the files; those that are None are not looked at.
        now: the time.
        server: whether a server shows them, or a client.
    """
    try:
        if server:
            server_context(files)
        else:
            client_context(files, verify=files.ca_file is not None)
        shown = [] if files.cert_file is None else load_certificates(files.cert_file)
        trusted = [] if files.ca_file is None else load_certificates(files.ca_file)
    except OperatorError as fault:
        yield Finding(area, Verdict.BAD, f"{key}: {fault}", "put it right")
        return
    if shown:
        renew = RENEW if server else RENEW_AGENT
        yield judge_dates(area, f"{key}: the certificate", shown[0], now, renew)
        yield from _judge_issuers(area, key, shown, now)
    for authority in trusted:
        found = judge_dates(
            area,
            f"{key}: the trusted issuer {subject_of(authority)}",
            authority,
            now,
            "take a new one from the issuer, and let both ends trust it",
        )
        if found.verdict is not Verdict.GOOD:
            yield found


def subject_of(certificate: x509.Certificate) -> str:
    """Return a name for people."""
    return certificate.subject.rfc4514_string() or "without a name"


def judge_dates(
    area: str, what: str, certificate: x509.Certificate, now: datetime, renew: str
) -> Finding:
    """Judge whether a certificate is good now, and for how long."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now < last:
        return Finding(
            area,
            Verdict.BAD,
            f"{what} is good from {first:%Y-%m-%d} to {last:%Y-%m-%d} alone",
            f"look at the clock, or {renew}",
            f"the time here is {now:%Y-%m-%d %H:%M} UTC",
        )
    words = f"{what} is good until {last:%Y-%m-%d}, {(last - now).days} days"
    if last - now < SOON:
        return Finding(area, Verdict.MIND, words, renew, f"{SOON.days} days or more")
    return good(area, words)


def _judge_issuers(
    area: str, key: str, shown: Sequence[x509.Certificate], now: datetime
) -> Iterator[Finding]:
    """Judge whether each certificate of a file is signed by the next one."""
    for certificate, issuer in pairwise(shown):
        if not is_issued_by(certificate, issuer):
            yield Finding(
                area,
                Verdict.BAD,
                f"{key}: {subject_of(certificate)} is followed by "
                f"{subject_of(issuer)}, which is not its issuer",
                "put the certificate first, then its issuers in order",
                f"{certificate.issuer.rfc4514_string()} behind it",
            )
        found = judge_dates(
            area, f"{key}: the issuer {subject_of(issuer)}", issuer, now, RENEW
        )
        if found.verdict is not Verdict.GOOD:
            yield found


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether one certificate is signed by the key of another."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
