"""The command line of this process, without what might be secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

HIDDEN: Final = "(hidden)"
_SECRET: Final = re.compile(r"(token|secret|passw|key|verifier|credential)", re.I)
_FILE: Final = re.compile(r"(file|path|folder|dir)$", re.I)
_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def without_secrets(words: Sequence[str]) -> list[str]:
    """Return the words; values of options with a secret's name are hidden."""
    shown: list[str] = []
    hide_next = False
    for word in words:
        name, equals, _ = word.partition("=")
        if hide_next and not word.startswith("-"):
            shown.append(HIDDEN)
            hide_next = False
            continue
        secret = _is_secret(name)
        if secret and equals:
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(_LOGIN.sub(HIDDEN, word))
        hide_next = secret and not equals and word.startswith("-")
    return shown


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name)) and not _FILE.search(name)
