"""What no mapping may lead to: the gateway itself."""

from __future__ import annotations

from collections.abc import Callable

from gateway.policy.access import OwnPorts
from gateway.policy.addresses import is_loopback, parse_address


class OwnPlaces:
    """The gateway's own listeners and public ports.

    A mapping that led to a public port of the same gateway would go in circles
    until every descriptor is used up.

    Attributes:
        public_place: returns the address (empty = all interfaces) on which a public
            port is listened on now, or None.
    """

    def __init__(self, own: OwnPorts, is_local: Callable[[str], bool]) -> None:
        """Remember what is known from the start.

        Args:
            own: the link port and the API's port.
            is_local: tells whether an address is one of this machine's.
        """
        self._own = own
        self._is_local = is_local
        self.public_place: Callable[[int], str | None] = lambda port: None

    def refusal(self, address: str, port: int) -> str | None:
        """Return None if the gateway may dial this, else why not.

        Args:
            address: literal address.
            port: 1..65535.
        """

        def local() -> list[str]:
            return [address] if self._is_local(address) else []

        reason = self._own.check(address, port, local)
        place = self.public_place(port)
        if reason is None and place is not None:
            reason = OwnPorts([(place, port)]).check(address, port, local)
        return reason

    def refusal_through(self, agent: str, host: str, port: int) -> str | None:
        """Return None if an agent may be asked to dial this, else why not.

        Only an agent on the gateway's own machine can reach what is meant here by
        a loopback address; other names and addresses are the agent's to judge.

        Args:
            agent: address that the agent's link comes from.
            host: target of the mapping; empty = the agent's default host.
            port: 1..65535.
        """
        literal = parse_address(host) is not None
        if not literal and host and not is_loopback(host):
            return None
        reason = self.refusal(host if literal else "127.0.0.1", port)
        return reason if reason is not None and self._is_local(agent) else None
