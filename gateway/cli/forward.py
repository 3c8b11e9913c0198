"""`gotunnel forward` and `gotunnel proxy`: forwarders without gateway or database."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogBeginner

from gateway.cli.exits import FailedError, failing_plainly
from gateway.cli.forwarder import Forwarder
from gateway.cli.kinds import Seconds, dialled_place, listening_place
from gateway.cli.streams import end_with_output
from gateway.config.parse import load_gateway
from gateway.config.places import HostPort
from gateway.net.local import is_local
from gateway.net.network import INetworkReactor, Network
from gateway.ops.logs import LineObserver
from gateway.ops.process import IProcessReactor, ProcessEnd, raise_descriptor_limit
from gateway.policy.access import OwnPorts, TargetRules
from gateway.relay.dial import Dialer, OwnPortCheck

USUAL_DIAL_SECONDS = 5.0
_LATER_PROTOCOLS = ("http", "http2", "http3", "https", "quic", "udp", "unix")


class IForwardReactor(INetworkReactor, IProcessReactor):
    """What a forwarding process needs of the reactor."""


class Way(NamedTuple):
    """Where to listen, and what visitors are taken to."""

    place: HostPort
    target: HostPort


_dial_option = click.option(
    "--dial-timeout",
    type=Seconds(0.1),
    default=USUAL_DIAL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long looking the target up and connecting to it may take.",
)


@click.command()
@click.option(
    "--listen",
    type=listening_place,
    required=True,
    metavar="[ADDRESS]:PORT",
    help="Where visitors connect to; port 0 takes any and prints it.",
)
@click.option(
    "--target",
    type=dialled_place,
    required=True,
    metavar="HOST:PORT",
    help="What they are taken to.",
)
@_dial_option
@click.pass_obj
def forward(
    reactor: IForwardReactor, listen: HostPort, target: HostPort, dial_timeout: float
) -> None:
    """Forward a TCP port to a target until Ctrl-C; no database, no agent."""
    _serve(reactor, [Way(listen, target)], TargetRules.parse(None), dial_timeout)


def _later(
    _context: click.Context, parameter: click.Parameter, value: str | bool | None
) -> None:
    if value:
        raise click.BadParameter(f"{parameter.opts[0]} is not available yet")


def _known_protocol(
    _context: click.Context, _parameter: click.Parameter, value: str
) -> str:
    if value in _LATER_PROTOCOLS:
        raise click.BadParameter(f"protocol {value} is not available yet; take tcp")
    if value != "tcp":
        raise click.BadParameter(f"{value!r} is no protocol; take tcp")
    return value


@click.command(context_settings={"help_option_names": ["--help", "-help"]})
@click.option(
    "--protocol",
    "-protocol",
    default="tcp",
    show_default=True,
    callback=_known_protocol,
    expose_value=False,
    help="Protocol of the port.",
)
@click.option(
    "--listen",
    "-listen",
    type=listening_place,
    metavar="[ADDRESS]:PORT",
    help="Where visitors connect to.  [default: :8080]",
)
@click.option(
    "--target",
    "-target",
    type=dialled_place,
    metavar="HOST:PORT",
    help="What they are taken to.",
)
@click.option(
    "--config",
    "-config",
    "-c",
    type=click.Path(dir_okay=False),
    help="File whose `protocols` are forwarded, instead of --listen and --target.",
)
@click.option(
    "--cert", "-cert", callback=_later, expose_value=False, help="Not available yet."
)
@click.option(
    "--key", "-key", callback=_later, expose_value=False, help="Not available yet."
)
@click.option(
    "--auto-tls",
    "-auto-tls",
    is_flag=True,
    callback=_later,
    expose_value=False,
    help="Not available yet.",
)
@_dial_option
@click.pass_obj
def proxy(
    reactor: IForwardReactor,
    listen: HostPort | None,
    target: HostPort | None,
    config: str | None,
    dial_timeout: float,
) -> None:
    """Forward TCP ports until Ctrl-C, with options of one or two hyphens."""
    if config is not None:
        if listen is not None or target is not None:
            raise click.UsageError("give --config, or --listen and --target, not both")
        _serve(reactor, *_configured(config), dial_timeout)
    elif target is None:
        raise click.UsageError("Missing option '--target' (or '--config').")
    else:
        way = Way(listen or HostPort("", 8080), target)
        _serve(reactor, [way], TargetRules.parse(None), dial_timeout)


def _configured(config: str) -> tuple[list[Way], TargetRules]:
    """Return what a configuration file wants forwarded, and where it may lead."""
    # nothing but the forwards runs here, so the ports of the rest are not taken
    options = {"tunnel.enabled": False, "api.listen_port": 1}
    with failing_plainly():
        loaded = load_gateway(config, environ=os.environ, options=options)
    ways = [Way(entry.listen, entry.target) for entry in loaded.config.forwards]
    if not ways:
        raise FailedError(f"{config} has no entry under `protocols` that is enabled")
    return ways, TargetRules.parse(loaded.config.direct.allow_targets)


def _serve(
    reactor: IForwardReactor,
    ways: Sequence[Way],
    rules: TargetRules,
    dial_seconds: float,
) -> None:
    """Forward until a signal comes; a second one ends every connection at once."""
    raise_descriptor_limit()
    globalLogBeginner.beginLoggingTo(
        [LineObserver(sys.stderr, "info")], redirectStandardIO=False
    )
    network = Network(reactor)
    dialer = Dialer(
        network,
        reactor,
        rules,
        own_ports=_own_ports(ways),
        timeout_seconds=dial_seconds,
    )
    forwarders: list[Forwarder] = []
    lines: list[str] = []
    for way in ways:
        forwarder = Forwarder(reactor, dialer, *way)
        try:
            place = forwarder.start(network)
        except OSError as fault:
            detail = fault.strerror or fault
            raise FailedError(f"cannot listen on {way.place}: {detail}") from None
        lines.append(f"forwarding {place} to {way.target}")
        forwarders.append(forwarder)

    def stop() -> Deferred[list[None]]:
        return gatherResults([forwarder.stop() for forwarder in forwarders])

    def abort() -> None:
        for forwarder in forwarders:
            forwarder.abort()

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    ProcessEnd(reactor, abort).watch()
    # whoever reads the lines may send a signal at once
    reactor.callWhenRunning(click.echo, "\n".join(lines))
    reactor.callWhenRunning(end_with_output)
    reactor.run()


def _own_ports(ways: Sequence[Way]) -> OwnPortCheck:
    """Return the check that keeps a forward from leading to itself, without end."""
    own = OwnPorts([way.place for way in ways])
    return lambda address, port: own.check(
        address, port, lambda: [address] if is_local(address) else []
    )
