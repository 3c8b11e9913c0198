"""Read the configuration again, and apply what may change while the process runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from twisted.logger import Logger

from gateway.config.gateway import GatewayConfig
from gateway.config.parse import Loaded
from gateway.config.rules import gateway_conflicts
from gateway.config.secrets import secrets_of
from gateway.config.shape import Leaf, leaves, with_values
from gateway.errors import CallerError, ConfigError, OperatorError, ReloadFailedError
from gateway.ops.events import Emit, unheard

Load = Callable[[], Loaded[GatewayConfig]]
_LEAVES: Final = leaves(GatewayConfig)


class Part(NamedTuple):
    """Something that can take other settings while it runs.

    Attributes:
        keys: the settings it takes, each a key or a whole block ("security.api.").
        prepare: judges a configuration and returns what applies it, which cannot fail;
            raises `OperatorError`, `ConfigError` or `CallerError`.
        always: it reads files that may have changed although no key has.
    """

    keys: tuple[str, ...]
    prepare: Callable[[GatewayConfig], Callable[[], object]]
    always: bool = False

    def takes(self, key: str) -> bool:
        """Return whether a setting is one of its own."""
        return any(
            key.startswith(own) if own.endswith(".") else key == own
            for own in self.keys
        )


class Reloaded(NamedTuple):
    """What a reload did.

    Attributes:
        certificates: ports whose certificates had changed and were read.
        applied: settings that had changed and hold now.
        restart: settings that have changed and hold after a restart.
    """

    certificates: list[str]
    applied: list[str]
    restart: list[str]


class Reloader:
    """Applies a changed configuration: all that can be applied, or nothing."""

    log = Logger()

    def __init__(
        self,
        config: GatewayConfig,
        load: Load | None,
        certificates: Callable[[], list[str]],
        emit: Emit = unheard,
        hide: Callable[[set[str]], None] = lambda secrets: None,
    ) -> None:
        """Apply nothing yet.

        Args:
            config: what the process was started with.
            load: reads the configuration; None = only certificates can change.
            certificates: reads those that have changed, returns the ports' names.
            emit: told of what was applied.
            hide: told of secrets before anything can log them.
        """
        self._config = config
        self._load = load
        self._certificates = certificates
        self._emit = emit
        self._hide = hide
        self._parts: list[Part] = []

    def add(self, *parts: Part) -> None:
        """Let parts take changes; they are applied in this order."""
        self._parts += parts

    def reload(self) -> Reloaded:
        """Read everything again.

        Raises:
            ReloadFailedError: the configuration cannot be used; nothing has changed.
        """
        applied, restart = self._reload_config()
        return Reloaded(self._certificates(), applied, restart)

    def reload_and_log(self) -> None:
        """Do the same on a signal; the log says what came of it."""
        try:
            self.reload()
        except ReloadFailedError:
            self._certificates()  # files of their own, each with its own verdict

    def _reload_config(self) -> tuple[list[str], list[str]]:
        if self._load is None:
            return [], []
        try:
            loaded = self._load()
            self._hide(secrets_of(loaded.config))
            applied, restart, effective = self._sorted(loaded.config)
            commits = [part.prepare(effective) for part in self._touched(applied)]
        except (ConfigError, OperatorError, CallerError) as fault:
            self.log.error("not reloaded, nothing changes: {fault}", fault=fault)
            self._emit("reload", "failed", what="configuration")
            raise ReloadFailedError(detail=str(fault)) from None
        for commit in commits:
            commit()
        self._config = effective
        self._say(loaded.warnings, applied, restart)
        return applied, restart

    def _sorted(self, new: GatewayConfig) -> tuple[list[str], list[str], GatewayConfig]:
        """Return keys to apply, keys for a restart, and what will hold until then."""
        values: dict[Leaf, Any] = {}
        restart = []
        for key, leaf in _LEAVES.items():
            value = leaf.value_in(new)
            if value == leaf.value_in(self._config):
                continue
            if any(part.takes(key) for part in self._parts):
                values[leaf] = value
            else:
                restart.append(key)
        effective = with_values(self._config, values)
        for conflict in gateway_conflicts(effective):
            raise ConfigError(
                [
                    f"{conflict.key}: {conflict.detail}, as long as the old value of "
                    f"{', '.join(restart)} holds; restart the gateway"
                ]
            )
        return [leaf.path for leaf in values], restart, effective

    def _touched(self, applied: Sequence[str]) -> list[Part]:
        return [
            part for part in self._parts if part.always or any(map(part.takes, applied))
        ]

    def _say(
        self, warnings: Sequence[str], applied: list[str], restart: list[str]
    ) -> None:
        for key in applied:
            self.log.info("reloaded: {key} is applied", key=key)
        for key in restart:
            self.log.warn("reloaded: {key} needs a restart", key=key)
        if not applied and not restart:
            self.log.info("reloaded: the configuration has not changed")
            return
        for warning in warnings:
            self.log.warn("!!! {words}", words=warning)
        self._emit("reload", "reloaded", what="configuration")
