"""The twistd command `gotunnel`: options -> configuration -> service."""

from __future__ import annotations

import gateway.ops.early  # noqa: F401 - before what takes time

# isort: split
import encodings.idna  # noqa: F401 - later, --uid may have taken the right to read it
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from twisted.application.service import IService
from twisted.python import usage

from gateway.app.api import token_judge
from gateway.app.gateway import build_gateway
from gateway.app.world import IGatewayReactor
from gateway.config.gateway import GatewayConfig
from gateway.config.language import language_of
from gateway.config.parse import Loaded, describe, load_gateway
from gateway.config.rules import open_warning
from gateway.debug import debugged
from gateway.errors import ConfigError
from gateway.ops.checking import fault_of, gateway_problems
from gateway.ops.log_settings import gateway_log_settings
from gateway.ops.pidfile import remove_stale_pidfile
from gateway.ops.process import (
    LoggedService,
    ProcessEnd,
    fitting_limit,
    raise_descriptor_limit,
    say_operator_errors_plainly,
    spare_the_collector,
)
from gateway.ops.process_log import open_process_log
from gateway.ops.starting import (
    say_at_start,
    say_problems_and_exit,
    say_settings_and_exit,
    say_version_and_exit,
    starting_folder,
)


class Options(usage.Options):
    """Options of the gateway; each stands above the environment and the file."""

    longdesc = "The gateway: public ports for services behind agents."

    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, "Configuration file, YAML or JSON."],
        ["host", None, None, "Address of the HTTP API (api.bind)."],
        ["port", None, None, "Port of the HTTP API (api.listen_port)."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["check-config", None, "Check the configuration, print it, and exit."],
        ["debug", None, "Log everything (log_level: debug)."],
    ]

    folder: str | None = None  # that relative names of files start from

    def opt_version(self) -> None:
        """Print the version and exit."""
        say_version_and_exit()

    def load(self) -> Loaded[GatewayConfig]:
        """Return the configuration.

        Raises:
            ConfigError: with everything that is wrong.
        """
        options = {
            "api.bind": self["host"],
            "api.listen_port": self["port"],
            "log_level": "debug" if self["debug"] else None,
        }
        return load_gateway(
            self["config"], environ=os.environ, options=options, folder=self.folder
        )

    def postOptions(self) -> None:
        """Load the configuration; say everything that is wrong with it at once."""
        twistd: Mapping[str, Any] = self.parent or {}
        self.folder = starting_folder(twistd)
        remove_stale_pidfile(twistd.get("pidfile") or "")
        try:
            self.loaded = self.load()
        except ConfigError as fault:
            say_problems_and_exit(fault)
        if self["check-config"]:
            config, clock = self.loaded.config, time.time
            problems = [
                *gateway_problems(config),
                *fault_of("tokens", lambda: token_judge(config.security.api, clock)),
            ]
            if problems:
                say_problems_and_exit(ConfigError(problems))
            say_settings_and_exit(describe(self.loaded), self.loaded.warnings)


def makeService(options: Options) -> IService:
    """Return the service that twistd runs."""
    from twisted.internet import reactor as global_reactor

    reactor = cast("IGatewayReactor", global_reactor)
    config = options.loaded.config
    say_operator_errors_plainly()
    connections, clamped = fitting_limit(
        "limits.connections", config.limits.connections, raise_descriptor_limit()
    )
    log = open_process_log(options.parent or {}, gateway_log_settings(config), reactor)

    end = ProcessEnd(reactor, lambda: service.force(), lambda: service.reload(), log)
    service = build_gateway(
        config,
        reactor,
        language_of(config.language, os.environ),
        end.fail,
        connections=connections,
        log=log,
        load=options.load,
    )
    end.watch()
    reactor.callWhenRunning(spare_the_collector)
    # whether agents have keys is known when the store is open
    early = [one for one in options.loaded.warnings if one != open_warning(config)]
    reactor.callWhenRunning(say_at_start, [*early, *clamped])
    shown = debugged(
        config.debug, reactor, service, lambda: service.parts.links.named()
    )
    return LoggedService(shown, log, reactor)
