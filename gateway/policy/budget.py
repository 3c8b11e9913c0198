"""Judge the bytes that all streams of a process hold against a limit.

Near the limit windows stop growing, then credit is repaid sparingly, then new
streams are refused to addresses that use their share; what runs goes on.  At the limit
somebody must be broken off, which `relay/memory.py` sees to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.policy.fairness import MemoryShares

DEFAULT_MEMORY: Final = 1 << 28  # bytes
UNLIMITED: Final = 1 << 62

# shares of the limit, in eighths, above which ...
_GROWTH_ENDS: Final = 4  # ... no window grows
_TIGHT: Final = 6  # ... credit is repaid sparingly
_REFUSING: Final = 7  # ... new streams are refused


class Budget:
    """What may be held, what is, and what had to be done about it.

    Attributes:
        limit: bytes; 0 = unlimited.
        held: bytes received or read that no kernel has taken yet.
        grown: bytes that windows have grown beyond their first size.
        kernel: bytes that the kernel holds for peers that read slowly or not at all.
        stalled: connections whose peer reads nothing.
        shares: what each address uses of it.
        refused: streams that were refused for it.
        broken: streams that were broken off for it.
        alarm: called when use rises above the sparing share; None = nobody.
    """

    __slots__ = (
        "_growth_end",
        "_over_at",
        "_refusing_at",
        "_tight_at",
        "alarm",
        "broken",
        "grown",
        "held",
        "kernel",
        "limit",
        "refused",
        "shares",
        "stalled",
    )

    def __init__(self, limit: int = 0) -> None:
        """Nothing is held yet.

        Args:
            limit: bytes; 0 = unlimited.
        """
        self.limit = limit
        self.shares = MemoryShares(limit)
        self.held = self.grown = self.refused = self.broken = self.stalled = 0
        self.count_kernel(0)
        self.alarm: Callable[[], None] | None = None

    def count_kernel(self, size: int) -> None:
        """Count `size` bytes that the kernel holds for slow peers, as of now.

        The marks move instead of the sum, because `hold` is called for every chunk.
        """
        self.kernel = size
        limit = self.limit or UNLIMITED
        eighth = limit // 8
        self._growth_end = _GROWTH_ENDS * eighth - size
        self._tight_at = _TIGHT * eighth - size
        self._refusing_at = _REFUSING * eighth - size
        self._over_at = limit - size

    @property
    def used(self) -> int:
        """Bytes held here and by the kernel, and those that grown windows may bring."""
        return self.held + self.grown + self.kernel

    @property
    def room(self) -> int:
        """Bytes by which windows may still grow."""
        return max(0, self._growth_end - self.held - self.grown)

    @property
    def tight(self) -> bool:
        """Whether credit is repaid sparingly."""
        return self.held + self.grown > self._tight_at

    @property
    def refusing(self) -> bool:
        """Whether new streams are refused."""
        return self.held + self.grown > self._refusing_at

    @property
    def over(self) -> bool:
        """Whether somebody must be broken off."""
        return self.held + self.grown > self._over_at

    def hold(self, size: int) -> None:
        """Count bytes that wait in this process."""
        self.held += size
        if self.held + self.grown > self._tight_at and self.alarm is not None:
            self.alarm()

    def let_go(self, size: int) -> None:
        """Count bytes that wait no longer."""
        self.held -= size

    def grow(self, size: int) -> bool:
        """Let a window grow by `size` bytes; False if memory is short."""
        if self.held + self.grown + size > self._growth_end:
            return False
        self.grown += size
        return True

    def shrink(self, size: int) -> None:
        """Take back what a window had grown."""
        self.grown -= size

    def admits(self, address: str) -> bool:
        """Return whether a new stream may begin, and count it if it may not.

        While streams are refused, an address within its share is still admitted.

        Args:
            address: of the visitor.
        """
        if self.refusing and not self.shares.admits(address):
            self.refused += 1
            return False
        return True
