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

from gateway.interfaces import Dialled, IAttempt
from gateway.net.addresses import TCPAddress, family_of, target_address
from gateway.net.keys import CertificateError
from gateway.net.poller import WRITABLE, TurnPoller, Watched
from gateway.net.sockets import queue_little, receive_little, reset, set_options
from gateway.net.splice import PipePool
from gateway.net.tls import ClientTLS, Handshake, HandshakeError, TLSTransport
from gateway.net.transports import READ_SIZE, UNWATCHED, TCPTransport
from gateway.policy.addresses import is_loopback
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
        if not (self._released or self._learn()):
            self._await()

    def _await(self) -> None:
        self._poller.watch(self, WRITABLE)
        self._timeout = self._clock.callLater(self._timeout_seconds, self._timed_out)

    def handle(self, events: int) -> None:
        """Learn how the attempt ended."""
        self._learn()

    def _learn(self) -> bool:
        """Act on what has become of the attempt; False = it is still under way."""
        try:
            name = self._socket.getpeername()
        except OSError:
            code = self._fault()
            if code:
                self._fail(code)
            return code != 0
        self._connected(target_address(name))
        return True

    def _connected(self, peer: TCPAddress) -> None:
        self._released = True
        self._take_up(peer, self, self._stop_waiting())

    def _stop_waiting(self) -> int:
        """End the deadline; return what the poller watches for on our behalf."""
        if self._timeout is None:
            return UNWATCHED
        self._timeout.cancel()
        return WRITABLE

    def _take_up(self, peer: TCPAddress, before: Watched, mask: int) -> None:
        """Put a transport and its protocol in the place of `before`."""
        try:
            protocol = self._factory.buildProtocol(peer)
        except BaseException:  # noqa: BLE001 - goes to the caller
            self._close(before)
            self._failed(Failure())
            return
        if protocol is None:
            self._close(before)
            self._failed(
                Failure(
                    ConnectionAbortedError(errno.ECONNABORTED, "no protocol was built")
                )
            )
            return
        transport = self._transport(peer)
        self._poller.hand_over(before, transport)
        transport.start(protocol, mask)
        if self._made is not None:
            self._made(protocol)

    def _transport(self, peer: TCPAddress) -> TCPTransport:
        return TCPTransport(
            self._poller,
            self._socket,
            peer,
            gathered=self._gathered,
            read_size=self._read_size,
            pipes=self._pipes,
            memory=self._memory,
        )

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
        self._close(self)

    def _close(self, watched: Watched) -> None:
        self._poller.forget(watched)
        reset(self._socket)


class TLSConnecting(Connecting):
    """An attempt that shakes hands when it is connected, within a limit of its own."""

    __slots__ = ("_handshake", "_peer", "_tls")

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
        tls: ClientTLS,
        gathered: bool,
        read_size: int,
        memory: Budget | None = None,
    ) -> None:
        self._tls = tls
        self._handshake: Handshake | None = None
        super().__init__(
            poller,
            clock,
            sock,
            factory,
            timeout_seconds,
            made,
            failed,
            gathered=gathered,
            read_size=read_size,
            memory=memory,
        )

    def _connected(self, peer: TCPAddress) -> None:
        self._peer = peer
        mask = self._stop_waiting()
        try:
            secure = self._tls.secure(self._socket)
        except CertificateError as fault:
            self._release()
            self._failed(Failure(HandshakeError(str(fault))))
            return
        self._handshake = Handshake(
            self._poller,
            self._clock,
            secure,
            peer,
            self._tls.seconds,
            self._shaken,
            self._not_shaken,
            mask,
        )
        self._poller.hand_over(self, self._handshake)
        self._handshake.begin()

    def _shaken(self, handshake: Handshake, mask: int) -> None:
        self._released = True
        try:
            objection = self._tls.objection(handshake.secure)
        except Exception:  # noqa: BLE001 - goes to the caller
            handshake.drop()
            self._failed(Failure())
            return
        if objection is None:
            self._take_up(self._peer, handshake, mask)
        else:
            handshake.drop()
            self._failed(Failure(HandshakeError(objection)))

    def _not_shaken(self, handshake: Handshake, fault: OSError) -> None:
        self._released = True
        self._failed(Failure(HandshakeError(f"TLS handshake: {fault}")))

    def _transport(self, peer: TCPAddress) -> TCPTransport:
        assert self._handshake is not None
        return TLSTransport(
            self._poller,
            self._handshake.secure,
            peer,
            gathered=self._gathered,
            read_size=self._read_size,
            memory=self._memory,
        )

    def cancel(self) -> None:
        """Give it up: nobody is told anything more; may be called twice."""
        if self._handshake is None:
            super().cancel()
        else:
            self._released = True
            self._handshake.cancel()


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
    tls: ClientTLS | None = None,
    dialled: Dialled | None = None,
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
        tls: shakes hands with the far end, which is then told apart from others.
        dialled: told where the connection comes from, before the far end knows of it.

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
        if gathered:
            queue_little(sock)
        elif is_loopback(address):
            receive_little(sock)
        code = sock.connect_ex((address, port))
        if code not in _UNDER_WAY:
            raise OSError(code, os.strerror(code))
        if dialled is not None:
            local = sock.getsockname()
            dialled(local[0], local[1], address, sock.fileno())
    except BaseException:
        sock.close()
        raise
    if tls is not None:
        return TLSConnecting(
            poller,
            clock,
            sock,
            factory,
            timeout_seconds,
            made,
            failed,
            tls=tls,
            gathered=gathered,
            read_size=read_size,
            memory=memory,
        )
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
