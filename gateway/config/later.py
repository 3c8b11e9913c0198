"""Keys of features that this release does not have.

Such a key is refused rather than ignored, unless its value says that the feature
is off: then the gateway does exactly what is asked for.
"""

from __future__ import annotations

from typing import Final

GATEWAY: Final = frozenset(
    {
        "options",
        "protocols.options",
        "protocols.tls",
        "tls",
    }
)
AGENT: Final = frozenset({"expose.host"})
# names of S2's back-pressure settings; nothing here could obey them
YIELDS: Final = frozenset({"yield_min", "yield_max"})
NO_YIELDS: Final = (
    "Twisted has no such thing: its event loop takes turns by itself, so there is "
    "no yield to set"
)
_SWITCHES: Final = ("enabled", "enable_tls")


def is_off(value: object) -> bool:
    """Tell whether a value switches its feature off.

    Off are null, false, "false", 0, the empty text, the empty list, and a mapping
    that is switched off by `enabled` or made of such values only.
    """
    if isinstance(value, dict):
        if any(key in value and is_off(value[key]) for key in _SWITCHES):
            return True
        return all(map(is_off, value.values()))
    if isinstance(value, str):
        return value in ("", "false", "off")
    return value in (None, False, 0, [])
