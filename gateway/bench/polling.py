"""Which sockets are ready, by the leanest call that the platform has."""

from __future__ import annotations

import select
from typing import Final, Protocol

READABLE: Final = select.POLLIN
WRITABLE: Final = select.POLLOUT


class Poll(Protocol):
    """A set of descriptors; the methods are those of `select.epoll`."""

    def register(self, fd: int, eventmask: int) -> None:
        """Add a descriptor."""

    def modify(self, fd: int, eventmask: int) -> None:
        """Change what a descriptor is asked for."""

    def unregister(self, fd: int) -> None:
        """Take a descriptor out."""

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """Return what is ready, at the latest after `timeout` seconds."""


class PlainPoll:
    """`poll` in the form of `epoll`."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """Return what is ready, at the latest after `timeout` seconds."""
        return self._poll.poll(timeout * 1000)


def new_poll() -> Poll:
    """Return an empty set."""
    return select.epoll() if hasattr(select, "epoll") else PlainPoll()
