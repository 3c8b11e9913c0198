"""Where settings come from: each source as a flat table of key -> setting.

Keys that the models do not know end here, with a complaint; what a known key
may hold is checked later, for all sources together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from gateway.config.document import Document, Path, parse_yaml
from gateway.config.fields import Block
from gateway.config.later import NO_YIELDS, YIELDS, is_off
from gateway.config.shape import Kind, is_block, keys, kind_of, leaves
from gateway.errors import ConfigError

PREFIX: Final = "GOTUNNEL_"
# read by the command line client or by nobody
FOREIGN_VARIABLES: Final = frozenset(
    {"GOTUNNEL_CONFIG", "GOTUNNEL_ENV", "GOTUNNEL_URL"}
)
# what Kubernetes and Docker set for a service that is called gotunnel
_ORCHESTRATED: Final = re.compile(
    r"(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9]+)*"
    r"|PORT_[0-9]+_(TCP|UDP)(_ADDR|_PORT|_PROTO)?)"
)


class Setting(NamedTuple):
    """A value and where it was set.

    Attributes:
        origin: such as "gw.yaml line 3".
        lines: for a value out of a file, the lines of its parts.
    """

    value: object
    origin: str
    lines: Mapping[Path, str] = {}

    def origin_of(self, path: Path) -> str:
        """Return where a part of the value was set; `path` starts at the root."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return self.origin


Layer = dict[str, Setting]


class Vocabulary(NamedTuple):
    """The keys that one process knows.

    Attributes:
        model: its configuration.
        later: keys of features that it does not have.
        short_names: further variables, and the key that each one sets.
    """

    model: type[Block]
    later: frozenset[str]
    short_names: Mapping[str, str]

    def key_of(self, variable: str) -> str | None:
        """Return the key that an environment variable sets, if any."""
        if variable in self.short_names:
            return self.short_names[variable]
        key = variable.removeprefix(PREFIX).lower().replace("__", ".")
        is_known = key in leaves(self.model) or self.is_later(key)
        return key if is_known and variable_of(key) == variable else None

    def is_later(self, key: str) -> bool:
        """Tell whether a key belongs to a feature that is not there yet."""
        parts = key.split(".")
        return any(
            ".".join(parts[:count]) in self.later for count in range(1, len(parts) + 1)
        )

    def unknown(self, key: str, value: object) -> str | None:
        """Say what is wrong with a key that is no key; None = nothing."""
        name = key.rpartition(".")[2]
        if self.is_later(key) or name in YIELDS:
            if is_off(value):
                return None
            return NO_YIELDS if name in YIELDS else "not available yet"
        nearest = self._nearest(key)
        return f"unknown key; did you mean {nearest}?" if nearest else "unknown key"

    def _nearest(self, key: str) -> str | None:
        block, _, name = key.rpartition(".")
        siblings = [
            path.removeprefix(f"{block}." if block else "").split(".")[0]
            for path in _all_keys(self.model)
            if not block or path.startswith(f"{block}.")
        ]
        if close := get_close_matches(name, siblings, 1):
            return f"{block}.{close[0]}" if block else close[0]
        for path in leaves(self.model):  # the right word in the wrong place
            if path.rpartition(".")[2] == name:
                return path
        return next(iter(get_close_matches(key, leaves(self.model), 1)), None)


def _all_keys(model: type[Block]) -> Iterator[str]:
    for leaf in leaves(model).values():
        yield leaf.path
        if leaf.kind.item:
            yield from (f"{leaf.path}.{key}" for key in keys(leaf.kind.item))


def variable_of(key: str) -> str:
    """Return the environment variable that sets a key."""
    return PREFIX + key.upper().replace(".", "__")


class FileLayer:
    """The settings of a file.

    Attributes:
        settings: what it sets.
        problems: one sentence for each key that is wrong.
    """

    def __init__(self, words: Vocabulary, document: Document, name: str) -> None:
        self._words = words
        self._name = name
        self._lines = document.lines
        self.settings: Layer = {}
        self.problems: list[str] = []
        if document.value is None:
            return
        if isinstance(document.value, dict):
            self._block(words.model, document.value, ())
        else:
            self.problems.append(f"{name}: must hold keys and values, nothing else")

    def _origin(self, path: Path) -> str:
        line = self._lines.get(path)
        return f"{self._name} line {line}" if line else self._name

    def _complain(self, path: Path, detail: str) -> None:
        self.problems.append(f"{show_path(path)}: {detail} ({self._origin(path)})")

    def _block(self, model: type[Block], raw: dict[str, object], at: Path) -> None:
        fields = keys(model)
        for key, value in raw.items():
            path = (*at, key)
            if key not in fields:
                self._unknown(path, value)
            elif is_block(block := fields[key].annotation):
                self._nested(block, value, path)
            else:
                self._leaf(kind_of(fields[key]), value, path)

    def _nested(self, model: type[Block], value: object, path: Path) -> None:
        if isinstance(value, dict):
            self._block(model, value, path)
        elif value is not None:  # null: all of its keys are commented out
            names = ", ".join(keys(model))
            self._complain(path, f"must be a mapping with keys of {names}")

    def _leaf(self, kind: Kind, value: object, path: Path) -> None:
        if kind.item and isinstance(value, list):
            value = [
                self._item(kind.item, item, (*path, number))
                for number, item in enumerate(value)
            ]
        parts = {
            place: self._origin(place)
            for place in self._lines
            if place[: len(path)] == path
        }
        key = ".".join(map(str, path))
        self.settings[key] = Setting(value, self._origin(path), parts)

    def _item(self, model: type[Block], item: object, at: Path) -> object:
        if not isinstance(item, dict):
            return item
        known = keys(model)
        for key in item.keys() - known.keys():
            self._unknown((*at, key), item[key])
        return {key: value for key, value in item.items() if key in known}

    def _unknown(self, path: Path, value: object) -> None:
        key = ".".join(part for part in path if isinstance(part, str))
        if detail := self._words.unknown(key, value):
            self._complain(path, detail)


