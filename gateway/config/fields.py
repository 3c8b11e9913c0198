"""The kinds of value that configuration keys have, each with its check.

A check raises `ValueError` with a sentence that says everything there is to say; a
secret is never repeated in it.  Where what a key takes says enough, the check raises
`PydanticCustomError`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final, Literal, TypeAlias

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
    gateway_address,
    listening_place,
    local_place,
    target,
)
from gateway.policy.access import (
    Network,
    TargetRule,
    parse_network,
    parse_ports,
)
from gateway.policy.addresses import check_host, check_listen
from gateway.policy.credentials import Verifier
from gateway.wire.hello import MAX_LINKS
from gateway.wire.plain import check_plain, is_plain

FEWEST_SECRET_CHARACTERS: Final = 16
_FEWEST_SIGNING_CHARACTERS: Final = 32
_HEX: Final = frozenset("0123456789abcdef")
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


@dataclass(frozen=True, slots=True)
class Hidden:
    """Marks values in whose place a secret may stand: no message repeats them."""


def secret(value: SecretStr) -> SecretStr:
    """Refuse secrets that somebody can guess."""
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty; give a secret or leave the key out")
    if len(text) < FEWEST_SECRET_CHARACTERS:
        raise ValueError(
            f"has {len(text)} characters; a secret needs at least "
            f"{FEWEST_SECRET_CHARACTERS}"
        )
    if text in SHIPPED_SECRETS:
        raise ValueError("is an example that everybody can read; make up your own")
    return value


def long_secret(value: SecretStr) -> SecretStr:
    """Refuse secrets that are shorter than what they make (RFC 7518, 3.2)."""
    count = len(secret(value).get_secret_value())
    if count < _FEWEST_SIGNING_CHARACTERS:
        raise ValueError(
            f"has {count} characters; a secret that tokens are signed with needs at "
            f"least {_FEWEST_SIGNING_CHARACTERS}"
        )
    return value


def choice(value: object) -> object:
    """Keep 0 and 1 from passing for false and true."""
    if type(value) is int:
        raise PydanticCustomError("number", "a number is no word")
    return value


def link_number(value: object) -> int | Literal["auto"]:
    """Take `auto` or how many links an agent holds."""
    if value == "auto":
        return "auto"
    if type(value) is int and 1 <= value <= MAX_LINKS:
        return value
    raise PydanticCustomError("links", "no number of links")


def not_yet(value: object, words: Collection[str]) -> object:
    """Refuse the words for features that this release does not have."""
    if isinstance(value, str) and value in words:
        raise PydanticCustomError("later", "not available yet")
    return value


def path(value: str) -> str:
    """Refuse a file name that is blank or that no system takes.

    A key that was pasted in place of its file's name is not repeated.
    """
    if not value.strip():
        raise PydanticCustomError("path", "no file name")
    if not is_plain(value) or value.startswith("-----BEGIN"):
        raise ValueError(
            "has characters that no file name has; give the name of a file"
        )
    return value


def _verifier(value: str) -> str:
    try:
        return str(Verifier.parse(value))
    except ValueError:
        raise PydanticCustomError("verifier", "no verifier") from None


def _port_list(value: str) -> str:
    if value:
        parse_ports(value)
    return value


def fingerprint(value: str) -> str:
    """Return a SHA-256 as 64 small hex digits; colons may part them."""
    digits = value.replace(":", "").lower()
    if len(digits) != 64 or not set(digits) <= _HEX:
        raise PydanticCustomError("fingerprint", "no fingerprint")
    return digits


def _target_rule(entry: str) -> str:
    TargetRule.parse(entry)
    return entry


def _read(read: Callable[[str], object], *finished: type) -> PlainValidator:
    """Return the check of a key whose text is read by `read`.

    Args:
        read: what is returned is the key's value.
        finished: types of values that need no reading any more.
    """

    def check(value: object) -> object:
        if isinstance(value, str):
            return read(value)
        if isinstance(value, finished):
            return value
        raise PydanticCustomError("text", "not text")

    return PlainValidator(check)


def _port_as_text(value: object) -> object:
    return str(value) if type(value) is int else value


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
LongSecret: TypeAlias = Annotated[
    SecretStr, AfterValidator(long_secret), Means("text of at least 32 characters")
]
FILE_NAME: Final = Means("the name of a file")
FileName: TypeAlias = Annotated[str, AfterValidator(path), FILE_NAME]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
KeyVerifier: TypeAlias = Annotated[
    str,
    AfterValidator(_verifier),
    Hidden(),
    Means("a verifier ID:SCRAM-SHA-256$COUNT:SALT$KEY:KEY"),
]
PortList: TypeAlias = Annotated[
    str, AfterValidator(_port_list), Means("ports such as 10000-10100,10443, or empty")
]
PlainText: TypeAlias = Annotated[str, AfterValidator(check_plain)]
Fingerprint: TypeAlias = Annotated[
    str,
    AfterValidator(fingerprint),
    Means("a SHA-256 fingerprint: 64 hex digits, with or without colons"),
]
BindAddress: TypeAlias = Annotated[
    str,
    _read(check_listen),
    Means("an IP address of this machine; empty = all interfaces"),
]
LinkNumber: TypeAlias = Annotated[
    int | Literal["auto"],
    PlainValidator(link_number),
    Means(f"auto, or a whole number from 1 to {MAX_LINKS}"),
]
Host: TypeAlias = Annotated[str, _read(check_host), Means("a host name or IP address")]
ListeningPlace: TypeAlias = Annotated[
    HostPort, _read(listening_place, HostPort), Means("':port' or 'address:port'")
]
Target: TypeAlias = Annotated[HostPort, _read(target, HostPort), Means("'host:port'")]
GatewayAddress: TypeAlias = Annotated[
    HostPort, _read(gateway_address, HostPort), Means("'host' or 'host:port'")
]
LocalPlace: TypeAlias = Annotated[
    HostPort,
    _read(local_place, HostPort),
    BeforeValidator(_port_as_text),
    Means("a port, or 'host:port'"),
]
AllowedNetwork: TypeAlias = Annotated[
    Network,
    _read(parse_network, IPv4Network, IPv6Network),
    Means("a network or IP address"),
]
AllowedTarget: TypeAlias = Annotated[
    str,
    _read(_target_rule),
    Means("a network, an address or a host name, with or without ports"),
]
AllowedTargets: TypeAlias = Annotated[tuple[AllowedTarget, ...], AsTuple]
