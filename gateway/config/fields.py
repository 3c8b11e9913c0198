"""The kinds of value that configuration keys have, each with its check.

A check raises `ValueError` with a text that says what the value must be; it never
repeats the value, which may be a secret.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
)
from pydantic_core import PydanticCustomError

from gateway.config.places import (
    HostPort,
    Network,
    bind_address,
    gateway_address,
    host,
    listening_place,
    local_place,
    network,
    target,
    target_rule,
)

_FEWEST_SECRET_CHARACTERS: Final = 16
# every value that stands for a secret in etc/ and docs/
SHIPPED_SECRETS: Final = frozenset(
    {
        "change-me-to-a-long-random-text",
        "change-me-to-another-random-text",
        "replace-this-with-your-own-secret",
        "correct-horse-battery-staple",
    }
)


class Block(BaseModel):
    """Settings that belong together; values are exact and never change."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


@dataclass(frozen=True, slots=True)
class Means:
    """Says, in the documentation and in complaints, what a value must be."""

    text: str


def secret(value: SecretStr) -> SecretStr:
    """Refuse secrets that somebody can guess."""
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty; give a secret or leave the key out")
    if len(text) < _FEWEST_SECRET_CHARACTERS:
        raise ValueError(
            f"has {len(text)} characters; a secret needs at least "
            f"{_FEWEST_SECRET_CHARACTERS}"
        )
    if text in SHIPPED_SECRETS:
        raise ValueError("is an example that everybody can read; make up your own")
    return value


def choice(value: object) -> object:
    """Keep 0 and 1 from passing for false and true."""
    if type(value) is int:
        raise PydanticCustomError("number", "a number is no word")
    return value


def not_yet(value: object, words: Collection[str]) -> object:
    """Refuse the words for features that this release does not have."""
    if isinstance(value, str) and value in words:
        raise PydanticCustomError("later", "not available yet")
    return value


def path(value: str) -> str:
    """Refuse a file name that is blank or that no system takes."""
    if not value.strip() or "\0" in value:
        raise ValueError("must be the name of a file")
    return value


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else _tuple(value)


AsTuple: Final = BeforeValidator(_tuple)
OneOrMore: Final = BeforeValidator(_one_or_more)
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Seconds: TypeAlias = Annotated[float, Field(ge=0.1, le=3600)]
Secret: TypeAlias = Annotated[
    SecretStr, AfterValidator(secret), Means("text of at least 16 characters")
]
FileName: TypeAlias = Annotated[str, AfterValidator(path), Means("the name of a file")]
BindAddress: TypeAlias = Annotated[
    str,
    PlainValidator(bind_address),
    Means("an IP address of this machine; empty = all interfaces"),
]
Host: TypeAlias = Annotated[
    str, PlainValidator(host), Means("a host name or IP address")
]
ListeningPlace: TypeAlias = Annotated[
    HostPort, PlainValidator(listening_place), Means("':port' or 'address:port'")
]
Target: TypeAlias = Annotated[HostPort, PlainValidator(target), Means("'host:port'")]
GatewayAddress: TypeAlias = Annotated[
    HostPort, PlainValidator(gateway_address), Means("'host' or 'host:port'")
]
LocalPlace: TypeAlias = Annotated[
    HostPort, PlainValidator(local_place), Means("a port, or 'host:port'")
]
AllowedNetwork: TypeAlias = Annotated[
    Network, PlainValidator(network), Means("a network or IP address")
]
TargetRule: TypeAlias = Annotated[
    str, PlainValidator(target_rule), Means("a network, a host or 'host:port'")
]
TargetRules: TypeAlias = Annotated[tuple[TargetRule, ...], AsTuple]
