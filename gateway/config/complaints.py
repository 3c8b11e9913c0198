"""Pydantic's findings -> sentences for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from gateway.config.document import Path
from gateway.config.fields import Block
from gateway.config.layers import Setting, show_path
from gateway.config.rules import Conflict
from gateway.config.shape import Kind, allowed, is_block, keys, kind_of, leaves
from gateway.texts import Language, text

_LONGEST_VALUE: Final = 60
# the phrases that people search for, by key
_DOCUMENTED: Final = {
    "tunnel.listen_port": "config_link_port",
    "api.listen_port": "config_api_port",
    "database.path": "config_database",
}


class Complaints:
    """Writes sentences about the settings of one load."""

    def __init__(
        self,
        model: type[Block],
        settings: Mapping[str, Setting],
        language: Language,
    ) -> None:
        self._model = model
        self._settings = settings
        self._language = language

    def about_values(self, fault: ValidationError) -> dict[str, list[str]]:
        """Return the sentences about wrong values, by key."""
        found: dict[str, list[str]] = {}
        for error in fault.errors(include_url=False):
            path = error["loc"]
            kind = kind_at(self._model, path)
            key = leaf_of(self._model, path)
            detail = self._documented(key, error["input"]) or _detail(error, kind)
            found.setdefault(key, []).append(self._sentence(path, key, detail))
        return found

    def about_conflict(self, conflict: Conflict) -> str:
        """Return the sentence about settings that cannot be together."""
        path = tuple(
            int(part) if part.isdigit() else part for part in conflict.key.split(".")
        )
        return self._sentence(path, leaf_of(self._model, path), conflict.detail)

    def _sentence(self, path: Path, key: str, detail: str) -> str:
        setting = self._settings.get(key)
        origin = setting.origin_of(path) if setting else "default"
        return f"{show_path(path)}: {detail} ({origin})"

    def _documented(self, key: str, value: object) -> str | None:
        """Return the phrase that is documented for a value, if there is one."""
        if key not in _DOCUMENTED:
            return None
        is_blank = isinstance(value, str) and not value.strip()
        is_too_low = type(value) is int and value <= 0
        if not (is_blank if key == "database.path" else is_too_low):
            return None
        return f"{text(_DOCUMENTED[key], self._language)}: {show(value)}"


def leaf_of(model: type[Block], path: Path) -> str:
    """Return the key of the leaf that a path is in."""
    starts = (path[:length] for length in range(1, len(path) + 1))
    keys_of_starts = (".".join(map(str, start)) for start in starts)
    return next(key for key in keys_of_starts if key in leaves(model))


def kind_at(model: type[Block], path: Path) -> Kind:
    """Return what a path holds; for an item of a list, what each item is."""
    kind: Kind | None = None
    block: Any = model
    for part in path:
        if isinstance(part, int):
            assert kind is not None
            kind = kind._replace(is_list=False, is_optional=False)
            block = kind.core
        elif part in keys(block):
            field = keys(block)[part]
            if is_block(field.annotation):
                block = field.annotation
            else:
                kind = kind_of(field)
    assert kind is not None
    return kind


def _detail(error: Any, kind: Kind) -> str:  # noqa: ANN401 - pydantic's own dict
    value = error["input"]
    if error["type"] == "missing":
        return f"is missing; it must be {allowed(kind)}"
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "later":
        return f"{show(value)} is not available yet"
    if error["type"] == "value_error":  # one of our own sentences, which says it all
        return str(error["ctx"]["error"])
    detail = f"must be {allowed(kind)}"
    return detail if kind.is_hidden else f"{detail}, not {show(value)}"


def show(value: object) -> str:
    """Write a value as an operator would, in few and harmless characters.

    The contents of lists and mappings stay out: there may be secrets in them.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        shown = ascii(value) if not value.isprintable() else repr(value)
    else:
        shown = _number(value)
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}..."


def _number(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return "a number of thousands of digits"
