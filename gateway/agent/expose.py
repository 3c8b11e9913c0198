"""Ask the gateway for public ports, and say which were granted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gateway.link.protocol import LinkProtocol
from gateway.wire.hello import HelloAck, Register, RegisterAck

RETRY_SECONDS: Final = 30.0


class Exposures:
    """The public ports that this agent wants.

    Each usable link asks for all of them; the gateway knows them by their ids and
    answers with the port that the agent had before.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        wishes: Sequence[Register],
        announce: Callable[[str], None],
    ) -> None:
        """Remember the wishes.

        Args:
            clock: for the retries.
            wishes: what to ask for; ids differ.
            announce: called with each public address when it is granted anew.
        """
        self._clock = clock
        self._wishes = {wish.id: wish for wish in wishes}
        self._announce = announce
        self._granted: dict[str, str] = {}
        self._retries: dict[str, IDelayedCall] = {}
        self._stopped = False

    def ask(self, link: LinkProtocol, ack: HelloAck | None) -> None:
        """Send every wish over a link that was just decided."""
        if not self._wishes:
            return
        if ack is None or "register" not in ack.features:
            self.log.error(
                "the gateway cannot give public ports to agents; "
                "make the mappings on the gateway instead"
            )
            return
        for wish in self._wishes.values():
            link.register(wish)

    def answered(self, link: LinkProtocol, ack: RegisterAck, gateway: str) -> None:
        """Say which port was granted, or why none was; a refusal is retried."""
        wish = self._wishes.get(ack.id)
        if wish is None:
            return
        if ack.error is not None:
            self.log.error(
                "no public port for {id}: {error}; next try in {seconds:g} seconds",
                id=ack.id,
                error=ack.error,
                seconds=RETRY_SECONDS,
            )
            self._granted.pop(ack.id, None)
            self._retry(link, wish)
            return
        scheme, _, rest = ack.public_url.partition("://")
        host = f"[{gateway}]" if ":" in gateway else gateway
        address = f"{scheme}://{host}{rest}" if rest[:1] == ":" else ack.public_url
        if not address.isprintable():
            self.log.error(
                "the gateway's public address is no text: {it!a}", it=address
            )
        elif self._granted.get(ack.id) != address:
            self._granted[ack.id] = address
            self.log.info("public address: {address}", address=address)
            self._announce(address)

    def _retry(self, link: LinkProtocol, wish: Register) -> None:
        def again() -> None:
            del self._retries[wish.id]
            if link.usable:
                link.register(wish)

        if wish.id not in self._retries and not self._stopped:
            self._retries[wish.id] = self._clock.callLater(RETRY_SECONDS, again)

    def stop(self) -> None:
        """Ask no more; may be called twice."""
        self._stopped = True
        retries, self._retries = self._retries, {}
        for call in retries.values():
            call.cancel()
