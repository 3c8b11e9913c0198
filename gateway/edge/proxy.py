"""Read who a connection from a balancer is for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import IByteTransport, IViewReceiver
from gateway.relay.deadlines import Deadlines
from gateway.wire.proxy import Place, ProxyHeaderError, decode


@implementer(IViewReceiver)
class HeaderReader(Protocol):
    """Take the header off a connection, then let its visitor take the place."""

    transport: IByteTransport
    __slots__ = ("_addr", "_data", "_deadlines", "_done", "connected", "transport")

    def __init__(
        self,
        addr: IAddress | None,
        deadlines: Deadlines,
        done: Callable[[IAddress | None, str | None], Protocol | None],
    ) -> None:
        """Remember whom to ask.

        Args:
            addr: the balancer's address.
            deadlines: until when the header must be there.
            done: called once, with the visitor's address, or with the balancer's and
                what went wrong; returns the visitor's protocol, or None.
        """
        self._addr = addr
        self._deadlines = deadlines
        self._done = done
        self._data: bytes | None = b""

    def connectionMade(self) -> None:
        """Wait for the header."""
        self._deadlines.add(self)

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Read on; what comes behind the header is the visitor's."""
        if self._data is None:
            return
        self._data += data
        try:
            header = decode(self._data)
        except ProxyHeaderError as fault:
            self._end(str(fault))
            return
        if header is None:
            return
        rest = self._data[header.length :]
        addr = self._addr if header.source is None else _address(header.source)
        self._over()
        visitor = self._done(addr, None)
        if visitor is None:
            self.transport.abortConnection()
            return
        transport = self.transport
        transport.protocol = visitor  # type: ignore[attr-defined] # as Twisted's have
        visitor.makeConnection(transport)
        if rest:
            visitor.dataReceived(rest)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Say that nothing came of it."""
        self._end("the connection ended before its header did")

    def timed_out(self) -> None:
        """The header did not come in time."""
        self._end("no PROXY header in time")

    def _over(self) -> None:
        self._data = None
        self._deadlines.discard(self)

    def _end(self, fault: str) -> None:
        if self._data is not None:
            self._over()
            self._done(self._addr, fault)
            self.transport.abortConnection()


def _address(place: Place) -> IPv4Address | IPv6Address:
    if ":" in place.host:
        return IPv6Address("TCP", place.host, place.port)
    return IPv4Address("TCP", place.host, place.port)
