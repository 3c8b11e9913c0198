"""Count the open files of this process, in the same time however many they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

_FOLDER: Final = "/proc/self/fd"
KEPT_SECONDS: Final = 10.0  # for which a slow count is good


class Descriptors:
    """Counts open files and sockets.

    Linux tells the number as the size of a folder since version 6.2.  Before that they
    are listed, a microsecond each, and the number is kept for a while.
    """

    def __init__(
        self,
        size: Callable[[], int] = lambda: os.stat(_FOLDER).st_size,
        listed: Callable[[], list[str]] = lambda: os.listdir(_FOLDER),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count nothing yet.

        Args:
            size: returns the number; 0 = the system is older.
            listed: returns one for each, and one for its own descriptor.
            now: monotonic seconds.
        """
        self._size = size
        self._listed = listed
        self._now = now
        self._counted: int | None = None
        self._counted_at = 0.0

    def count(self) -> int | None:
        """Return how many are open; None where the system does not tell."""
        try:
            return self._size() or self._list()
        except OSError:
            return None

    def _list(self) -> int:
        now = self._now()
        if self._counted is None or now - self._counted_at >= KEPT_SECONDS:
            self._counted, self._counted_at = len(self._listed()) - 1, now
        return self._counted


open_descriptors: Final = Descriptors().count
