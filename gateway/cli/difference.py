"""From what is to what is declared: the steps, in an order that never conflicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from gateway.api.answers import MappingRow
from gateway.cli.declared import DeclaredMapping
from gateway.policy.mapping import resolve_target_port, wants_tunnel
from gateway.policy.visitors import RULE_NAMES


class Action(Enum):
    """What a step does; the value is its sign."""

    REMOVE = "-"
    REPLACE = "-+"  # what an update cannot change: remove, then create
    CHANGE = "~"
    ADD = "+"


class FieldChange(NamedTuple):
    """One field of a mapping that becomes another."""

    field: str
    before: object
    after: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do.

    Attributes:
        wanted: the mapping declared; None for a removal.
        row: the mapping as it is; None for an addition.
        changes: what becomes different; empty for additions and removals.
        note: what is worth knowing beforehand; may be empty.
    """

    action: Action
    port: int
    wanted: DeclaredMapping | None = None
    row: MappingRow | None = None
    changes: tuple[FieldChange, ...] = ()
    note: str = ""


_REPLACED: Final = (
    "the address cannot be changed in place: removed and created again, "
    "its connections end"
)
# removals free ports and room before additions need them
_ORDER: Final = {action: place for place, action in enumerate(Action)}


def difference(
    declared: Iterable[DeclaredMapping], actual: Iterable[MappingRow], *, prune: bool
) -> list[Step]:
    """Return the steps from the actual mappings to the declared ones.

    Mappings that agents asked for belong to those agents and are left alone.

    Args:
        declared: each key once.
        actual: each key once.
        prune: remove what is not declared.
    """
    rows = {(row.protocol, row.port): row for row in actual}
    steps: list[Step] = []
    for wanted in declared:
        row = rows.pop(wanted.key, None)
        if row is None or row.source == "agent":
            note = f"taken: agent {row.agent} asked for this port" if row else ""
            steps.append(
                Step(action=Action.ADD, port=wanted.port, wanted=wanted, note=note)
            )
        elif changes := _changes(wanted, row):
            steps.append(_adapting(wanted, row, changes))
    if prune:
        steps += [
            Step(action=Action.REMOVE, port=row.port, row=row)
            for row in rows.values()
            if row.source != "agent"
        ]
    return sorted(steps, key=lambda step: (_ORDER[step.action], step.port))


def _adapting(
    wanted: DeclaredMapping, row: MappingRow, changes: tuple[FieldChange, ...]
) -> Step:
    moves = any(change.field == "listen" for change in changes)
    return Step(
        action=Action.REPLACE if moves else Action.CHANGE,
        port=wanted.port,
        wanted=wanted,
        row=row,
        changes=changes,
        note=_REPLACED if moves else "",
    )


def _changes(wanted: DeclaredMapping, row: MappingRow) -> tuple[FieldChange, ...]:
    pairs = [
        FieldChange(field, getattr(row, field), value)
        for field, value in _facts(wanted, row).items()
    ]
    return tuple(pair for pair in pairs if pair.before != pair.after)


def _facts(wanted: DeclaredMapping, row: MappingRow) -> dict[str, object]:
    """Return every field's value, with the gateway's rules for those left out."""
    wish = wanted.wish()
    # a direct mapping without a target host cannot exist, so "on" loses nothing
    use_tunnel = wants_tunnel(wish, tunnel_enabled=True)
    if wanted.target_port is None and use_tunnel:
        target_port = row.target_port  # chosen when it was created, and kept
    else:
        target_port = resolve_target_port(wish, use_tunnel=use_tunnel, offset=0)
    return {
        "listen": wish.listen,
        "target_host": wish.target_host or "",
        "target_port": target_port,
        "use_tunnel": use_tunnel,
        "agent": wish.agent,
        "name": wish.name,
        "labels": wish.labels,
        "enabled": wish.enabled,
        "expected": wish.expected,
        **{name: _plain(getattr(wish.rules, name)) for name in RULE_NAMES},
    }


def _plain(value: object) -> object:
    """Return a value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value
