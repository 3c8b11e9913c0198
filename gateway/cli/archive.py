"""`gotunnel backup` and `gotunnel restore`: the mappings' database as one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click

from gateway.cli.exits import failing_plainly
from gateway.cli.output import json_option, show_json
from gateway.config.parse import load_gateway
from gateway.store import archive

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., None])


def _database_options(command: AnyCommand) -> AnyCommand:
    command = click.option(
        "--database",
        type=click.Path(dir_okay=False),
        help="The database file itself, instead of a configuration.",
    )(command)
    return click.option(
        "--config",
        "-c",
        type=click.Path(dir_okay=False),
        help="The gateway's configuration file, which names the database.",
    )(command)


def _database_path(config: str | None, database: str | None) -> str:
    """Return the database of the gateway that the options describe."""
    if config is not None and database is not None:
        raise click.UsageError("give --config or --database, not both")
    if database is not None:
        return database
    loaded = load_gateway(config, environ=os.environ, options={})
    return loaded.config.database.path


@click.command()
@click.argument("destination", type=click.Path())
@_database_options
@click.option("--force", is_flag=True, help="Overwrite DESTINATION.")
@json_option
def backup(
    destination: str,
    config: str | None,
    database: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Copy the database to the file DESTINATION, also while the gateway runs.

    Without --config or --database it is the one that `gotunnel server` would use
    here.
    """
    with failing_plainly():
        path = _database_path(config, database)
        archive.backup(path, destination, overwrite=force)
    if as_json:
        show_json({"database": path, "destination": destination})
    else:
        click.echo(f"{path} is copied to {destination}")


@click.command()
@click.argument("source", type=click.Path())
@_database_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def restore(
    source: str, config: str | None, database: str | None, yes: bool, as_json: bool
) -> None:
    """Put the backup SOURCE in the place of the database.

    The gateway must be stopped.  The database that was there is kept beside it.
    """
    with failing_plainly():
        path = _database_path(config, database)
        if not yes:
            click.confirm(f"replace {path} by {source}?", abort=True, err=True)
        kept = archive.restore(source, path)
    if as_json:
        show_json({"database": path, "source": source, "kept": kept})
        return
    click.echo(f"{path} is restored from {source}")
    if kept is not None:
        click.echo(f"what was there is kept as {kept}")
