"""`gotunnel token`: issue a token for the API."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import click
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from gateway.api.tokens import LONGEST_NAME, ROLES, SigningKey, issue
from gateway.cli.exits import FailedError
from gateway.cli.kinds import duration
from gateway.cli.output import json_option, show_json
from gateway.config.fields import long_secret
from gateway.config.files import plain_secret, read_file, read_secret
from gateway.errors import OperatorError
from gateway.net.keys import load_private_key

_VARIABLE: Final = "GOTUNNEL_SECURITY__API__JWT_SECRET"
_FILE_VARIABLE: Final = f"{_VARIABLE}_FILE"


@click.command()
@click.argument("subject")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default=ROLES[0],
    show_default=True,
    help="What the bearer may do: look, or also change.",
)
@click.option(
    "--expires",
    "seconds",
    type=duration,
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How long it is good for, such as 15m, 12h or 30d.",
)
@click.option("--audience", help="The gateway's security.api.jwt_audience.")
@click.option(
    "--secret-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"File that holds security.api.jwt_secret; else {_FILE_VARIABLE} names it, or "
    f"{_VARIABLE} holds the secret.",
)
@click.option(
    "--private-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Private key, PEM, whose public key is security.api.jwt_public_key_file.",
)
@click.option(
    "--key-password-file",
    "password_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that holds the password of the private key, if that is encrypted.",
)
@json_option
def token(
    *,
    subject: str,
    role: str,
    seconds: int,
    audience: str | None,
    secret_file: Path | None,
    private_key_file: Path | None,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Issue a token for the bearer SUBJECT, who calls the API with it.

    Tokens cannot be taken back: give them a short life.
    """
    if secret_file is not None and private_key_file is not None:
        raise click.UsageError("give --secret-file or --private-key-file, not both")
    if len(subject) > LONGEST_NAME or not subject.isprintable():
        raise click.BadParameter(f"SUBJECT has at most {LONGEST_NAME} plain characters")
    key: str | SigningKey
    try:
        if private_key_file is not None:
            key, algorithm = _private_key(private_key_file, password_file)
        else:
            key, algorithm = _secret(secret_file), "HS256"
        made = issue(
            key,
            algorithm,
            subject=subject,
            role=role,
            now=time.time(),
            seconds=seconds,
            audience=audience,
        )
    except OperatorError as fault:
        raise FailedError(str(fault)) from None
    except ValueError as fault:
        raise FailedError(f"no token can be signed: {fault}") from None
    if as_json:
        show_json({"token": made, "algorithm": algorithm, "role": role})
    else:
        click.echo(made)


def _secret(option: Path | None) -> str:
    named = str(option) if option is not None else os.environ.get(_FILE_VARIABLE)
    given = os.environ.get(_VARIABLE, "")
    found = read_secret(named, read_file) if named else plain_secret(given)
    if not found:
        raise click.UsageError(
            "which secret? --secret-file or --private-key-file says it"
        )
    try:
        return long_secret(SecretStr(found)).get_secret_value()
    except ValueError as fault:
        raise FailedError(f"the secret {fault}") from None


def _private_key(file: Path, password_file: Path | None) -> tuple[SigningKey, str]:
    key = load_private_key(
        str(file),
        None if password_file is None else str(password_file),
        remedy="give --key-password-file",
    )
    if isinstance(key, rsa.RSAPrivateKey):
        return key, "RS256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1":
        return key, "ES256"
    raise FailedError(f"{file} is neither an RSA key nor one of curve P-256")
