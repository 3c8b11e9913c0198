"""Have certificates read anew when their files change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gateway.errors import OperatorError
from gateway.ops.events import Emit, unheard

LOOK_SECONDS: Final = 5.0


class CertificateWatch:
    """Looks at the files now and then, and when it is told to.

    What cannot be read is said, and what was read before stays in use.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        places: Mapping[str, Callable[[], bool]],
        emit: Emit = unheard,
    ) -> None:
        """Look at nothing yet.

        Args:
            clock: tells when to look.
            places: by what the log calls it, what reads its files if they have
                changed, tells whether they had, and raises `OperatorError`.
            emit: told of what was read, and of what could not be.
        """
        self._clock = clock
        self._places = places
        self._emit = emit
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Look every few seconds from now on."""
        if self._places and self._next is None:
            self._next = self._clock.callLater(LOOK_SECONDS, self._look_again)

    def stop(self) -> None:
        """Look no more; may be called twice."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def look(self) -> list[str]:
        """Read what has changed; return the names of that."""
        read = []
        for name, read_again in self._places.items():
            try:
                changed = read_again()
            except OperatorError as fault:
                self._log.error(
                    "certificate of {name} not read anew, the old one stays: {fault}",
                    name=name,
                    fault=fault,
                )
                self._emit("reload", "failed", what=f"certificate of {name}")
            else:
                if changed:
                    read.append(name)
                    self._log.info("certificate of {name} read anew", name=name)
                    self._emit("reload", "reloaded", what=f"certificate of {name}")
        return read

    def _look_again(self) -> None:
        self._next = None
        self.start()
        self.look()
