"""Connect to a literal address."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import IAttempt
from gateway.net.addresses import TCPAddress, family_of, target_address
from gateway.net.poller import WRITABLE, TurnPoller
from gateway.net.sockets import reset, set_options
from gateway.net.splice import PipePool
from gateway.net.transports import READ_SIZE, UNWATCHED, TCPTransport
from gateway.policy.budget import Budget

# not blocking from the start, where there is such a thing
_STREAM: Final = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
_UNDER_WAY: Final = frozenset({0, errno.EINPROGRESS, errno.EINTR, errno.EWOULDBLOCK})


@implementer(IAttempt)
class Connecting:
    """One attempt, until it has succeeded, failed or been given up."""

    __slots__ = (
        "_clock",
        "_factory",
        "_failed",
        "_gathered",
        "_made",
        "_memory",
        "_pipes",
        "_poller",
        "_read_size",
        "_released",
        "_socket",
        "_timeout",
        "_timeout_seconds",
        "fd",
    )

    def __init__(
        self,
        poller: TurnPoller,
        clock: IReactorTime,
        sock: socket.SocketType,
        factory: IProtocolFactory,
        timeout_seconds: float,
        made: Callable[[IProtocol], object] | None,
        failed: Callable[[Failure], object],
        *,
        gathered: bool,
        read_size: int,
        pipes: PipePool | None = None,
        memory: Budget | None = None,
    ) -> None:
        self._poller = poller
        self._socket = sock
        self.fd = sock.fileno()
        self._factory = factory
        self._gathered = gathered
        self._read_size = read_size
        self._pipes = pipes
        self._memory = memory
        self._made = made
        self._failed = failed
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
            self._failed(Failure())
            return
        if protocol is None:
            self._release()
            self._failed(
                Failure(
                    ConnectionAbortedError(errno.ECONNABORTED, "no protocol was built")
                )
            )
            return
        transport = TCPTransport(
            self._poller,
            self._socket,
            peer,
            gathered=self._gathered,
            read_size=self._read_size,
            pipes=self._pipes,
            memory=self._memory,
        )
        self._poller.hand_over(self, transport)
        transport.start(protocol, mask)
        if self._made is not None:
            self._made(protocol)

    def fail(self, reason: Failure) -> None:
        """Give up: the reactor saw a hang-up, or it stops."""
        if not self._released:
            self._fail(self._fault() or errno.ECONNABORTED)

    def broken(self) -> bool:
        """Return False: an attempt is never idle."""
        return False

    def _fault(self) -> int:
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _timed_out(self) -> None:
        self._release()
        self._failed(
            Failure(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        )

    def _fail(self, code: int) -> None:
        self.cancel()
        self._failed(Failure(OSError(code, os.strerror(code))))

    def cancel(self) -> None:
        """Give it up: nobody is told anything more; may be called twice."""
        if self._released:
            return
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
    made: Callable[[IProtocol], object] | None,
    failed: Callable[[Failure], object],
    *,
    gathered: bool,
    read_size: int = READ_SIZE,
    pipes: PipePool | None = None,
    memory: Budget | None = None,
) -> Connecting:
    """Begin to connect.

    Args:
        poller: watches the socket.
        clock: for the time limit.
        address: literal address.
        port: 1..65535.
        factory: builds the protocol.
        timeout_seconds: until it fails with `TimeoutError`.
        made: called with the protocol once it has been told of its connection.
        failed: called instead of that.
        gathered: writes of one turn leave together at its end.
        read_size: bytes of one read.
        pipes: for moving bulk bytes inside of the kernel.
        memory: counts what waits to be sent.

    Raises:
        OSError: the attempt cannot even begin; nobody is told.
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
    return Connecting(
        poller,
        clock,
        sock,
        factory,
        timeout_seconds,
        made,
        failed,
        gathered=gathered,
        read_size=read_size,
        pipes=pipes,
        memory=memory,
    )
