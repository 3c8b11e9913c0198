"""The keys that a process knows, and what to say of a key that is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from gateway.config.fields import Block
from gateway.config.later import NO_YIELDS, YIELDS, is_off
from gateway.config.shape import keys, leaves

PREFIX: Final = "GOTUNNEL_"


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
