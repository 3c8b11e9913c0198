"""Ask the gateway whether it takes a new token, while the agent's links go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.agent.greeter import Greeter
from gateway.agent.identity import Identity
from gateway.errors import ProtocolError
from gateway.interfaces import IStreamListener
from gateway.link.factory import build_link
from gateway.link.protocol import LinkProtocol
from gateway.wire import frames
from gateway.wire.hello import HelloAck, RegisterAck
from gateway.wire.messages import Goaway

if TYPE_CHECKING:
    from gateway.agent.service import AgentParts, AgentSettings

_WORDS: Final = "a new token was tried"


class TokenTrial(Greeter):
    """One short connection that shows an identity to the gateway and takes no place.

    Exactly one of the outcomes is logged, and told to the identities.
    """

    log = Logger()

    def __init__(
        self,
        settings: AgentSettings,
        parts: AgentParts,
        identity: Identity,
    ) -> None:
        """Prepare; nothing happens before `start`.

        Args:
            settings: of the agent.
            parts: of the agent.
            identity: what is tried.
        """
        super().__init__(parts.random_bytes)
        self._settings = settings
        self._parts = parts
        self._identity = identity
        self._over = False
        self._connecting: Deferred[IProtocol] | None = None
        self._link: LinkProtocol | None = None

    def start(self, server: tuple[str, int]) -> None:
        """Connect to a gateway."""
        seconds = self._settings.connect_seconds
        factory = _TrialFactory(self._new_link)
        connecting = self._parts.dial(*server, factory, seconds)
        if not connecting.called:
            self._connecting = connecting
        connecting.addErrback(self._unreachable)

    def _new_link(self) -> LinkProtocol:
        settings, parts = self._settings, self._parts
        return build_link(
            parts.clock,
            settings.link,
            settings.session,
            parts.linger,
            self,
            parts.random_bytes,
        )

    def stop(self) -> None:
        """End the trial without an outcome; may be called twice."""
        self._over = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.abort(_WORDS)

    def _unreachable(self, failure: Failure) -> None:
        self._connecting = None
        if not failure.check(CancelledError):
            self._failed(failure.getErrorMessage())

    def _failed(self, why: str) -> None:
        if not self._over:
            self._over = True
            self.log.warn(
                "the new token could not be tried: {why}; the next link uses it",
                why=why,
            )

    # -- LinkOwner -----------------------------------------------------------------

    def link_made(self, link: LinkProtocol) -> None:
        """Greet as a probe."""
        self._connecting = None
        self._link = link
        self.greet(link, self._identity, 0, probe=0)

    def link_decided(self, link: LinkProtocol, ack: HelloAck | None) -> None:
        """The gateway would take a link with this token."""
        if ack is None:
            self._failed("the gateway knows no HELLO")
        elif not self._over:
            self._over = True
            self._parts.identities.accepted(self._identity)
            self.log.info("the gateway takes the new token; the next link uses it")
        link.leave(frames.STOPPING, _WORDS)

    def link_refused(self, link: LinkProtocol, error: str) -> None:
        """The gateway does not know the token."""
        if not self._over:
            self._over = True
            self.log.error(
                "the gateway refused the new token: {error}; links go on", error=error
            )
            self._parts.identities.refused(self._identity)

    def link_failed(self, link: LinkProtocol, fault: ProtocolError) -> None:
        """Say why there is no outcome."""
        self._failed(fault.text(self._parts.texts.language))

    def link_lost(self, link: LinkProtocol, why: str) -> None:
        """Say so, unless there was an outcome."""
        self._failed(why)

    def link_closed(self, link: LinkProtocol) -> None:
        """Forget the connection."""
        self._link = None
        self.forget(link)

    def link_goodbye(self, link: LinkProtocol, goodbye: Goaway) -> None:
        """Probes are always told to go."""

    def link_unknown_kind(self, link: LinkProtocol, kind: int) -> None:
        """A newer gateway may know more than we do."""

    def link_listener(self, link: LinkProtocol) -> IStreamListener:
        """Probes get no streams: the gateway gives them no place."""
        raise ProtocolError("a stream for a probe", "unexpected")

    def link_registered(self, link: LinkProtocol, ack: RegisterAck) -> None:
        """Probes ask for nothing."""


class _TrialFactory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], LinkProtocol]) -> None:
        self._build = build

    def buildProtocol(self, addr: object) -> LinkProtocol:
        """Return the protocol of the connection."""
        return self._build()
