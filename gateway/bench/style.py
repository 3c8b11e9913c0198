"""The signs and words that a terminal can show."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.bench.figures import share_text, span_text
from gateway.bench.labels import label
from gateway.bench.loads import Tally
from gateway.texts import Language

GOOD: Final = 0.999  # share of messages that came back right
FAIR: Final = 0.95


class Style(NamedTuple):
    """How figures are written.

    Attributes:
        fastest: marks the fastest row of a table.
        widest: marks the row with the most bandwidth.
        good: stands behind a success of `GOOD` and more.
        fair: behind one of `FAIR` and more.
        bad: behind one below.
        micro: the letter for a millionth.
    """

    language: Language = "en"
    fastest: str = "🚀"
    widest: str = "🏆"
    good: str = "✓"
    fair: str = "⚠"
    bad: str = "✗"
    micro: str = "µ"

    def say(self, key: str, **fields: object) -> str:
        """Return one of the labels."""
        return label(key, self.language, **fields)

    def span(self, seconds: float | None) -> str:
        """Return a latency; None = there is none."""
        return "-" if seconds is None else span_text(seconds, micro=self.micro)

    def success(self, tally: Tally) -> str:
        """Return the share of messages that came back right, with its sign."""
        share = tally.success
        if share is None:  # one way: whole or not
            return self.bad if tally.lost else self.good
        fair = self.fair if share >= FAIR else self.bad
        sign = self.good if share >= GOOD else fair
        return f"{share_text(share)} {sign}"


# Chinese labels cannot be written in ASCII either
PLAIN: Final = Style("en", ">>", "**", "ok", "!", "FAIL", "u")


def style_for(encoding: str, terminal: str, language: Language) -> Style:
    """Return the style that a terminal can show.

    Args:
        encoding: of what is printed to.
        terminal: the name by which the system knows it (`TERM`), or empty.
        language: the one that the user wants.
    """
    wide = encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32", "gb18030")
    # the console of the kernel and dumb terminals lack the signs
    return Style(language) if wide and terminal not in ("dumb", "linux") else PLAIN
