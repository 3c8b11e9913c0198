"""Long options that were given one hyphen."""

from __future__ import annotations

from collections.abc import Sequence

import click


def check_hyphens(command: click.Command, words: Sequence[str]) -> None:
    """Check that no long option has one hyphen where it needs two.

    Such a word would be read as short options in a row, and the fault be found in one
    letter of it.

    Args:
        command: the outermost one.
        words: of its command line.

    Raises:
        UsageError: one has.
    """
    known = _spellings(command)
    for word in words:
        if word == "--":
            return
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
            known |= _spellings(command)
        option = word.partition("=")[0]
        if len(option) > 2 and option not in known and f"-{option}" in known:
            raise click.UsageError(
                f"No such option: {option}. Long options have two hyphens: -{option}"
            )


def _spellings(command: click.Command) -> set[str]:
    spellings = set(command.context_settings.get("help_option_names", ["--help"]))
    for parameter in command.params:
        spellings.update(parameter.opts, parameter.secondary_opts)
    return spellings
