"""Lay the sources of settings over each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from gateway.config.document import parse_document
from gateway.config.fields import Block
from gateway.config.files import Reader, read_secret, read_text
from gateway.config.layers import FileLayer, Layer, Setting
from gateway.config.presets import Preset
from gateway.config.shape import leaves
from gateway.config.vocabulary import Vocabulary
from gateway.errors import ConfigError

Config = TypeVar("Config", bound=Block)


class Gathering:
    """The settings of one load; what is added later wins.

    Attributes:
        settings: what is set, by key.
        problems: what was wrong so far, a sentence each.
        unread: keys of secrets whose files could not be read.
    """

    def __init__(self, model: type[Block], reader: Reader) -> None:
        self._model = model
        self._reader = reader
        self._pairs = [
            (key, f"{key}_file")
            for key, leaf in leaves(model).items()
            if leaf.kind.is_secret
        ]
        self.settings: Layer = {}
        self.problems: list[str] = []
        self.unread: set[str] = set()
        self._exposed: list[str] = []
        self._replaced: dict[str, tuple[str, Setting]] = {}

    def add_file(self, words: Vocabulary, name: str) -> None:
        """Lay a configuration file over what there is."""
        try:
            text, exposure = read_text(name, self._reader)
            document = parse_document(text, name)
        except ConfigError as fault:
            self.problems += fault.problems
            return
        layer = FileLayer(words, document, name)
        self.add(layer.settings, layer.problems)
        held = [
            key
            for key, _ in self._pairs
            if key in layer.settings and layer.settings[key].value is not None
        ]
        if held and exposure is not None:
            self._exposed.append(
                f"{exposure}, and holds {', '.join(held)}; run: chmod o= {name}, or "
                f"keep secrets in files of their own ({held[0]}_file)"
            )

    def add(self, layer: Layer, problems: list[str]) -> None:
        """Lay one source over what there is.

        A secret and the file that may hold it are one setting: whichever the upper
        source has replaces both of the lower one.
        """
        self.problems += problems
        for pair in self._pairs:
            given = [
                key for key in pair if key in layer and layer[key].value is not None
            ]
            if len(given) == len(pair):
                origins = " and ".join(layer[key].origin for key in given)
                self.problems.append(
                    f"{pair[0]}: given together with {pair[1]}; keep one ({origins})"
                )
            elif given:
                for key in pair:
                    below = self.settings.pop(key, None)
                    if below is not None and below.value is not None:
                        self._replaced[pair[0]] = key, below
        self.settings.update(layer)

    def add_preset(self, key: str, known: Mapping[str, Preset]) -> None:
        """Put the values of the chosen preset below everything."""
        name = self.settings[key].value if key in self.settings else None
        if isinstance(name, str) and name in known:
            for place, value in known[name].items():
                self.settings.setdefault(place, Setting(value, f"preset {name}"))

    def read_secrets(self) -> None:
        """Replace the names of secrets' files by what is in them.

        Files with secrets that every user of this machine can read are refused,
        the configuration file itself included.
        """
        allow_exposed = self._accepts("readable_keys")
        if not allow_exposed:
            self.problems += self._exposed
        for key, file_key in self._pairs:
            name = self.settings.get(file_key, Setting(None, "")).value
            if not isinstance(name, str) or not name.strip():
                continue
            origin = self.settings[file_key].origin
            try:
                found = read_secret(name, self._reader, allow_exposed=allow_exposed)
            except ConfigError as fault:
                self.unread.add(key)
                self.problems += [
                    f"{file_key}: {problem} ({origin})" for problem in fault.problems
                ]
            else:
                self.settings[key] = Setting(found, f"{file_key}, {origin}")

    def _accepts(self, danger: str) -> bool:
        accepted = self.settings.get("security.allow_unsafe", Setting(None, "")).value
        return isinstance(accepted, list) and danger in accepted

    def replaced_secret(self, key: str) -> str | None:
        """Return where another secret stands, which an upper source replaced."""
        if key not in self._replaced:
            return None
        place, below = self._replaced[key]
        found = below.value
        if place != key:
            try:
                found = read_secret(str(found), self._reader)
            except ConfigError:
                found = None  # whatever it holds, it is not in effect
        return None if found == self.settings[key].value else below.origin

    def validate(self, model: type[Config], without: Collection[str] = ()) -> Config:
        """Return the configuration, leaving out the settings `without`.

        Raises:
            ValidationError: values are wrong.
        """
        tree: dict[str, Any] = {}
        for key, setting in self.settings.items():
            *blocks, last = key.split(".")
            if key not in without:
                block = tree
                for name in blocks:
                    block = block.setdefault(name, {})
                block[last] = setting.value
        return model.model_validate(tree, by_alias=True, by_name=False)

    def sources(self) -> dict[str, str]:
        """Return where each key was set."""
        return {
            key: self.settings[key].origin if key in self.settings else "default"
            for key in leaves(self._model)
        }
