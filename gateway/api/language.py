"""In which language a caller is answered."""

from __future__ import annotations

import re
from typing import Final

from gateway.texts import Language

_QUALITY: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_MOST_RANGES: Final = 32  # of one header; more is noise


def choose_language(accept_language: str | None, configured: Language) -> Language:
    """Return the language that an `Accept-Language` header likes best.

    Args:
        accept_language: the header's value; None if there is none.
        configured: the answer where the header names neither English nor Chinese,
            and what `*` stands for.
    """
    best, best_quality = configured, 0.0
    for choice in (accept_language or "").split(",")[:_MOST_RANGES]:
        wanted, _, parameter = choice.strip().partition(";")
        language = _language_of(wanted.strip().lower(), configured)
        quality = _quality_of(parameter.strip())
        if language is not None and quality > best_quality:
            best, best_quality = language, quality
    return best


def _language_of(wanted: str, configured: Language) -> Language | None:
    match wanted.split("-")[0]:
        case "*":
            return configured
        case "zh":
            return "zh"
        case "en":
            return "en"
    return None


def _quality_of(parameter: str) -> float:
    if not parameter:
        return 1.0
    found = _QUALITY.fullmatch(parameter)
    return float(found[1]) if found else 0.0
