"""The examples of the documents."""

from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"<!-- test: (\S+) -->\n```\w*\n(.*?)```\n", re.DOTALL)


def examples(page):
    """Return the marked code blocks of a page, by their marks."""
    return dict(_BLOCK.findall((ROOT / page).read_text()))
