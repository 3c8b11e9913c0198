"""Imported before all else: commands that handle signals hold them from here on."""

from __future__ import annotations

import sys
from typing import Final

_PROCESSES: Final = frozenset({"server", "agent", "forward", "proxy"})

if not _PROCESSES.isdisjoint(sys.argv[1:2]):
    import gateway.ops.early  # noqa: F401
