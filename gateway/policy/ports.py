"""Which public ports mappings may take."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from gateway.errors import PortBlacklistedError, PortRangeError


class PublicPorts:
    """The range of public ports, less those that are never opened.

    Attributes:
        first: lowest port of the range.
        last: highest port of the range.
    """

    __slots__ = ("_closed", "first", "last")

    def __init__(
        self,
        first: int,
        last: int,
        blacklist: frozenset[int] = frozenset(),
        reserved: frozenset[int] = frozenset(),
    ) -> None:
        """Remember the rules.

        Args:
            first: lowest port, 1..65535.
            last: highest port, not below `first`.
            blacklist: ports that the operator forbids.
            reserved: ports that the gateway itself listens on.
        """
        self.first = first
        self.last = last
        self._closed = blacklist | reserved

    def check(self, port: int) -> None:
        """Return if a mapping may take `port`.

        Raises:
            PortRangeError: it is outside the range.
            PortBlacklistedError: it is never opened.
        """
        if not self.first <= port <= self.last:
            raise PortRangeError(port=port, first=self.first, last=self.last)
        if port in self._closed:
            raise PortBlacklistedError(port=port)

    def pick(
        self, taken: Container[int], randrange: Callable[[int], int]
    ) -> Iterator[int]:
        """Yield the ports that may be free, each once, from a random one upward.

        Whether another program holds a port is found out by opening it, so the
        caller goes on until one opens.

        Args:
            taken: ports not to offer.
            randrange: returns a random number from 0 to below its argument.
        """
        span = self.last - self.first + 1
        start = randrange(span)
        for step in range(span):
            port = self.first + (start + step) % span
            if port not in self._closed and port not in taken:
                yield port
