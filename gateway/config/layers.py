"""A source of settings as a flat table, and the one that a file makes.

Keys that the models do not know end here, with a complaint; what a known key
may hold is checked later, for all sources together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.config.document import Document, Path, shown_key
from gateway.config.fields import Block
from gateway.config.shape import Kind, is_block, keys, kind_of
from gateway.config.vocabulary import Vocabulary


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
    """Write a path with dots; parts that are no plain words are quoted."""
    shown = [(text, shown_key(text)) for text in map(str, path)]
    return ".".join(
        text
        if quoted[1:-1] == text and re.fullmatch(r"[\w-]+", text, re.ASCII)
        else quoted
        for text, quoted in shown
    )
