"""The twistd command `gotunnel-agent`: options -> configuration -> service."""

from __future__ import annotations

import gateway.ops.early  # noqa: F401 - before what takes time

# isort: split
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, cast

from twisted.application.service import IService
from twisted.python import usage

from gateway.app.agent import build_agent, seals_of
from gateway.app.world import IGatewayReactor
from gateway.config.agent import AgentConfig
from gateway.config.language import language_of
from gateway.config.parse import Loaded, describe, load_agent
from gateway.debug import debugged
from gateway.errors import ConfigError
from gateway.ops.checking import fault_of, unwritable
from gateway.ops.log_settings import agent_log_settings, log_levels
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

_TLS_OPTIONS: Final = (
    "ca-file",
    "fingerprint",
    "server-name",
    "cert-file",
    "key-file",
    "key-password-file",
)


class Options(usage.Options):
    """Options of the agent; each stands above the environment and the file."""

    longdesc = "The agent: connects to a gateway and reaches local services for it."

    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, "Configuration file, YAML or JSON."],
        ["name", None, None, "Name of this agent."],
        ["token-file", None, None, "File that holds the agent's key, or a token."],
        ["ca-file", None, None, "Issuers to trust (tls.ca_file); turns TLS on."],
        ["fingerprint", None, None, "The gateway's (tls.fingerprint); turns TLS on."],
        ["server-name", None, None, "Of the gateway (tls.server_name); turns TLS on."],
        ["cert-file", None, None, "Of this agent (tls.cert_file); turns TLS on."],
        ["key-file", None, None, "Of the certificate (tls.key_file); turns TLS on."],
        ["key-password-file", None, None, "Of that key (tls.key_password_file)."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["tls", None, "Connect by TLS (tls.enabled)."],
        ["check-config", None, "Check the configuration, print it, and exit."],
        ["debug", None, "Log everything (log_level: debug)."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, list[str]] = {}
        self.folder: str | None = None  # that relative names of files start from

    def opt_server(self, value: str) -> None:
        """Gateway to connect to, HOST:PORT; may be given several times."""
        self.lists.setdefault("server", []).append(value)

    def opt_expose(self, value: str) -> None:
        """[PUBLIC:][HOST:]PORT that a public port is to lead to; repeatable."""
        self.lists.setdefault("expose", []).append(value)

    def opt_allow_target(self, value: str) -> None:
        """What the gateway may ask to dial: network, host, host:port; repeatable."""
        self.lists.setdefault("allow_targets", []).append(value)

    def opt_version(self) -> None:
        """Print the version and exit."""
        say_version_and_exit()

    def load(self) -> Loaded[AgentConfig]:
        """Return the configuration.

        Raises:
            ConfigError: with everything that is wrong.
        """
        options: dict[str, object] = {
            "name": self["name"],
            "token_file": self["token-file"],
            "log_level": "debug" if self["debug"] else None,
            **self._tls(),
            **self.lists,
        }
        return load_agent(
            self["config"], environ=os.environ, options=options, folder=self.folder
        )

    def _tls(self) -> dict[str, object]:
        """Return what is said of TLS; naming a file or the gateway turns it on."""
        given = {f"tls.{name.replace('-', '_')}": self[name] for name in _TLS_OPTIONS}
        if self["tls"] or any(value is not None for value in given.values()):
            given["tls.enabled"] = True
        return given

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
            config = self.loaded.config
            problems = [
                *fault_of("tls", lambda: seals_of(config)),
                *unwritable("log.file", config.log.file),
            ]
            if problems:
                say_problems_and_exit(ConfigError(problems))
            say_settings_and_exit(describe(self.loaded), self.loaded.warnings)


def _announce(address: str) -> None:
    """Print for scripts, past twistd, which turns standard output into log lines."""
    out = sys.__stdout__
    if out is not None:
        out.write(f"public address: {address}\n")
        out.flush()


def makeService(
    options: Options, announce: Callable[[str], None] = _announce
) -> IService:
    """Return the service that twistd runs."""
    from twisted.internet import reactor as global_reactor

    reactor = cast("IGatewayReactor", global_reactor)
    config = options.loaded.config
    say_operator_errors_plainly()
    streams, clamped = fitting_limit(
        "limits.streams", config.limits.streams, raise_descriptor_limit()
    )
    log = open_process_log(options.parent or {}, agent_log_settings(config), reactor)

    def reload() -> None:
        log.configure(lambda: log_levels(options.load().config))
        service.reload()

    end = ProcessEnd(reactor, lambda: service.force(), reload, log)
    service = build_agent(
        config,
        reactor,
        language_of(config.language, os.environ),
        lambda: end.fail("no gateway could be reached; see the lines above"),
        announce,
        streams=streams,
    )
    end.watch()
    reactor.callWhenRunning(spare_the_collector)
    reactor.callWhenRunning(say_at_start, [*options.loaded.warnings, *clamped])
    shown = debugged(config.debug, reactor, service, lambda: service.named())
    return LoggedService(shown, log, reactor)
