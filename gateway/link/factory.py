"""Make links: one for each connection, with its session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from typing import Protocol as Seam

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from gateway.link.protocol import LinkOwner, LinkProtocol, LinkSettings
from gateway.mux.core import SessionSettings
from gateway.mux.session import Session
from gateway.relay.linger import Linger

PING_NONCE_BYTES: Final = 8


def build_link(
    clock: IReactorTime,
    settings: LinkSettings,
    session: SessionSettings,
    linger: Linger,
    owner: LinkOwner,
    random_bytes: Callable[[int], bytes],
) -> LinkProtocol:
    """Return the protocol of a new connection.

    Args:
        clock: for its clock work.
        settings: how it treats its transport.
        session: how its session behaves.
        linger: flushes near sockets whose stream is over.
        owner: told of everything that happens to it.
        random_bytes: for the nonces of PING.
    """
    link = LinkProtocol(clock, settings, linger, owner)
    link.session = Session(
        session, link, lambda: random_bytes(PING_NONCE_BYTES), clock.seconds()
    )
    return link


class LinkDoor(LinkOwner, Seam):
    """An owner of links that others open to us."""

    linger: Linger

    def session_for(self, address: IAddress | None) -> SessionSettings | None:
        """Return how the session of a connection behaves, or None = reset it."""


class LinkFactory(Factory):
    """Build one link for each accepted connection."""

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        settings: LinkSettings,
        door: LinkDoor,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for the clock work of links.
            settings: how each link treats its transport.
            door: says who may connect, and owns the links.
            random_bytes: for nonces.
        """
        self._clock = clock
        self._settings = settings
        self._door = door
        self._random = random_bytes

    def configure(self, settings: LinkSettings) -> None:
        """Make links by other settings; those that there are stay as they are."""
        self._settings = replace(settings, turns=self._settings.turns)

    def buildProtocol(self, addr: IAddress | None) -> LinkProtocol | None:
        """Return the protocol, or None = reset the connection."""
        session = self._door.session_for(addr)
        if session is None:
            return None
        return build_link(
            self._clock,
            self._settings,
            session,
            self._door.linger,
            self._door,
            self._random,
        )
