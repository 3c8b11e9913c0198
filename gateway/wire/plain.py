"""Texts from others, fit to be shown: no character in them does more than be read.

Not plain are control characters (C0, DEL, C1), the separators that some programs take
for the end of a line, what changes the direction of the text around it (Unicode TR 36,
section 2.7), and halves of surrogate pairs.  Every text that a peer, a caller, a
certificate or a stored row brings is checked or cleaned where it enters the process, so
that logs, metrics, tables and pages need not.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Final

# as the inside of a class of characters, in regular expressions of any dialect
UNSAFE: Final = (
    r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # no surrogates
)
_UNSAFE: Final = re.compile(rf"[{UNSAFE}\ud800-\udfff]")
_CUT: Final = "..."
ESCAPING: Final = "gotunnel.escaping"  # an error handler of encodings


def is_plain(text: str) -> bool:
    """Return whether every character of a text only shows itself."""
    return text.isprintable() or _UNSAFE.search(text) is None


def check_plain(text: str) -> str:
    """Return a text that is plain.

    Raises:
        ValueError: it is not; names the first character at fault.
    """
    found = None if text.isprintable() else _UNSAFE.search(text)
    if found is not None:
        raise ValueError(
            f"holds U+{ord(found[0]):04X} as character {found.start() + 1}; control "
            "characters and marks of direction are not accepted"
        )
    return text


def escaped(text: str) -> str:
    """Return a text in which characters that are not plain are written as escapes."""
    if is_plain(text):
        return text
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def cleaned(text: str, longest: int) -> str:
    """Return a text as people may be shown it: escaped, and at most so long.

    Args:
        text: what somebody else wrote.
        longest: characters, at least 3; a longer text ends in three dots.
    """
    text = escaped(text[: longest + 1])
    return text if len(text) <= longest else text[: longest - len(_CUT)] + _CUT


def json_escaped(text: str) -> str:
    """Return a JSON text of one line, escaped; it stands for the same value.

    JSON itself escapes C0; the other characters stand in its strings only.
    """
    if is_plain(text):
        return text
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def encodable(text: str, encoding: str) -> str:
    """Return a text in which characters that an encoding lacks are written as escapes.

    The escapes are those of JSON, so that a line of JSON stays one.
    """
    return text.encode(encoding, ESCAPING).decode(encoding)


def _escape(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    return json.dumps(fault.object[fault.start : fault.end])[1:-1], fault.end


codecs.register_error(ESCAPING, _escape)
