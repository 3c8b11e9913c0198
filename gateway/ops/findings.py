"""What was found when something was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it is."""

    GOOD = "good"
    MIND = "mind"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One point of a list.

    Attributes:
        area: what it belongs to, one word.
        verdict: how it is.
        what: what was looked at, and what was found.
        advice: what to do; empty if nothing.
        wanted: how it should be; empty if `what` says so.
    """

    area: str
    verdict: Verdict
    what: str
    advice: str = ""
    wanted: str = ""


def good(area: str, what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(area, Verdict.GOOD, what)
