"""The pid file of a twistd process that was killed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_LONGEST: Final = 32  # bytes of a pid file that twistd wrote
_PROGRAMS: Final = (b"twistd", b"gotunnel")


def remove_stale_pidfile(name: str) -> bool:
    """Remove a pid file that no running process of ours can have written.

    twistd itself looks no further than whether its number is in use.  In a container
    each process gets the number of its predecessor, 1 mostly, and after a restart of
    the machine the number may be anybody's.

    Args:
        name: the file; empty = none.

    Returns:
        Whether there was one and it is removed.
    """
    if not name:
        return False
    try:
        with open(name, "rb") as file:
            number = int(file.read(_LONGEST))
    except (OSError, ValueError):
        return False  # twistd says what is wrong with it
    if number != os.getpid() and _is_ours(number):
        return False
    with suppress(OSError):
        os.unlink(name)
        return True
    return False


def _is_ours(number: int) -> bool:
    """Return whether a number may be that of a running gateway or agent."""
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return True  # gone, which twistd sees, or hidden from us
    return not words or any(program in words for program in _PROGRAMS)
