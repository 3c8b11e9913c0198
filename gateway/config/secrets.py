"""The secrets that a configuration holds."""

from __future__ import annotations

from pydantic import SecretStr

from gateway.config.fields import Block
from gateway.config.shape import leaves


def secrets_of(config: Block) -> set[str]:
    """Return every secret of a configuration, so that it can be kept out of logs."""
    found: set[str] = set()
    for leaf in leaves(type(config)).values():
        value = leaf.value_in(config)
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
    return found
