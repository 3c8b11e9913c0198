"""Declared mappings: a file of YAML or JSON <-> what a person wants to exist."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml
from pydantic import ValidationError

from gateway.api.answers import MappingRow
from gateway.api.bodies import CreateBody, PublicPort
from gateway.config.document import Document, parse_document
from gateway.errors import ConfigError, NotAvailableError
from gateway.wire.plain import json_escaped

_TOP: Final = "mappings"
# always written, so that a file says the same to every gateway
_ESSENTIAL: Final = frozenset({"port", "target_port", "use_tunnel"})


class DeclaredMapping(CreateBody):
    """A mapping as a person wants it; what is left out, the gateway decides."""

    port: PublicPort
    """Public port; picking a free one would not be the same mapping each time."""
    expires_in: None = None
    """What is declared stays."""

    @property
    def key(self) -> tuple[str, int]:
        """What makes it the same mapping as another."""
        return self.protocol, self.port


def declared_of(row: MappingRow) -> DeclaredMapping:
    """Return what a person would have declared to get this mapping.

    It is taken as it is: an older release may have stored what is refused today.
    """
    names = DeclaredMapping.model_fields.keys() - {"expires_in"}
    # rows hold lists where bodies hold tuples
    facts: dict[str, Any] = {
        name: tuple(fact) if isinstance(fact := getattr(row, name), list) else fact
        for name in names
    }
    return DeclaredMapping.model_construct(**facts)


def body_of(mapping: DeclaredMapping) -> dict[str, Any]:
    """Return the body of a request that makes a mapping."""
    # one that was not validated may hold anything; the gateway judges it
    return mapping.model_dump(mode="json", exclude_none=True, warnings=False)


def parse_declared(text: str, name: str) -> list[DeclaredMapping]:
    """Read declared mappings.

    Args:
        text: YAML or JSON.
        name: of the file, for messages.

    Raises:
        ConfigError: with everything that is wrong.
    """
    document = parse_document(text, name)
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get(_TOP), list):
        detail = f"must hold `{_TOP}:` and a list; an empty one is []"
        raise ConfigError([f"{name}: {detail}"])
    problems = [
        f"{_place(document, name, (key,))}: unknown key {key!r}; the only one is {_TOP}"
        for key in value
        if key != _TOP
    ]
    found: dict[tuple[str, int], DeclaredMapping] = {}
    for number, item in enumerate(value[_TOP]):
        mapping, complaints = _item(document, name, number, item)
        if mapping is not None and mapping.key in found:
            place = _place(document, name, (_TOP, number))
            complaints = [f"{place}: port {mapping.port} is declared twice"]
        elif mapping is not None:
            found[mapping.key] = mapping
        problems += complaints
    if problems:
        raise ConfigError(problems)
    return list(found.values())


def _item(
    document: Document, name: str, number: int, item: object
) -> tuple[DeclaredMapping | None, list[str]]:
    """Return one mapping, or what is wrong with it."""
    at: tuple[str | int, ...] = (_TOP, number)
    if not isinstance(item, dict):
        keys = ", ".join(DeclaredMapping.model_fields)
        return None, [f"{_place(document, name, at)}: must have keys of {keys}"]
    try:
        return DeclaredMapping.model_validate(item), []
    except NotAvailableError as fault:
        return None, [f"{_place(document, name, at)}: {fault}"]
    except ValidationError as fault:
        return None, [
            f"{_place(document, name, (*at, *error['loc']))}: "
            f"{'.'.join(map(str, error['loc']))}: {_complaint(error['msg'])}"
            for error in fault.errors()
        ]


def _complaint(message: str) -> str:
    if message.startswith("Extra inputs"):
        return "unknown key; known are " + ", ".join(DeclaredMapping.model_fields)
    return message.removeprefix("Value error, ")


def _place(document: Document, name: str, path: tuple[str | int, ...]) -> str:
    """Return the file and the line of the nearest part that has one."""
    for length in range(len(path), 0, -1):
        if line := document.lines.get(path[:length]):
            return f"{name} line {line}"
    return name


def _usual(name: str, value: object) -> bool:
    default = DeclaredMapping.model_fields[name].default
    return value == default or (not value and name != "enabled")


def _facts(mapping: DeclaredMapping) -> dict[str, Any]:
    """Return what has to be said of a mapping, in the order of the model."""
    return {
        name: value
        for name, value in mapping.model_dump(mode="json", warnings=False).items()
        if name in _ESSENTIAL or not _usual(name, value)
    }


def _all_facts(mappings: Iterable[DeclaredMapping]) -> dict[str, Any]:
    ordered = sorted(mappings, key=lambda mapping: (mapping.port, mapping.protocol))
    return {_TOP: [_facts(mapping) for mapping in ordered]}


def declared_json(mappings: Iterable[DeclaredMapping]) -> str:
    """Return the file's text as JSON."""
    return json.dumps(_all_facts(mappings), indent=2) + "\n"


def declared_yaml(mappings: Sequence[DeclaredMapping]) -> str:
    """Return the file's text as YAML, the same for the same mappings."""
    text: str = yaml.dump(
        _all_facts(mappings), Dumper=_Dumper, sort_keys=False, allow_unicode=True
    )
    # every text is in double quotes, where YAML has the escapes of JSON
    return "\n".join(map(json_escaped, text.split("\n")))


class _Dumper(yaml.SafeDumper):
    """Quotes every text: an unquoted 1e5 or 0o17 would be read as a number."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal parts out each time."""
        return True


def _quoted(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = value in DeclaredMapping.model_fields or value == _TOP
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style=None if plain else '"'
    )


_Dumper.add_representer(str, _quoted)
