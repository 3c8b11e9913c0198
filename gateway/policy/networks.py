"""Look an address up among many networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from gateway.policy.access import Network
from gateway.policy.addresses import Address

Value = TypeVar("Value")


class NetworkTable(Generic[Value]):
    """Values by network.

    A look-up costs one step for each different prefix length in the table, 33 for IPv4
    and 129 for IPv6 at most, however many networks there are.
    """

    __slots__ = ("_by_prefix", "_values")

    def __init__(self) -> None:
        self._values: dict[Network, Value] = {}
        # (IP version, bits behind the prefix) -> prefix -> networks with that prefix
        self._by_prefix: dict[tuple[int, int], dict[int, Network]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, network: Network) -> bool:
        return network in self._values

    def values(self) -> Iterator[Value]:
        """Yield all values, in the order in which their networks were added."""
        yield from self._values.values()

    def put(self, network: Network, value: Value) -> None:
        """Set the value of a network."""
        self._values[network] = value
        kind, prefix = _place(network)
        self._by_prefix.setdefault(kind, {})[prefix] = network

    def pop(self, network: Network) -> Value | None:
        """Remove a network; return its value, or None if it is not in the table."""
        if network not in self._values:
            return None
        kind, prefix = _place(network)
        table = self._by_prefix[kind]
        del table[prefix]
        if not table:
            del self._by_prefix[kind]
        return self._values.pop(network)

    def covering(self, address: Address) -> Iterator[Value]:
        """Yield the values of the networks that contain an address."""
        version, number = address.version, int(address)
        for (table_version, bits), table in self._by_prefix.items():
            if table_version == version:
                network = table.get(number >> bits)
                if network is not None:
                    yield self._values[network]


def _place(network: Network) -> tuple[tuple[int, int], int]:
    bits = network.max_prefixlen - network.prefixlen
    return (network.version, bits), int(network.network_address) >> bits
