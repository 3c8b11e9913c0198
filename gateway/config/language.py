"""In which language the operator is spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.texts import Language

# in the order in which the system obeys them
_LOCALE_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")


def language_of(configured: Language | None, environ: Mapping[str, str]) -> Language:
    """Return the configured language, else the one of the process's locale."""
    if configured is not None:
        return configured
    for variable in _LOCALE_VARIABLES:
        if locale := environ.get(variable):
            return "zh" if locale.lower().startswith("zh") else "en"
    return "en"
