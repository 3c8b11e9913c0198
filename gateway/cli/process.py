"""`gotunnel server` and `gotunnel agent`: the twistd plugins in the foreground."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from twisted.scripts import twistd

from gateway.cli.exits import FailedError
from gateway.cli.kinds import PORT
from gateway.cli.streams import keep_serving_without_reader

_Command = TypeVar("_Command", bound=Callable[..., Any])

_pidfile_option = click.option(
    "--pidfile",
    type=click.Path(dir_okay=False),
    help="File that holds the process id while it runs; empty = none.  Usually one "
    "of its own in the user's runtime folder.",
)
_config_option = click.option(
    "--config", "-c", type=click.Path(dir_okay=False), help="Configuration file."
)
_check_option = click.option(
    "--check-config", is_flag=True, help="Check the configuration and stop."
)
_debug_option = click.option(
    "--debug", "-debug", is_flag=True, help="Log everything that happens."
)


@click.command()
@_config_option
@click.option("--host", help="Address of the HTTP API.")
@click.option("--port", type=PORT, help="Port of the HTTP API.")
@_check_option
@_debug_option
@_pidfile_option
def server(pidfile: str | None, **options: object) -> None:
    """Run a gateway until Ctrl-C; the same process as `twistd -n gotunnel`."""
    _run("server", "gotunnel", options, pidfile)


def _tls_option(name: str, words: str) -> Callable[[_Command], _Command]:
    """Return an option that names a file of TLS."""
    kind = click.Path(dir_okay=False)
    return click.option(name, type=kind, help=f"{words}  Turns TLS on.")


@click.command(context_settings={"help_option_names": ["--help", "-help"]})
@_config_option
@click.option(
    "--server",
    "-server",
    multiple=True,
    metavar="HOST[:PORT]",
    help="The gateway; if given several times, they are tried in order.",
)
@click.option(
    "--name", help="Name of this agent; that of its key, or `default`, if left out."
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False),
    help="File that holds the agent's key, or the token that all agents share.",
)
@click.option("--tls", is_flag=True, help="Connect by TLS.")
@_tls_option("--ca-file", "Issuers of certificates to trust; the system's if left out.")
@click.option(
    "--fingerprint",
    metavar="HEX",
    help="SHA-256 of the gateway's certificate, in place of an issuer; turns TLS on.",
)
@click.option(
    "--server-name", help="Name that the gateway's certificate is for; turns TLS on."
)
@_tls_option("--cert-file", "Certificate of this agent, then its issuers.")
@_tls_option("--key-file", "Private key of the certificate.")
@_tls_option("--key-password-file", "Password of that key.")
@click.option(
    "--expose",
    multiple=True,
    metavar="[PUBLIC:][HOST:]PORT",
    help="Ask for a public port that leads here, and print its address; any free one "
    "unless PUBLIC says which; may be given several times.",
)
@click.option(
    "--allow-target",
    multiple=True,
    metavar="RULE",
    help="A network, host or HOST:PORT that the gateway may have this agent dial; "
    "loopback if left out; may be given several times.",
)
@_check_option
@_debug_option
@_pidfile_option
def agent(pidfile: str | None, **options: object) -> None:
    """Run an agent until Ctrl-C; the same process as `twistd -n gotunnel-agent`."""
    _run("agent", "gotunnel-agent", options, pidfile)


def _run(
    role: str, plugin: str, options: Mapping[str, object], pidfile: str | None
) -> None:
    """Become the process; comes back when it has ended."""
    if pidfile is None:
        pidfile = str(own_pidfile(role))
    sys.argv = [
        f"gotunnel {role}",
        "--nodaemon",
        f"--pidfile={pidfile}",
        plugin,
        *option_words(options),
    ]
    keep_serving_without_reader()
    twistd.run()


def option_words(options: Mapping[str, object]) -> list[str]:
    """Return the given options as words of a command line."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, Iterable) and not isinstance(value, str):
            words += [f"{option}={item}" for item in value]
        elif value is not None and value is not False:
            words.append(f"{option}={value}")
    return words


def own_pidfile(role: str) -> Path:
    """Return a file name that no other process of this system has.

    Raises:
        FailedError: the folder for it belongs to somebody else.
    """
    pidfile = _runtime_folder() / f"gotunnel-{role}-{os.getpid()}.pid"
    # a process of a dead container may have had this very id; we have it now
    pidfile.unlink(missing_ok=True)
    return pidfile


def _runtime_folder() -> Path:
    """Return a folder that nobody else can write to."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isdir(runtime) and os.access(runtime, os.W_OK):
        return Path(runtime)
    folder = Path(tempfile.gettempdir()) / f"gotunnel-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
    except OSError as fault:
        raise FailedError(
            f"cannot make {folder} for the pidfile: {fault.strerror or fault}\n"
            "Name another place by --pidfile, or none by --pidfile ''."
        ) from None
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077 or folder.is_symlink():
        raise FailedError(
            f"{folder} is not a folder of this user alone; name another place for the "
            "pidfile by --pidfile, or none by --pidfile ''"
        )
    return folder
