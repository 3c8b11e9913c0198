"""A file, the environment and the command line -> a checked configuration.

Command line over environment over file over preset over defaults.  Everything
that is wrong is said at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from pydantic import SecretStr, ValidationError

from gateway.config import later, presets
from gateway.config.agent import AgentConfig
from gateway.config.complaints import Complaints
from gateway.config.environment import environment_layer, option_layer
from gateway.config.fields import Block
from gateway.config.files import Reader, read_file, reading_in
from gateway.config.gateway import GatewayConfig
from gateway.config.gathering import Gathering
from gateway.config.language import language_of
from gateway.config.layers import Layer
from gateway.config.places import HostPort
from gateway.config.rules import (
    Conflict,
    agent_conflicts,
    agent_warnings,
    gateway_conflicts,
    gateway_warnings,
)
from gateway.config.secrets import secrets_in
from gateway.config.shape import leaves, with_absolute_names
from gateway.config.vocabulary import Vocabulary
from gateway.errors import ConfigError
from gateway.policy.redaction import Redaction
from gateway.texts import Language
from gateway.wire.plain import json_escaped

_CLIENT_KEY: Final = "GOTUNNEL_API_KEY"  # the client reads it, too
GATEWAY: Final = Vocabulary(
    GatewayConfig,
    later.GATEWAY,
    {
        "GOTUNNEL_TOKEN": "tunnel.auth_token",
        _CLIENT_KEY: "security.api.api_key",
    },
)
AGENT: Final = Vocabulary(AgentConfig, later.AGENT, {})

_HIDDEN: Final = "(hidden)"

Config = TypeVar("Config", bound=Block)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Config]):
    """A configuration that is fit to run.

    Attributes:
        config: the settings.
        sources: where each of them was set, by key; "default" where nowhere.
        warnings: what is allowed and yet dangerous; log it loudly.
    """

    config: Config
    sources: Mapping[str, str]
    warnings: tuple[str, ...]


class _Process(NamedTuple, Generic[Config]):
    """What differs between the two processes."""

    model: type[Config]
    words: Vocabulary
    other: Vocabulary
    preset_key: str
    presets: Mapping[str, presets.Preset]
    conflicts: Callable[[Config], list[Conflict]]
    warnings: Callable[[Config], list[str]]


_GATEWAY: Final = _Process(
    GatewayConfig,
    GATEWAY,
    AGENT,
    "preset",
    presets.GATEWAY,
    gateway_conflicts,
    gateway_warnings,
)
_AGENT: Final = _Process(
    AgentConfig,
    AGENT,
    GATEWAY,
    "reconnect.preset",
    presets.RECONNECT,
    agent_conflicts,
    agent_warnings,
)


def load_gateway(
    path: str | None,
    *,
    environ: Mapping[str, str],
    options: Mapping[str, object],
    reader: Reader = read_file,
    folder: str | None = None,
) -> Loaded[GatewayConfig]:
    """Return the gateway's configuration.

    Args:
        path: YAML or JSON file; None = there is none.
        environ: environment variables.
        options: command line options by key ("api.bind"); None = not given.
        reader: reads a file.
        folder: that relative names of files start from; the names in the result are
            absolute then.  None = they stay as they are.

    Raises:
        ConfigError: with everything that is wrong.
    """
    return _load(_GATEWAY, path, environ, options, reader, folder)


def load_agent(
    path: str | None,
    *,
    environ: Mapping[str, str],
    options: Mapping[str, object],
    reader: Reader = read_file,
    folder: str | None = None,
) -> Loaded[AgentConfig]:
    """Return an agent's configuration; see `load_gateway`."""
    return _load(_AGENT, path, environ, options, reader, folder)


def describe(loaded: Loaded[Any]) -> list[str]:
    """Return a line for each setting in effect, with its source; secrets hidden."""
    config: Block = loaded.config
    return [
        f"{key} = {written(leaf.value_in(config))} ({loaded.sources[key]})"
        for key, leaf in leaves(type(config)).items()
    ]


def written(value: object) -> str:
    """Return a value as a file would have it; a secret's stays hidden."""
    if isinstance(value, SecretStr):
        return _HIDDEN
    return json_escaped(json.dumps(_plain(value), ensure_ascii=False))


def _plain(value: object) -> object:
    """Return a value as it would be written in a file."""
    if isinstance(value, Block):
        return {key: _plain(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, tuple) and not isinstance(value, HostPort):
        return [_plain(part) for part in value]
    return value if isinstance(value, bool | int | float | None) else str(value)


def _load(
    process: _Process[Config],
    path: str | None,
    environ: Mapping[str, str],
    options: Mapping[str, object],
    reader: Reader,
    folder: str | None,
) -> Loaded[Config]:
    if folder is not None:
        reader = reading_in(folder, reader)
    gathering = Gathering(process.words.model, reader)
    if path is not None:
        gathering.add_file(process.words, path)
    gathering.add(*environment_layer(process.words, process.other, environ))
    gathering.add(*option_layer(process.words, options))
    gathering.add_preset(process.preset_key, process.presets)
    gathering.read_secrets()
    settings, problems = gathering.settings, gathering.problems

    language = _language_of_complaints(settings, environ)
    complaints = Complaints(process.model, settings, language)
    doubtful = set(gathering.unread)
    try:
        config = gathering.validate(process.model)
    except ValidationError as fault:
        wrong = complaints.about_values(fault)
        problems += [line for lines in wrong.values() for line in lines]
        doubtful |= wrong.keys()
        # with the defaults in their place, the rest can be judged as well
        config = gathering.validate(process.model, without=doubtful)
    for conflict in process.conflicts(config):
        if doubtful.isdisjoint({conflict.key, *conflict.others}):
            problems.append(complaints.about_conflict(conflict))
    if problems:
        redact = Redaction(secrets_in(process.model, settings))
        raise ConfigError([redact(problem) for problem in problems])
    if folder is not None:
        config = with_absolute_names(config, folder)
    warnings = [*process.warnings(config), *_client_key_warnings(gathering)]
    return Loaded(config, gathering.sources(), tuple(warnings))


def _client_key_warnings(gathering: Gathering) -> list[str]:
    """Warn of a key for the command line client that replaces the gateway's own."""
    key, origin = GATEWAY.short_names[_CLIENT_KEY], f"variable {_CLIENT_KEY}"
    if key not in gathering.settings or gathering.settings[key].origin != origin:
        return []
    below = gathering.replaced_secret(key)
    if below is None:
        return []
    return [
        f"{origin} stands above {key} of the file ({below}), which is another: the API "
        f"takes the variable's; unset {_CLIENT_KEY} if it is for the client alone"
    ]


def _language_of_complaints(settings: Layer, environ: Mapping[str, str]) -> Language:
    chosen = settings["language"].value if "language" in settings else None
    return language_of("zh" if chosen == "zh" else "en" if chosen else None, environ)
