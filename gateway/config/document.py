"""The text of a configuration file -> plain values, with the line of each.

YAML is read by the rules of its core schema, so that `08:30` is text and a date is
text; true and false may also be written yes, no, on and off.  JSON is read as JSON.
Tags, aliases, repeated keys and second documents are refused: each of them makes a
file say something else than it seems to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from gateway.config.fields import FEWEST_SECRET_CHARACTERS
from gateway.errors import ConfigError

Path = tuple[str | int, ...]
_DEEPEST: Final = 12
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_BASED: Final = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT: Final = re.compile(
    r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?"
)
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_KEY: Final = re.compile("[a-z_]{1,40}")  # and what a misspelled one looks like
_QUOTED: Final = re.compile("'([^']*)'")


def shown_key(key: str) -> str:
    """Return a key for a message, unless a secret may stand in its place."""
    if len(key) < FEWEST_SECRET_CHARACTERS or _KEY.fullmatch(key):
        return repr(key) if key.isprintable() else ascii(key)
    return "(not shown)"


class Document(NamedTuple):
    """What a text says.

    Attributes:
        value: mappings, lists and scalars; keys are text.
        lines: line of every value, by its path; may lack some of them.
    """

    value: object
    lines: dict[Path, int]


def parse_document(text: str, name: str) -> Document:
    """Read YAML, or JSON if the name or the text says so.

    Raises:
        ConfigError: the text is neither; the message has the line.
    """
    if name.endswith(".json"):
        return _parse_json(text, name)
    if text.lstrip().startswith("{"):
        try:
            return _parse_json(text, name)
        except ConfigError:
            pass  # YAML in braces, or its message is the better one
    return parse_yaml(text, name)


def parse_yaml(text: str, name: str) -> Document:
    """Read one YAML document.

    Raises:
        ConfigError: it is malformed, or uses what is refused here.
    """
    reader = _YamlReader(name)
    try:
        value = reader.read(text)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        line = mark.line + 1 if mark else 1
        _refuse(name, line, _yaml_fault(fault, text, line))
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, int(fault.position)) + 1
        _refuse(name, line, "a character that YAML does not allow")
    except (ValueError, OverflowError):
        # from PyYAML itself: "\UFFFFFFFF", or a version of 5000 digits
        _refuse(name, 1, "a number or character code that is out of range")
    return Document(value, reader.lines)


def _refuse(name: str, line: int, detail: str) -> NoReturn:
    raise ConfigError([f"{name} line {line}: {detail}"]) from None


def _yaml_fault(fault: yaml.MarkedYAMLError, text: str, line: int) -> str:
    problem = fault.problem or "malformed"
    rows = text.splitlines()
    row = rows[line - 1] if line <= len(rows) else ""
    if "\t" in row:
        return "a tab character; YAML is indented with spaces"
    return f"not YAML: {_QUOTED.sub(_harmless, problem)}"


def _harmless(quoted: re.Match[str]) -> str:
    """Hide what is quoted, unless it is a sign or PyYAML's own <word>.

    It is out of the file and may be part of a secret.
    """
    is_sign = len(quoted[1]) <= 1 or quoted[1].startswith("<")
    return quoted[0] if is_sign else "some text"


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _YamlReader:
    """Build values from PyYAML's events, noting lines and refusing surprises."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.lines: dict[Path, int] = {}

    def read(self, text: str) -> object:
        """Return the value of the one document."""
        events: Iterator[Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        value: object = None
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document begins; put all in one")
                value = self._value(events, next(events), ())
        return value

    def _refuse(self, event: Event, detail: str) -> NoReturn:
        _refuse(self._name, _line(event), detail)

    def _value(self, events: Iterator[Event], event: Event, path: Path) -> object:
        self.lines[path] = _line(event)
        if isinstance(event, AliasEvent):
            self._refuse(event, "aliases (*name) are not supported; write it out")
        if getattr(event, "tag", None) is not None:
            self._refuse(event, "tags (!name) are not supported; use quotes for text")
        if isinstance(event, ScalarEvent):
            return resolve(event.value) if event.implicit[0] else event.value
        if len(path) >= _DEEPEST:
            self._refuse(event, f"more than {_DEEPEST} levels deep")
        if isinstance(event, SequenceStartEvent):
            return self._list(events, path)
        return self._mapping(events, path)

    def _list(self, events: Iterator[Event], path: Path) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._value(events, event, (*path, len(items))))
        return items

    def _mapping(self, events: Iterator[Event], path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                self._refuse(event, "a key must be a single word")
            key = event.value
            if key in found:
                self._refuse(event, f"key {shown_key(key)} is given twice")
            found[key] = self._value(events, next(events), (*path, key))
            self.lines[(*path, key)] = _line(event)
        return found


def resolve(word: str) -> object:
    """Return what an unquoted YAML word stands for."""
    if word in _NULLS:
        return None
    if word.lower() in _BOOLEANS:
        return _BOOLEANS[word.lower()]
    try:
        if _INT.fullmatch(word):
            return int(word.replace("_", ""))
        if _BASED.fullmatch(word):
            return int(word, 0)
        if _FLOAT.fullmatch(word):
            return float(word)
    except ValueError:  # more digits than Python converts
        return word
    if _SPECIAL.fullmatch(word):
        return float(word.replace(".", ""))
    return word


def _parse_json(text: str, name: str) -> Document:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in found:
            if key in values:
                raise ConfigError([f"{name}: key {shown_key(key)} is given twice"])
            values[key] = value
        return values

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as fault:
        _refuse(name, fault.lineno, f"not JSON: {fault.msg}")
    except RecursionError:
        _refuse(name, 1, f"more than {_DEEPEST} levels deep")
    except ValueError:  # more digits than Python converts
        _refuse(name, 1, "a number of too many digits")
    if _is_deep(value, _DEEPEST):
        _refuse(name, 1, f"more than {_DEEPEST} levels deep")
    return Document(value, _json_lines(text))


def _is_deep(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deep(child, levels - 1) for child in children)


def _json_lines(text: str) -> dict[Path, int]:
    """Find the lines by reading the JSON as YAML, which it all but is."""
    reader = _YamlReader("")
    try:
        reader.read(text.replace("\t", " "))
    except (yaml.YAMLError, ConfigError, ValueError, OverflowError):
        return {}
    return reader.lines
