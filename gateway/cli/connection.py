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

from gateway.cli.client import ApiClient
from gateway.cli.exits import FailedError
from gateway.cli.kinds import Seconds
from gateway.config.language import language_of

USUAL_URL: Final = "http://127.0.0.1:8080"
_TLS_FILES: Final = ("ca", "cert", "cert_key")
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
            tls=_tls(*(options.pop(f"{name}_file") for name in _TLS_FILES)),
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


def _tls(ca_file: object, cert_file: object, key_file: object) -> ssl.SSLContext:
    """Return how the gateway is told apart from others, and who we are there."""
    try:
        context = ssl.create_default_context(
            cafile=None if ca_file is None else str(ca_file)
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert_file is not None:
            context.load_cert_chain(
                str(cert_file), None if key_file is None else str(key_file)
            )
    except OSError as fault:  # SSLError is one
        named = [str(one) for one in (ca_file, cert_file, key_file) if one is not None]
        raise FailedError(
            f"cannot use {', '.join(named)}: {fault.strerror or fault}"
        ) from None
    return context


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
    found = found.strip()
    if not found or not found.isprintable():
        raise FailedError(
            f"{origin} holds no API key or token: one line of text is expected"
        )
    return found
