"""The `gotunnel` command."""

from __future__ import annotations

import gateway.cli.early  # noqa: F401 - before what takes time

# isort: split
import click
from twisted.internet import reactor

from gateway import __version__
from gateway.cli.agent_key import agent_key
from gateway.cli.archive import backup, restore
from gateway.cli.ban import audit, ban
from gateway.cli.bench import bench
from gateway.cli.cert import cert
from gateway.cli.check import check, firewall
from gateway.cli.demo import demo
from gateway.cli.doctor import doctor
from gateway.cli.events import events
from gateway.cli.forward import forward, proxy
from gateway.cli.hyphens import check_hyphens
from gateway.cli.logs import logs
from gateway.cli.map import mappings
from gateway.cli.process import agent, server
from gateway.cli.status import status
from gateway.cli.streams import prepare_streams
from gateway.cli.token import token
from gateway.cli.top import top

_EXIT_CODES = """\b
Exit codes:
  0  done
  1  refused by the gateway, by the system or by you; or unhealthy
  2  wrong usage
  3  the gateway cannot be reached
  4  there is a difference (map apply --dry-run)"""


class _Commands(click.Group):
    """All commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        check_hyphens(self, args)
        return super().parse_args(ctx, args)


@click.group(cls=_Commands, epilog=_EXIT_CODES)
def gotunnel() -> None:
    """Public ports for services behind NAT."""


gotunnel.add_command(mappings, "map")
for _command in (
    status,
    top,
    server,
    agent,
    forward,
    proxy,
    agent_key,
    ban,
    audit,
    events,
    logs,
    cert,
    token,
    check,
    doctor,
    firewall,
    backup,
    restore,
    demo,
    bench,
):
    gotunnel.add_command(_command)


def _add_version(command: click.Command, *spellings: str) -> None:
    """Let a command and those below it tell the version."""
    option = click.version_option(
        __version__, *spellings, prog_name="gotunnel", message="%(prog)s %(version)s"
    )
    option(command)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            one_hyphen = ["-version"] if below is proxy else []
            _add_version(below, "--version", *one_hyphen)


_add_version(gotunnel, "--version")


def main() -> None:
    """Run the command of this process's command line."""
    prepare_streams()
    gotunnel(prog_name="gotunnel", obj=reactor)
