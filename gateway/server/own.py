"""What no mapping may lead to: the gateway itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.policy.access import OwnPorts
from gateway.policy.addresses import is_loopback, is_public, parse_address


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

    def has_port(self, port: int) -> bool:
        """Return whether this is a port of the gateway now, on whatever address."""
        return self._own.has_port(port) or self.public_place(port) is not None

    def is_open(self, port: int) -> bool:
        """Return whether other machines reach the gateway at this port now."""
        place = self.public_place(port)
        public = place is not None and OwnPorts([(place, port)]).is_open(port)
        return public or self._own.is_open(port)

    def must_resolve(self, agent: str, host: str, port: int) -> bool:
        """Return whether `refusal_through` needs the addresses of this target."""
        if not host or is_loopback(host) or parse_address(host) is not None:
            return False
        return self.is_open(port) or (self.has_port(port) and self._is_local(agent))

    def refusal_through(
        self, agent: str, host: str, port: int, addresses: Sequence[str] = ()
    ) -> str | None:
        """Return None if an agent may be asked to dial this, else why not.

        An agent on the gateway's own machine reaches the gateway by each address of
        the machine, an agent elsewhere by its public ones.

        Args:
            agent: address that the agent's link comes from.
            host: target of the mapping; empty = the agent's default host.
            port: 1..65535.
            addresses: those of the host, if it is a name and they are known.
        """
        if not self.has_port(port):
            return None
        if parse_address(host) is not None:
            addresses = (host,)
        elif not host or is_loopback(host):
            addresses = ("127.0.0.1",)
        beside = self._is_local(agent)
        for address in addresses:
            reason = self.refusal(address, port)
            if reason is not None and (beside or is_public(address)):
                return reason
        return None
