"""Which keys a configuration model has, and what each of them is.

The one place that looks into the models; loading, complaints and the reference
all read their keys from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.config.fields import FILE_NAME, Block, Hidden, Means, OneOrMore
from gateway.config.places import HostPort

Config = TypeVar("Config", bound=Block)

_NAMES: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    SecretStr: "text",
}


class Kind(NamedTuple):
    """What values a key takes.

    Attributes:
        core: the type without None, list and annotations.
        marks: the annotations.
        is_list: whether the value is a list of such.
        is_optional: whether null is a value.
    """

    core: Any
    marks: tuple[Any, ...]
    is_list: bool
    is_optional: bool

    @property
    def is_secret(self) -> bool:
        """Whether values must never be shown."""
        return self.core is SecretStr

    @property
    def is_hidden(self) -> bool:
        """Return whether a secret may stand in place of a value, or of a part of it."""
        if is_block(self.core):
            return any(kind_of(field).is_hidden for field in keys(self.core).values())
        return self.is_secret or any(isinstance(mark, Hidden) for mark in self.marks)

    @property
    def is_file(self) -> bool:
        """Return whether values are names of files."""
        return FILE_NAME in self.marks

    @property
    def is_text(self) -> bool:
        """Whether an unquoted word is taken letter by letter."""
        return self.core in (str, SecretStr, HostPort)

    @property
    def item(self) -> type[Block] | None:
        """The model of a list's items, if they have keys of their own."""
        return self.core if self.is_list and is_block(self.core) else None


class Leaf(NamedTuple):
    """A key that holds a value.

    Attributes:
        path: the key as users write it, with dots.
        attributes: the way to the value in a model.
        kind: what it takes.
        default: the value if it is set nowhere; None also where there is none.
        is_required: whether it must be set.
        meaning: its description.
    """

    path: str
    attributes: tuple[str, ...]
    kind: Kind
    default: Any
    is_required: bool
    meaning: str

    def value_in(self, config: Block) -> Any:  # noqa: ANN401 - of any kind
        """Return the value that a configuration has here."""
        return reduce(getattr, self.attributes, config)


def with_values(config: Config, values: Mapping[Leaf, Any]) -> Config:
    """Return a configuration with other values in the places of some."""
    return _replaced(config, {leaf.attributes: one for leaf, one in values.items()})


def _replaced(block: Config, values: Mapping[tuple[str, ...], Any]) -> Config:
    update: dict[str, Any] = {}
    inner: dict[str, dict[tuple[str, ...], Any]] = {}
    for (name, *rest), value in values.items():
        if rest:
            inner.setdefault(name, {})[tuple(rest)] = value
        else:
            update[name] = value
    for name, below in inner.items():
        update[name] = _replaced(getattr(block, name), below)
    return block.model_copy(update=update)


def is_block(annotation: object) -> TypeGuard[type[Block]]:
    """Tell whether a type is a model of ours."""
    return isinstance(annotation, type) and issubclass(annotation, Block)


def keys(model: type[Block]) -> dict[str, FieldInfo]:
    """Return the fields of a block by the key that users write."""
    return {key: model.model_fields[name] for key, name in _names(model).items()}


def _names(model: type[Block]) -> dict[str, str]:
    return {
        str(field.validation_alias or name): name
        for name, field in model.model_fields.items()
    }


@cache
def leaves(model: type[Block]) -> dict[str, Leaf]:
    """Return every key of a model and its blocks that holds a value, by path."""
    return {leaf.path: leaf for leaf in _walk(model, "", ())}


def _walk(model: type[Block], prefix: str, way: tuple[str, ...]) -> Iterator[Leaf]:
    for key, name in _names(model).items():
        field = model.model_fields[name]
        if is_block(block := field.annotation):
            yield from _walk(block, f"{prefix}{key}.", (*way, name))
            continue
        yield Leaf(
            prefix + key,
            (*way, name),
            kind_of(field),
            None if field.is_required() else field.default,
            field.is_required(),
            " ".join((field.description or "").split()),
        )


def with_absolute_names(config: Config, folder: str) -> Config:
    """Return a configuration in which relative names of files start from a folder."""

    def absolute(value: Any, field: FieldInfo) -> Any:  # noqa: ANN401 - of any kind
        if isinstance(value, Block):
            return with_absolute_names(value, folder)
        if isinstance(value, tuple) and not isinstance(value, HostPort):
            return tuple(absolute(part, field) for part in value)
        if isinstance(value, str) and kind_of(field).is_file:
            return os.path.join(folder, value.removeprefix("./"))
        return value

    fields = type(config).model_fields
    return config.model_copy(
        update={
            name: absolute(getattr(config, name), field)
            for name, field in fields.items()
        }
    )


def kind_of(field: FieldInfo) -> Kind:
    """Take a field's type apart."""
    core, marks = field.annotation, tuple(field.metadata)
    is_list = is_optional = False
    while True:
        origin, args = get_origin(core), get_args(core)
        if origin is Annotated:
            core, marks = args[0], (*marks, *args[1:])
        elif origin is tuple:
            core, is_list = args[0], True
        elif origin in (Union, UnionType) and type(None) in args:
            rest = [part for part in args if part is not type(None)]
            core, is_optional = reduce(or_, rest), True
        else:
            return Kind(core, _flat(marks), is_list, is_optional)


def _flat(marks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace pydantic's `Field(...)` by the limits that it stands for."""
    flat: list[Any] = []
    for mark in marks:
        flat.extend(mark.metadata if isinstance(mark, FieldInfo) else (mark,))
    return tuple(flat)


def allowed(kind: Kind) -> str:
    """Say which values a key takes: "a whole number from 1 to 65535"."""
    words = _words(kind)
    if OneOrMore in kind.marks:
        words = f"{words}, or a list of such"
    elif kind.is_list:
        words = f"a list, each: {words}"
    return f"{words}, or null" if kind.is_optional else words


def _words(kind: Kind) -> str:
    for mark in kind.marks:
        if isinstance(mark, Means):
            return mark.text
        if pattern := getattr(mark, "pattern", None):
            return f"text of the form {pattern.strip('^$')}"
    if get_origin(kind.core) is Literal:
        return " or ".join(_shown(word) for word in get_args(kind.core))
    if is_block(kind.core):
        return f"a mapping of {', '.join(keys(kind.core))}"
    return _NAMES[kind.core] + _limits(kind.marks)


def _shown(word: object) -> str:
    return str(word).lower() if isinstance(word, bool) else str(word)


def _limits(marks: tuple[Any, ...]) -> str:
    least = next((m.ge for m in marks if isinstance(m, annotated_types.Ge)), None)
    most = next((m.le for m in marks if isinstance(m, annotated_types.Le)), None)
    return "" if least is None else f" from {least} to {most}"
