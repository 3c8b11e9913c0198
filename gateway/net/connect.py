"""Connect to a literal address."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.python.failure import Failure

from gateway.net.addresses import TCPAddress, family_of, target_address
from gateway.net.poller import WRITABLE, TurnPoller
from gateway.net.sockets import reset, set_options
from gateway.net.splice import PipePool
from gateway.net.transports import READ_SIZE, UNWATCHED, TCPTransport

# not blocking from the start, where there is such a thing
_STREAM: Final = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
_UNDER_WAY: Final = frozenset({0, errno.EINPROGRESS, errno.EINTR, errno.EWOULDBLOCK})


class Connecting:
    """One attempt, until it has succeeded, failed or been given up.

    Attributes:
        outcome: fires with the protocol; cancelling it gives up.
    """

    __slots__ = (
        "_clock",
        "_factory",
        "_gathered",
        "_pipes",
        "_poller",
        "_read_size",
        "_released",
        "_socket",
        "_timeout",
        "_timeout_seconds",
        "fd",
        "outcome",
    )

    def __init__(
        self,
        poller: TurnPoller,
        clock: IReactorTime,
        sock: socket.SocketType,
        factory: IProtocolFactory,
        timeout_seconds: float,
        *,
        gathered: bool,
        read_size: int,
        pipes: PipePool | None = None,
    ) -> None:
        self._poller = poller
        self._socket = sock
        self.fd = sock.fileno()
        self._factory = factory
        self._gathered = gathered
        self._read_size = read_size
        self._pipes = pipes
        self.outcome: Deferred[IProtocol] = Deferred(self._give_up)
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._timeout: IDelayedCall | None = None
        self._released = False
        if poller.turning:
            # a near target has answered by then, and need not be watched for
            poller.at_turn_end(self._look)
        else:
            self._await()

    def _look(self) -> None:
        if self._released:
            return
        self._learn()
        if not self._released:
            self._await()

    def _await(self) -> None:
        self._poller.watch(self, WRITABLE)
        self._timeout = self._clock.callLater(self._timeout_seconds, self._timed_out)

    def handle(self, events: int) -> None:
        """Learn how the attempt ended."""
        self._learn()

    def _learn(self) -> None:
        try:
            name = self._socket.getpeername()
        except OSError:
            # not connected, and no error: it is still under way
            if code := self._fault():
                self._fail(code)
            return
        self._connected(target_address(name))

    def _connected(self, peer: TCPAddress) -> None:
        self._released = True
        mask = UNWATCHED
        if self._timeout is not None:
            self._timeout.cancel()
            mask = WRITABLE
        try:
            protocol = self._factory.buildProtocol(peer)
        except BaseException:  # noqa: BLE001 - goes to the caller
            self._release()
            self.outcome.errback(Failure())
            return
        if protocol is None:
            self._release()
            self.outcome.errback(
                ConnectionAbortedError(errno.ECONNABORTED, "no protocol was built")
            )
            return
        transport = TCPTransport(
            self._poller,
            self._socket,
            peer,
            gathered=self._gathered,
            read_size=self._read_size,
            pipes=self._pipes,
        )
        self._poller.hand_over(self, transport)
        transport.start(protocol, mask)
        self.outcome.callback(protocol)

    def fail(self, reason: Failure) -> None:
        """Give up: the reactor saw a hang-up, or it stops."""
        if not self.outcome.called:
            self._fail(self._fault() or errno.ECONNABORTED)

    def broken(self) -> bool:
        """Return False: an attempt is never idle."""
        return False

    def _fault(self) -> int:
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _timed_out(self) -> None:
        self._release()
        self.outcome.errback(
            TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        )

    def _fail(self, code: int) -> None:
        self._give_up()
        self.outcome.errback(OSError(code, os.strerror(code)))

    def _give_up(self, _outcome: Deferred[IProtocol] | None = None) -> None:
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
        self._release()

    def _release(self) -> None:
        self._released = True
        self._poller.forget(self)
        reset(self._socket)


def open_connection(
    poller: TurnPoller,
    clock: IReactorTime,
    address: str,
    port: int,
    factory: IProtocolFactory,
    timeout_seconds: float,
    *,
    gathered: bool,
    read_size: int = READ_SIZE,
    pipes: PipePool | None = None,
) -> Deferred[IProtocol]:
    """Begin to connect and return what comes of it.

    Raises:
        OSError: the attempt cannot even begin.
    """
    family = family_of(address)
    if family is None:
        # the socket module would look it up and block
        raise OSError(errno.EADDRNOTAVAIL, f"not a literal address: {address!r}")
    sock = socket.SocketType(family, _STREAM)
    try:
        if _STREAM == socket.SOCK_STREAM:
            sock.setblocking(False)
        set_options(sock)
        code = sock.connect_ex((address, port))
        if code not in _UNDER_WAY:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    attempt = Connecting(
        poller,
        clock,
        sock,
        factory,
        timeout_seconds,
        gathered=gathered,
        read_size=read_size,
        pipes=pipes,
    )
    return attempt.outcome
