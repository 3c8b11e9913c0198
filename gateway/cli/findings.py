"""Findings as commands print them, and how a command ends on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from gateway.cli.exits import Exit
from gateway.cli.output import show_json
from gateway.ops.findings import Finding, Verdict


def show_as_json(findings: Sequence[Finding], words: Mapping[Verdict, str]) -> None:
    """Print findings as a list of objects.

    Args:
        findings: what was found.
        words: what each verdict is called.
    """
    show_json(
        [
            {
                "area": one.area,
                "verdict": words[one.verdict],
                "what": one.what,
                "wanted": one.wanted,
                "advice": one.advice,
            }
            for one in findings
        ]
    )


def end_by(findings: Sequence[Finding], *, quiet: bool) -> None:
    """End the command with a failure if anything is bad.

    Args:
        findings: what was found.
        quiet: print no sum, because scripts read the output.
    """
    bad = sum(one.verdict is Verdict.BAD for one in findings)
    if bad:
        if not quiet:
            click.echo(f"{bad} of {len(findings)} points are bad", err=True)
        raise click.exceptions.Exit(Exit.FAILED)
