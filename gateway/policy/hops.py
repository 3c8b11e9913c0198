"""Connections that come back to the process that made them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_HOPS: Final = 4  # of one connection; more are taken for a circle
MOST_DIALS: Final = 4096  # that are remembered
CIRCLE: Final = (
    f"it has passed here more than {MOST_HOPS} times: its mapping's target leads back "
    "to the mapping"
)


class Hops:
    """The latest dials of this process, and how often what they carry has passed it.

    A connection whose far end is where one of these dials began is that very dial,
    back at the door, as long as the dial's own socket is open.  Later somebody else may
    have got its port, such as a client on this machine.
    """

    __slots__ = ("_dials", "_is_open")

    def __init__(self, is_open: Callable[[int, str, int], bool]) -> None:
        """Remember no dial yet.

        Args:
            is_open: returns whether a descriptor still is the socket of a local
                address and port; asked only for dials that seem to have come back.
        """
        self._dials: OrderedDict[int, tuple[str, str, int, int]] = OrderedDict()
        self._is_open = is_open

    def note(self, local: str, port: int, address: str, fd: int, hops: int) -> None:
        """Remember a dial before its far end can have noticed it.

        Args:
            local: address that it comes from.
            port: that it comes from.
            address: that is dialled.  A router that translates addresses one to one
                makes a dial that it turns back seem to come from there.
            fd: its descriptor; -1 = it has none, and is taken for open.
            hops: how often what it carries has passed this process before.
        """
        dials = self._dials
        dials.pop(port, None)  # the latest ones are last
        dials[port] = local, address, fd, hops
        if len(dials) > MOST_DIALS:
            dials.popitem(last=False)

    def of(self, host: str, port: int) -> int:
        """Return how often a connection from there has passed this process."""
        dial = self._dials.get(port)
        if dial is None or host not in dial[:2]:
            return 0
        local, _, fd, hops = dial
        if fd >= 0 and not self._is_open(fd, local, port):
            del self._dials[port]
            return 0
        return hops + 1
