"""The addresses at which this agent finds its gateways."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.policy.addresses import Address, without_scope


class GatewayAddresses:
    """Every address that the name of a gateway had when it was last looked up.

    A target that is one of them, at a port that the gateway serves, would lead back to
    the gateway.  Loopback does not count: there a tunnel of another kind may lead to a
    gateway elsewhere, and a gateway on this machine knows that the agent is beside it.
    """

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[str, frozenset[Address]] = {}

    def note(self, server: str, addresses: Iterable[str]) -> None:
        """Replace what is known of one gateway.

        Args:
            server: its name or address in the configuration.
            addresses: literals.
        """
        parsed = (without_scope(address) for address in addresses)
        self._known[server] = frozenset(
            one for one in parsed if one is not None and not one.is_loopback
        )

    def refusal(self, address: str, port: int) -> str | None:
        """Return why a port that the gateway serves may not be dialled there, or None.

        Args:
            address: literal address that would be dialled.
            port: one of the gateway's own.
        """
        place = without_scope(address)
        if any(place in known for known in self._known.values()):
            return f"{address} port {port} is a port of the gateway itself"
        return None
