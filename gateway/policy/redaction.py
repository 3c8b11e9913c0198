"""Keep known secrets out of logs and errors, should a text ever hold one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "[hidden]"
FEWEST_CHARACTERS: Final = 8  # of a secret; shorter ones would hide common words
_AGENT_KEY: Final = re.compile(r"(gtk_[0-9a-f]{8}_)[A-Za-z0-9_-]{4,}")
_PASSWORD: Final = re.compile(r"(://[^\s/:@]{0,100}:)[^\s/@]{1,200}@")


class Redaction:
    """Replaces secrets in lines that are about to be written.

    A net below all else: no line is meant to hold a secret in the first place.
    Known are the secrets given, as they stand and as JSON and URLs write them,
    everything that begins like an agent's key, and passwords in URLs.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Remember what must not be written."""
        self._forms: list[str] = []
        self.hide(secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        """Take the place of what was hidden before by other secrets."""
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) >= FEWEST_CHARACTERS:
                forms |= _forms(secret)
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text without any secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        if "gtk_" in text:
            text = _AGENT_KEY.sub(rf"\1{HIDDEN}", text)
        if "://" in text and "@" in text:
            text = _PASSWORD.sub(rf"\1{HIDDEN}@", text)
        return text

    def __bool__(self) -> bool:
        """Say that there is always something to look for."""
        return True


def _forms(secret: str) -> set[str]:
    """Return how a secret may stand in a line: quoted, escaped, and both."""
    plain = {secret, secret.encode("unicode_escape").decode("ascii")}
    plain |= {repr(secret)[1:-1], quote(secret), quote(secret, safe="")}
    return plain | {
        json.dumps(form, ensure_ascii=ascii_only)[1:-1]
        for form in plain
        for ascii_only in (True, False)
    }
