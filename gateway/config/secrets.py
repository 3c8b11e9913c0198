"""The secrets that a configuration holds."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import SecretStr

from gateway.config.fields import Block
from gateway.config.layers import Layer
from gateway.config.shape import leaves


def secrets_of(config: Block) -> set[str]:
    """Return every secret of a configuration, so that it can be kept out of logs."""
    found: set[str] = set()
    for leaf in leaves(type(config)).values():
        value = leaf.value_in(config)
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
    return found


def secrets_in(model: type[Block], settings: Layer) -> set[str]:
    """Return the texts that stand where secrets belong, whatever their form."""
    return {
        text
        for key, leaf in leaves(model).items()
        if leaf.kind.is_secret and key in settings
        for text in _texts(settings[key].value)
    }


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield value
