"""The options by which every command of the API finds and convinces its gateway."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec
from urllib.parse import urlsplit

import click
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.cli.client import ApiClient
from gateway.cli.exits import FailedError, failing_plainly
from gateway.cli.kinds import Seconds
from gateway.config.files import plain_secret
from gateway.config.language import language_of
from gateway.net.certificates import load_certificates
from gateway.net.keys import load_private_key, read_password

USUAL_URL: Final = "http://127.0.0.1:8080"
_TLS_FILES: Final = ("ca_file", "cert_file", "cert_key_file", "cert_key_password_file")
USUAL_TIMEOUT_SECONDS: Final = 15.0  # longer than the gateway's own limit

Parameters = ParamSpec("Parameters")


def asks_api(
    command: Callable[Concatenate[ApiClient, Parameters], None],
) -> Callable[Parameters, None]:
    """Give a command the options of the connection, and the client they lead to."""

    @click.option(
        "--url",
        envvar="GOTUNNEL_URL",
        default=USUAL_URL,
        show_default=True,
        show_envvar=True,
        help="Address of the gateway's API.",
        callback=_checked_url,
    )
    @click.option(
        "--api-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File that holds the API key; else GOTUNNEL_API_KEY holds the key, or "
        "GOTUNNEL_API_KEY_FILE names the file.",
    )
    @click.option(
        "--api-token-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File that holds a token; else GOTUNNEL_API_TOKEN holds the token, or "
        "GOTUNNEL_API_TOKEN_FILE names the file.",
    )
    @click.option(
        "--ca-file",
        envvar="GOTUNNEL_API_CA_FILE",
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help="Issuers that the gateway's certificate must be from; else those of this "
        "system.",
    )
    @click.option(
        "--cert-file",
        envvar="GOTUNNEL_API_CERT_FILE",
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help="Certificate to show, if the gateway asks for one; the key may be in it.",
    )
    @click.option(
        "--cert-key-file",
        envvar="GOTUNNEL_API_CERT_KEY_FILE",
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help="Private key of the certificate.",
    )
    @click.option(
        "--cert-key-password-file",
        envvar="GOTUNNEL_API_CERT_KEY_PASSWORD_FILE",
        show_envvar=True,
        type=click.Path(dir_okay=False),
        help="File that holds the password of the private key, if that is encrypted.",
    )
    @click.option(
        "--timeout",
        type=Seconds(0.1),
        default=USUAL_TIMEOUT_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for an answer.",
    )
    @functools.wraps(command)
    def connected(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        options: dict[str, object] = kwargs
        client = ApiClient(
            str(options.pop("url")),
            tls=_tls(*(_name(options.pop(option)) for option in _TLS_FILES)),
            api_key=_credential(options.pop("api_key_file"), "GOTUNNEL_API_KEY"),
            token=_credential(options.pop("api_token_file"), "GOTUNNEL_API_TOKEN"),
            timeout_seconds=float(str(options.pop("timeout"))),
            language=language_of(None, os.environ),
        )
        command(client, *args, **kwargs)

    return connected


def _checked_url(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> str:
    if not _is_plain_url(value):
        raise click.BadParameter(
            f"{value!r} is not an address such as {USUAL_URL} (http or https)"
        )
    return value.rstrip("/")


def _is_plain_url(text: str) -> bool:
    """Tell whether a path of the API can be put behind `text`."""
    try:
        parts = urlsplit(text)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return (
        has_place
        and parts.scheme in ("http", "https")
        and parts.username is None
        and not parts.query
        and not parts.fragment
        and text.isascii()
        and not any(letter <= " " for letter in text)
    )


def _name(option: object) -> str | None:
    return None if option is None else str(option)


def _tls(
    ca_file: str | None,
    cert_file: str | None,
    key_file: str | None,
    password_file: str | None,
) -> ssl.SSLContext:
    """Return how the gateway is told apart from others, and who we are there."""
    with failing_plainly():
        context = _trusting(ca_file)
        if cert_file is not None:
            _show(context, cert_file, key_file or cert_file, password_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    issuers = [one.public_bytes(Encoding.DER) for one in load_certificates(ca_file)]
    return ssl.create_default_context(cadata=b"".join(issuers))


def _show(
    context: ssl.SSLContext, cert_file: str, key_file: str, password_file: str | None
) -> None:
    load_certificates(cert_file)
    # without a callback OpenSSL would ask on the terminal
    password = b"" if password_file is None else read_password(password_file)
    load_private_key(
        key_file,
        password_file,
        allow_readable=True,
        remedy="give --cert-key-password-file",
    )
    try:
        context.load_cert_chain(cert_file, key_file, lambda: password)
    except OSError as fault:  # SSLError is one
        raise FailedError(
            f"cannot use {cert_file} with {key_file}: {fault.strerror or fault}"
        ) from None


def _credential(option: object, variable: str) -> str | None:
    """Return a key or token from the nearest place that has one."""
    named = option if isinstance(option, Path) else None
    if named is None:
        if found := os.environ.get(variable):
            return _usable(found, variable)
        if name := os.environ.get(f"{variable}_FILE"):
            named = Path(name)
    if named is None:
        return None
    try:
        return _usable(named.read_text("utf-8"), str(named))
    except OSError as fault:
        raise FailedError(f"cannot read {named}: {fault.strerror or fault}") from None
    except UnicodeDecodeError:
        raise FailedError(f"what {named} holds is not UTF-8 text") from None


def _usable(found: str, origin: str) -> str:
    found = plain_secret(found)
    if not found or not found.isprintable():
        raise FailedError(
            f"{origin} holds no API key or token: one line of text is expected"
        )
    return found
