"""Make the open ports agree with the book of mappings."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gateway.edge.tcp import TcpEdge
from gateway.errors import (
    BadRequestError,
    CallerError,
    ListenError,
    PortInUseError,
    PortPrivilegedError,
)
from gateway.interfaces import IListening, INetwork
from gateway.policy.addresses import join_host_port
from gateway.policy.mapping import Mapping, Match
from gateway.server.book import Change, Entry
from gateway.texts import Texts

_IN_USE: Final = frozenset({errno.EADDRINUSE})
_PRIVILEGED: Final = frozenset({errno.EACCES, errno.EPERM})

LISTENING: Final = "listening"
DISABLED: Final = "disabled"
ERROR: Final = "error"


class Served:
    """The port of one mapping.

    Attributes:
        edge: its connections.
        listening: the bound port, or None.
        error: why an enabled mapping does not listen, or None.
    """

    __slots__ = ("edge", "error", "listening")

    def __init__(self, edge: TcpEdge, listening: IListening | None = None) -> None:
        self.edge = edge
        self.listening = listening
        self.error: str | None = None

    @property
    def state(self) -> str:
        """Return "listening", "disabled" or "error"."""
        if self.listening is not None:
            return LISTENING
        return ERROR if self.edge.mapping.enabled else DISABLED

    def close(self) -> bool:
        """Release the port; return whether there was one."""
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.stopListening()
        return listening is not None


class Reconciler:
    """Opens and closes the public ports; nothing else does.

    After each change every enabled mapping of the book listens or has its error, and
    nothing else listens.

    Attributes:
        objection: returns why an enabled mapping may not be served now, or None.
        departed: told of the edge of each removed mapping.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        network: INetwork,
        make_edge: Callable[[Mapping], TcpEdge],
        texts: Texts,
        failed: Callable[[Entry], None],
    ) -> None:
        """Remember the collaborators; nothing listens.

        Args:
            clock: for the time that connections of a removed mapping have.
            network: binds ports.
            make_edge: makes what accepts the connections of a mapping.
            texts: of the documented log phrases.
            failed: told of each mapping that is to be served and cannot.
        """
        self._clock = clock
        self._network = network
        self._make_edge = make_edge
        self._texts = texts
        self._failed = failed
        self.objection: Callable[[Entry], CallerError | None] = lambda entry: None
        self.departed: Callable[[TcpEdge], None] = lambda edge: None
        self._served: dict[Match, Served] = {}
        self._reserved: dict[Match, Served] = {}
        self._draining: dict[TcpEdge, IDelayedCall] = {}
        self._stopping = False

    # -- questions ---------------------------------------------------------------

    def find(self, match: Match) -> Served | None:
        """Return the port of a mapping in the book, or None."""
        return self._served.get(match)

    def bound_to(self, match: Match) -> str | None:
        """Return the address of a bound port, also of a reserved one, or None."""
        served = self._served.get(match) or self._reserved.get(match)
        if served is None or served.listening is None:
            return None
        return served.edge.mapping.listen

    def served_edges(self) -> list[TcpEdge]:
        """Return the edges of all mappings in the book, ordered by port."""
        matches = sorted(self._served, key=lambda match: (match.port, match.protocol))
        return [self._served[match].edge for match in matches]

    def edges(self) -> list[TcpEdge]:
        """Return the edges of all mappings, and of removed ones with connections."""
        return [*(one.edge for one in self._served.values()), *self._draining]

    def draining(self, match: Match) -> int:
        """Return how many connections a removed mapping still has."""
        return sum(
            len(edge.visits) for edge in self._draining if edge.mapping.match == match
        )

    # -- reservations --------------------------------------------------------------

    def reserve(self, mapping: Mapping) -> None:
        """Bind the port of a mapping without accepting; see `Reserver`."""
        edge = self._make_edge(mapping)
        self._reserved[mapping.match] = Served(edge, self._bind(edge))

    def release(self, match: Match) -> None:
        """Give up a reserved port."""
        self._reserved.pop(match).close()

    def _bind(self, edge: TcpEdge) -> IListening:
        """Bind and listen, without accepting yet.

        Raises:
            CallerError: the port cannot be had.
        """
        mapping = edge.mapping
        port, address = mapping.port, mapping.listen
        try:
            listening: IListening = self._network.listen(address, port, edge)
        except OSError as fault:
            detail = fault.strerror or str(fault)
            if fault.errno in _IN_USE:
                raise PortInUseError(port=port, detail=detail) from fault
            if fault.errno == errno.EADDRNOTAVAIL:
                detail = f"listen: {address} is no address of this machine"
                raise BadRequestError(detail=detail) from fault
            if fault.errno in _PRIVILEGED:
                raise PortPrivilegedError(port=port) from fault
            raise ListenError(
                address=address or "all interfaces", port=port, detail=detail
            ) from fault
        return listening

    # -- changes -------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Make the ports agree with a change of the book."""
        after = change.after
        if after is None:
            assert change.before is not None
            self._withdraw(change.before.mapping, change.drain_seconds)
            return
        mapping = after.mapping
        reserved = self._reserved.pop(mapping.match, None)
        if reserved is not None:
            self._take_over(reserved, mapping)
            return
        served = self._served.get(mapping.match)
        if served is None:
            served = self._served[mapping.match] = Served(self._make_edge(mapping))
        else:
            self._change(served, mapping)
        if mapping.enabled and served.listening is None and not self._stopping:
            self._open(served, after)

    def _take_over(self, served: Served, mapping: Mapping) -> None:
        """Serve a port that was reserved for this mapping."""
        self._served[mapping.match] = served
        served.edge.mapping = mapping
        if mapping.enabled and not self._stopping:
            self._accept(served)
        else:
            served.close()

    def _change(self, served: Served, mapping: Mapping) -> None:
        """Apply an updated mapping; connections it still allows are not interrupted."""
        elsewhere = mapping.listen != served.edge.mapping.listen
        served.edge.change(mapping)
        served.error = None
        if elsewhere or not mapping.enabled:
            self._close(served)

    def _open(self, served: Served, entry: Entry) -> None:
        """Open the port of a mapping, or note why not."""
        try:
            objection = self.objection(entry)
            if objection is not None:
                raise objection
            served.listening = self._bind(served.edge)
            served.error = None
            self._accept(served)
        except CallerError as fault:
            served.error = str(fault)
            self.log.error(
                "mapping on port {port} cannot be served: {fault}",
                port=entry.mapping.port,
                fault=fault,
            )
            self._failed(entry)

    def _accept(self, served: Served) -> None:
        mapping = served.edge.mapping
        assert served.listening is not None
        served.listening.startAccepting()
        way = f"agent {mapping.agent or 'any'}" if mapping.use_tunnel else "direct"
        self.log.info(
            "{phrase}: port {port} to {target} ({way})",
            phrase=self._texts("forward_started"),
            port=mapping.port,
            target=join_host_port(
                mapping.target_host or "the agent", mapping.target_port
            ),
            way=way,
        )

    def _close(self, served: Served) -> None:
        if served.close():
            self._say_stopped(served.edge.mapping)

    def _say_stopped(self, mapping: Mapping) -> None:
        self.log.info(
            "{phrase}: port {port}",
            phrase=self._texts("forward_stopped"),
            port=mapping.port,
        )

    def _withdraw(self, mapping: Mapping, drain_seconds: float) -> None:
        """Close a port; its connections end now, or have `drain_seconds` left."""
        served = self._served.pop(mapping.match)
        served.close()
        self._say_stopped(mapping)
        edge = served.edge
        self.departed(edge)
        if drain_seconds <= 0 or not edge.visits:
            edge.close_visits("the mapping was removed")
            return
        self._draining[edge] = self._clock.callLater(
            drain_seconds, edge.close_visits, "the mapping was removed"
        )
        edge.when_empty(lambda: self._drained(edge))

    def _drained(self, edge: TcpEdge) -> None:
        call = self._draining.pop(edge)
        if call.active():
            call.cancel()

    # -- stop ------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Release every port and open no other; connections stay."""
        self._stopping = True
        for served in self._served.values():
            self._close(served)

    def close_visits(self, why: str) -> None:
        """End every connection at once; may be called twice."""
        for edge in self.edges():
            edge.close_visits(why)
        for call in self._draining.values():
            if call.active():
                call.cancel()
