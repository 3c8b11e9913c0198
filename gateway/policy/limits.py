"""Count what is open and refuse what would be too much."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Counted(Protocol):
    """Something that is limited, and counted."""

    @property
    def limit(self) -> int:
        """0 = unlimited."""

    @property
    def active(self) -> int:
        """How many there are now."""

    @property
    def total(self) -> int:
        """How many there ever were."""

    @property
    def rejected(self) -> int:
        """For how many there was no room."""


class Places(NamedTuple):
    """Numbers of one moment of something that is limited; see `Counted`."""

    limit: int
    active: int
    total: int
    rejected: int


class Slots:
    """A limited number of places.

    Attributes:
        limit: places in all; 0 = unlimited.
        active: places taken now.
        total: places ever taken.
        rejected: how often there was none.
    """

    __slots__ = ("active", "limit", "rejected", "total")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.active = self.total = self.rejected = 0

    def acquire(self) -> bool:
        """Take a place; False if there is none."""
        if self.limit and self.active >= self.limit:
            self.rejected += 1
            return False
        self.active += 1
        self.total += 1
        return True

    def release(self) -> None:
        """Give a place back.

        Raises:
            RuntimeError: none was taken.
        """
        if not self.active:
            raise RuntimeError("released a place that was not taken")
        self.active -= 1
