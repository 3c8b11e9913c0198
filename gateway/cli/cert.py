"""`gotunnel cert`: certificates for a private set-up of gateway and agents."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from gateway.cli.exits import FailedError, failing_plainly
from gateway.cli.output import json_option, printable, show_json
from gateway.net.certificates import parse_certificates
from gateway.ops.issuing import (
    Files,
    issue_agent,
    issue_gateway,
    load_authority,
    make_authority,
)
from gateway.policy.addresses import check_host
from gateway.wire.hello import NAME_PATTERN

_FOLDER: Final = "certs"
USUAL_DAYS: Final = 825

_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=_FOLDER,
    show_default=True,
    help="Folder of the authority and of what it signs.",
)
_days = click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=USUAL_DAYS,
    show_default=True,
    help="How long the certificate is good for.",
)
_password = click.option(
    "--key-password-file",
    "password_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that holds the password of ca.key, if that is encrypted.",
)
_force = click.option("--force", is_flag=True, help="Replace what is there.")


@click.group()
def cert() -> None:
    """Make and show certificates for links over TLS.

    `ca` comes first and stays on the gateway's machine, or better off the net;
    `gateway` and `agent` make what the two processes show each other.
    """


@cert.command()
@_folder
@_force
@json_option
def ca(*, folder: Path, force: bool, as_json: bool) -> None:
    """Make a private certificate authority."""
    with failing_plainly():
        files = make_authority(folder, _now(), replace=force)
    _say_made(
        files,
        "Keep the key secret: whoever has it can be any gateway and any agent.",
        as_json=as_json,
    )


@cert.command()
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@_folder
@_days
@_password
@_force
@json_option
def gateway(
    *,
    hosts: tuple[str, ...],
    folder: Path,
    days: int,
    password_file: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make the gateway's certificate.

    HOST are the names and addresses that agents connect to.
    """
    names = [_checked(host) for host in hosts]
    with failing_plainly():
        authority = load_authority(folder, password_file)
        files = issue_gateway(
            authority,
            folder,
            names,
            _now(),
            days=days,
            replace=force,
        )
    _say_made(
        files,
        "In the gateway's configuration:\n"
        "security:\n"
        "  tunnel:\n"
        "    enable_tls: true\n"
        f"    cert_file: {files.cert.resolve()}\n"
        f"    key_file: {files.key.resolve()}\n"
        f"    client_ca: {(folder / 'ca.crt').resolve()}",
        as_json=as_json,
    )


def _checked(host: str) -> str:
    try:
        return check_host(host)
    except ValueError as fault:
        raise click.BadParameter(f"{printable(host)}: {fault}") from None


@cert.command()
@click.argument("name")
@_folder
@_days
@_password
@_force
@json_option
def agent(
    *,
    name: str,
    folder: Path,
    days: int,
    password_file: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make the certificate of the agent NAME."""
    if not NAME_PATTERN.fullmatch(name):
        raise click.BadParameter(
            f"{printable(name)!r} is not a name of 1 to 64 letters, digits, dots, "
            "underscores and hyphens"
        )
    with failing_plainly():
        authority = load_authority(folder, password_file)
        files = issue_agent(authority, folder, name, _now(), days=days, replace=force)
    _say_made(
        files,
        f"Take both and {folder / 'ca.crt'} to the agent's machine.  In its "
        "configuration:\n"
        f"name: {name}\n"
        "tls:\n"
        "  enabled: true\n"
        "  ca_file: ca.crt\n"
        f"  cert_file: {files.cert.name}\n"
        f"  key_file: {files.key.name}",
        as_json=as_json,
    )


@cert.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def show(*, file: Path, as_json: bool) -> None:
    """Show what a certificate says, and its fingerprint."""
    try:
        content = file.read_bytes()  # may be a pipe
    except OSError as fault:
        raise FailedError(f"{file}: {fault.strerror or fault}") from None
    with failing_plainly():
        found = parse_certificates(str(file), content)
    try:
        rows = [_described(certificate) for certificate in found]
    except ValueError as fault:
        raise FailedError(f"{file}: malformed: {printable(str(fault))}") from None
    if as_json:
        show_json(rows)
        return
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for key, value in row.items():
            text = ", ".join(value) if isinstance(value, list) else value
            click.echo(f"{key}: {printable(text)}")


def _described(certificate: x509.Certificate) -> dict[str, str | list[str]]:
    return {
        "subject": _common_name(certificate.subject),
        "names": _names(certificate),
        "issuer": _common_name(certificate.issuer),
        "valid_from": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "valid_to": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(":"),
    }


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]


def _say_made(files: Files, advice: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"cert_file": str(files.cert), "key_file": str(files.key)})
        return
    click.echo(f"{files.cert}: the certificate")
    click.echo(f"{files.key}: its private key")
    click.echo(advice)


def _now() -> datetime:
    return datetime.now(UTC)
