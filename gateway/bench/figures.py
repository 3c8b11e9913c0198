"""Numbers as people read them.  MB is a million bytes, KiB 1024 of them."""

from __future__ import annotations

from typing import Final

_BINARY: Final = ((1 << 20, "MiB"), (1 << 10, "KiB"))


def size_text(size: int) -> str:
    """Return a number of bytes in the unit that divides it."""
    for unit, name in _BINARY:
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def megabytes(count: float) -> str:
    """Return bytes, or bytes a second, in MB without the unit."""
    return f"{count / 1e6:.2f}"


def span_text(seconds: float, *, micro: str = "µ") -> str:
    """Return a latency in the unit that suits it.

    Args:
        seconds: the latency.
        micro: the letter for a millionth; some terminals lack the Greek one.
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} {micro}s"
    if seconds < 1:
        return f"{seconds * 1e3:.3f} ms"
    return f"{seconds:.3f} s"


def share_text(share: float) -> str:
    """Return a share in percent; 100 % only if nothing is missing."""
    shown = f"{share * 100:.2f}"
    return "99.99 %" if shown == "100.00" and share < 1 else f"{shown} %"
