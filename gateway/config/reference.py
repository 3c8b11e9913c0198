"""The models -> the tables of docs/configuration.md.

After a change of a model:
`python -c "from gateway.config.reference import write; write('docs/configuration.md')"`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from gateway.config import presets
from gateway.config.fields import Block
from gateway.config.parse import AGENT, GATEWAY, written
from gateway.config.shape import Kind, Leaf, allowed, keys, kind_of, leaves
from gateway.config.vocabulary import Vocabulary, variable_of

BEGIN: Final = "<!-- made from the models: begin -->\n"
END: Final = "<!-- made from the models: end -->\n"


def write(name: str) -> None:
    """Bring the tables in a file up to date."""
    with open(name, encoding="utf-8") as file:
        text = file.read()
    with open(name, "w", encoding="utf-8") as file:
        file.write(renewed(text))


def renewed(text: str) -> str:
    """Return the document with the part between the markers made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


def reference() -> str:
    """Return the tables of all keys, of the presets and of what is to come."""
    return "\n".join(
        [
            "## Keys of the gateway\n",
            *_tables(GATEWAY),
            "### Presets of the gateway\n",
            *_preset_table(presets.GATEWAY),
            "## Keys of the agent\n",
            *_tables(AGENT),
            "### Presets of `reconnect`\n",
            *_preset_table(presets.RECONNECT),
            "## Keys that are not available yet\n",
            *_later_list("gateway", GATEWAY),
            *_later_list("agent", AGENT),
        ]
    ).rstrip("\n")


def _tables(words: Vocabulary) -> Iterator[str]:
    known = leaves(words.model)
    for block, group in groupby(sorted(known.values(), key=_block_of), _block_of):
        if block:
            yield f"### `{block}`\n"
        yield "| key | value | default | variable | meaning |"
        yield "|---|---|---|---|---|"
        for leaf in group:
            yield _row(leaf, words)
        yield ""
    for leaf in known.values():
        if leaf.kind.item:
            yield f"### Each entry of `{leaf.path}`\n"
            yield from _item_table(leaf.kind.item)


def _block_of(leaf: Leaf) -> str:
    return leaf.path.rpartition(".")[0]


def _row(leaf: Leaf, words: Vocabulary) -> str:
    short = [f"`{name}`" for name, key in words.short_names.items() if key == leaf.path]
    variables = ", ".join([f"`{variable_of(leaf.path)}`", *short])
    kind = "a list, see below" if leaf.kind.item else allowed(leaf.kind)
    default = f"`{written(leaf.default)}`"
    return _cells(f"`{leaf.path}`", kind, default, variables, leaf.meaning)


def _item_table(model: type[Block]) -> Iterator[str]:
    yield f"{' '.join((model.__doc__ or '').split())}\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, field in keys(model).items():
        kind: Kind = kind_of(field)
        default = "required" if field.is_required() else f"`{written(field.default)}`"
        meaning = " ".join((field.description or "").split())
        yield _cells(f"`{key}`", allowed(kind), default, meaning)
    yield ""


def _cells(*texts: str) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def _preset_table(known: Mapping[str, presets.Preset]) -> Iterator[str]:
    names = list(known)
    concerned = dict.fromkeys(key for preset in known.values() for key in preset)
    yield _cells("key", *(f"`{name}`" for name in names))
    yield _cells(*["---"] * (len(names) + 1))
    for key in concerned:
        values = (known[name].get(key) for name in names)
        yield _cells(
            f"`{key}`", *("" if v is None else f"`{written(v)}`" for v in values)
        )
    yield ""


def _later_list(process: str, words: Vocabulary) -> Iterator[str]:
    names = ", ".join(f"`{key}`" for key in sorted(words.later))
    yield f"Of the {process}: {names}.\n"
