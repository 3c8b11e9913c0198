"""Find the names whose time is over without looking at all the others."""

from __future__ import annotations

import heapq


class Expiries:
    """Names and the times at which they expire, as a heap.

    An entry that was replaced or removed stays in the heap until it comes to the top,
    or until half of the heap is such entries.
    """

    __slots__ = ("_heap", "_times")

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._times)

    def put(self, name: str, at: float | None) -> None:
        """Set the time at which a name expires; None = never, and forget the name."""
        if at is None:
            self.discard(name)
        elif self._times.get(name) != at:
            self._times[name] = at
            heapq.heappush(self._heap, (at, name))
            self._compact()

    def discard(self, name: str) -> None:
        """Forget a name; no error if it is unknown."""
        if self._times.pop(name, None) is not None:
            self._compact()

    def next_at(self) -> float | None:
        """Return the earliest time at which a name expires, or None."""
        heap = self._heap
        while heap and self._times.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def next_name(self) -> str | None:
        """Return the name that expires first, or None."""
        return self._heap[0][1] if self.next_at() is not None else None

    def due(self, now: float) -> list[str]:
        """Forget the names that expire at `now` or earlier; return them in order."""
        found = []
        while (at := self.next_at()) is not None and at <= now:
            _, name = heapq.heappop(self._heap)
            del self._times[name]
            found.append(name)
        return found

    def _compact(self) -> None:
        """Rebuild the heap when most of its entries are stale."""
        if len(self._heap) > 2 * len(self._times) + 16:
            self._heap = [(at, name) for name, at in self._times.items()]
            heapq.heapify(self._heap)
