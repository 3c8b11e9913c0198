"""`gotunnel map export` and `map apply`: mappings as a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import click

from gateway.api.answers import MappingRow
from gateway.cli.client import ApiClient
from gateway.cli.connection import asks_api
from gateway.cli.declared import (
    DeclaredMapping,
    body_of,
    declared_json,
    declared_of,
    declared_yaml,
    parse_declared,
)
from gateway.cli.difference import Action, Step, difference
from gateway.cli.exits import Exit, FailedError, UnreachableError, failing_plainly
from gateway.cli.output import json_option, printable, printable_lines, show_json

_STANDARD = "-"


@click.command()
@click.argument("file", default=_STANDARD)
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of YAML.")
@asks_api
def export(api: ApiClient, file: str, as_json: bool) -> None:
    """Write the stored mappings to FILE, or to standard output.

    Mappings that agents asked for are left out.  `gotunnel map apply` reads the file.
    """
    rows = [row for row in api.mappings().mappings if row.source != "agent"]
    found = [declared_of(row) for row in rows]
    text = declared_json(found) if as_json else declared_yaml(found)
    if file == _STANDARD:
        click.echo(text, nl=False)
        return
    try:
        _write_whole(Path(file), text)
    except OSError as fault:
        detail = fault.strerror or fault
        raise FailedError(f"cannot write {file}: {detail}") from None
    click.echo(f"{_count(len(found), 'mapping')} written to {file}", err=True)


def _write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # a pipe or a device has no other half
        path.write_text(text, "utf-8")
        return
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as new:
        try:
            new.write(text)
            new.close()
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--prune/--no-prune",
    default=True,
    show_default=True,
    help="Whether stored mappings that the file does not declare are removed.",
)
@click.option(
    "--dry-run",
    "--check",
    "dry_run",
    is_flag=True,
    help="Show the difference only; exit code 4 if there is one.",
)
@json_option
@asks_api
def apply(
    api: ApiClient, file: str, yes: bool, prune: bool, dry_run: bool, as_json: bool
) -> None:
    """Make the stored mappings what FILE declares (- is standard input).

    Shows the difference (+ add, ~ change, - remove, -+ remove and add), asks, and
    applies it.  A step that fails does not stop the others.
    """
    steps = difference(_declared(file), api.mappings().mappings, prune=prune)
    if not as_json:
        _show(steps)
    if not steps or dry_run:
        if as_json:
            show_json({"steps": [_step_json(Outcome(step)) for step in steps]})
        raise click.exceptions.Exit(Exit.DIFFERENT if steps else Exit.OK)
    if not yes:
        click.confirm(f"apply {_count(len(steps), 'step')}?", abort=True, err=True)
    outcomes = [_carry_out(api, step, as_json=as_json) for step in steps]
    failed = sum(outcome.error is not None for outcome in outcomes)
    if as_json:
        show_json({"steps": [_step_json(outcome) for outcome in outcomes]})
    else:
        click.echo(f"{len(steps) - failed} applied, {failed} failed")
    if failed:
        raise click.exceptions.Exit(Exit.FAILED)


def _declared(file: str) -> list[DeclaredMapping]:
    name = "standard input" if file == _STANDARD else file
    try:
        with click.open_file(file, encoding="utf-8") as source:
            text = source.read()
    except UnicodeDecodeError:
        raise FailedError(f"{name} is not UTF-8 text") from None
    except OSError as fault:
        detail = fault.strerror or fault
        raise FailedError(f"cannot read {name}: {detail}") from None
    with failing_plainly():
        return parse_declared(text, name)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _show(steps: list[Step]) -> None:
    if not steps:
        click.echo("no difference")
    for step in steps:
        note = f"  ({step.note})" if step.note else ""
        line = printable(f"{step.action.value:<2} {step.port}: {_text(step)}{note}")
        click.secho(line, fg=_COLOURS[step.action])


_COLOURS = {
    Action.REMOVE: "red",
    Action.REPLACE: "magenta",
    Action.CHANGE: "yellow",
    Action.ADD: "green",
}


def _text(step: Step) -> str:
    """Return what a step is about, on one line."""
    if step.changes:
        return ", ".join(
            f"{change.field} {_value(change.before)} -> {_value(change.after)}"
            for change in step.changes
        )
    mapping = step.wanted or step.row
    host = getattr(mapping, "target_host", None) or "agent"
    port = getattr(mapping, "target_port", None) or "(as the gateway chooses)"
    name = getattr(mapping, "name", "")
    return f"to {host}:{port}" + (f", name {name!r}" if name else "")


def _value(value: object) -> str:
    if value in (None, "", {}):
        return "(none)"
    if isinstance(value, dict):
        return ",".join(f"{key}={text}" for key, text in value.items())
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


class Outcome(NamedTuple):
    """What became of a step; `error` is None if it was done or not yet tried."""

    step: Step
    error: str | None = None


def _carry_out(api: ApiClient, step: Step, *, as_json: bool) -> Outcome:
    """Do one step; a gateway that is gone ends the whole command."""
    try:
        _do(api, step)
    except FailedError as fault:
        if not as_json:
            message = printable_lines(f"{step.port}: {fault.message}")
            click.secho(f"failed: {message}", fg="red", err=True)
        return Outcome(step, fault.message)
    except UnreachableError as fault:
        message = f"stopped at port {step.port}: {fault.message}"
        raise UnreachableError(message) from None
    return Outcome(step)


def _do(api: ApiClient, step: Step) -> None:
    if step.action is Action.CHANGE:
        api.update({"port": step.port} | {c.field: c.after for c in step.changes})
    if step.action in (Action.REMOVE, Action.REPLACE):
        api.remove(step.port)
    if step.action in (Action.ADD, Action.REPLACE) and step.wanted is not None:
        try:
            api.create(body_of(step.wanted))
        except FailedError as fault:
            if step.row is not None:
                raise _put_back(api, step.row, fault) from None
            raise


def _put_back(api: ApiClient, row: MappingRow, why: FailedError) -> FailedError:
    """Create a mapping again whose replacement was refused."""
    try:
        api.create(body_of(declared_of(row)))
    except FailedError as fault:
        return FailedError(
            f"{why.message}; the old mapping is removed and cannot be put back: "
            f"{fault.message}"
        )
    return FailedError(f"{why.message}; the old mapping is back in its place")


def _step_json(outcome: Outcome) -> dict[str, object]:
    step = outcome.step
    return {
        "action": step.action.name.lower(),
        "port": step.port,
        "changes": [change._asdict() for change in step.changes],
        "note": step.note,
        "error": outcome.error,
    }