def show_path(path: Path) -> str:
    """Write a path with dots; parts that are no plain words are escaped."""
    return ".".join(
        text if re.fullmatch(r"[\w-]{1,60}", text, re.ASCII) else ascii(text[:60])
        for text in map(str, path)
    )


def environment_layer(
    words: Vocabulary, other: Vocabulary, environ: Mapping[str, str]
) -> tuple[Layer, list[str]]:
    """Return the settings and the problems of the environment.

    Args:
        words: keys of this process.
        other: keys of the other process, whose variables are left alone.
        environ: the environment.
    """
    layer: Layer = {}
    problems: list[str] = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or _is_foreign(variable, text):
            continue
        origin = f"variable {variable}"
        key = words.key_of(variable)
        leaf = leaves(words.model).get(key) if key else None
        if leaf and key in layer:
            problems.append(f"{key}: set by {layer[leaf.path].origin} and by {origin}")
        elif leaf:
            layer[leaf.path] = Setting(interpret(text, leaf.kind), origin)
        elif key:
            if detail := words.unknown(key, _word(text)):
                problems.append(f"{key}: {detail} ({origin})")
        elif other.key_of(variable) is None:
            problems.append(_unknown_variable(words, variable))
    return layer, problems


def _is_foreign(variable: str, text: str) -> bool:
    rest = variable[len(PREFIX) - 1 :]
    return (
        variable in FOREIGN_VARIABLES
        or _ORCHESTRATED.fullmatch(rest) is not None
        or (rest.endswith("_PORT") and text.startswith(("tcp://", "udp://")))
    )


def _unknown_variable(words: Vocabulary, variable: str) -> str:
    known = {
        name.removeprefix(PREFIX): name
        for name in (*map(variable_of, leaves(words.model)), *words.short_names)
    }
    close = get_close_matches(variable.removeprefix(PREFIX), known, 1)
    hint = f"; did you mean {known[close[0]]}?" if close else ""
    return f"variable {ascii(variable[:100])[1:-1]}: unknown{hint}"


def option_layer(
    words: Vocabulary, options: Mapping[str, object]
) -> tuple[Layer, list[str]]:
    """Return the settings and the problems of the command line.

    Args:
        words: keys of this process.
        options: values by key ("api.bind"); None = not given.  Text is understood
            as in the environment.
    """
    layer: Layer = {}
    problems: list[str] = []
    for key, value in options.items():
        leaf = leaves(words.model).get(key)
        if value is None:
            continue
        if leaf is None:
            if detail := words.unknown(key, value):
                problems.append(f"{key}: {detail} (command line)")
        else:
            given = interpret(value, leaf.kind) if isinstance(value, str) else value
            layer[key] = Setting(given, "command line")
    return layer, problems


def interpret(text: str, kind: Kind) -> object:
    """Return what the text of a variable or an option stands for.

    A list is written in brackets or with commas.  The value of a key that takes
    text is taken letter by letter, except that `null` empties an optional one
    that is no secret.
    """
    if not kind.is_list:
        return _scalar(text, kind)
    if text.startswith("[") and text.endswith("]"):
        return _word(text)
    return [_scalar(part.strip(), kind) for part in text.split(",") if part.strip()]


def _scalar(text: str, kind: Kind) -> object:
    if not kind.is_text:
        return _word(text)
    is_null = text == "null" and kind.is_optional and not kind.is_secret
    return None if is_null else text


def _word(text: str) -> object:
    try:
        return parse_yaml(text, "").value
    except ConfigError:
        return text  # no value of any key; what it should be is said later


def default_layer(preset: str, values: Mapping[str, int | float]) -> Layer:
    """Return the defaults that a preset brings."""
    return {key: Setting(value, f"preset {preset}") for key, value in values.items()}
