"""Move bytes between a protocol and a non-blocking TCP socket.

A write goes to the kernel at once; only what the kernel does not take is queued.
A gathered transport queues everything and sends it at the end of the turn.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, cast

from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ISystemHandle,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import IByteTransport, IPaced, ISplicing, IViewReceiver
from gateway.net.addresses import TCPAddress, address_of
from gateway.net.outgoing import WOULD_BLOCK, Outgoing
from gateway.net.pacing import PacedSocket
from gateway.net.poller import ERROR, HANGUP, READABLE, WRITABLE, TurnPoller
from gateway.net.sockets import acknowledged, close, kernel_bytes, reset
from gateway.net.splice import PipePool, Shortcut
from gateway.policy.budget import Budget
from gateway.policy.rates import Bucket

READ_SIZE: Final = 65536
_LAST_READS: Final = 64  # after a reset
_LARGE: Final = 32768  # a read of this size, or a full one, speaks for bulk
_BULK: Final = 4  # such reads in a row after which bytes are spliced
_PROVEN: Final = 8  # as many small ones in a row, and bytes are read again
UNWATCHED: Final = -1
_LOST: Final = Failure(ConnectionLost())  # making one takes longer than closing
_ABORTED: Final = Failure(ConnectionAborted())
_NOBODY: Final = Protocol()  # takes the place of a protocol that is gone


@implementer(
    IByteTransport,
    ISplicing,
    IPaced,
    IPushProducer,
    IConsumer,
    ISystemHandle,
    ILoggingContext,
)
class TCPTransport(Outgoing):
    """One TCP connection.

    Calls of the protocol never come out of `write`, `writeSequence`,
    `loseConnection`, `loseWriteConnection` or `abortConnection`; what follows from
    them is told at the end of the turn.  A connection whose two directions have
    ended is over, also for a protocol that can do with half of it.

    Attributes:
        read_size: bytes of one read.
        connected: False once the protocol knows of the loss.
        disconnecting: `loseConnection` was called.
        disconnected: the opposite of `connected`.
    """

    __slots__ = (
        "__weakref__",
        "_bulk",
        "_dry",
        "_ended",
        "_ending",
        "_eof",
        "_fault",
        "_host",
        "_mask",
        "_peer",
        "_pipes",
        "_poller",
        "_read_over",
        "_reading",
        "_scheduled",
        "_shortcut",
        "_started",
        "_views",
        "connected",
        "disconnected",
        "disconnecting",
        "protocol",
        "read_size",
    )

    log = Logger()
    _pacing: ClassVar[type[PacedSocket]] = PacedSocket

    def __init__(
        self,
        poller: TurnPoller,
        sock: socket.SocketType,
        peer: TCPAddress | None = None,
        *,
        gathered: bool = False,
        read_size: int = READ_SIZE,
        pipes: PipePool | None = None,
        memory: Budget | None = None,
    ) -> None:
        super().__init__(sock, gathered=gathered, memory=memory)
        self._poller = poller
        self._peer = peer
        self._host: TCPAddress | None = None
        self.protocol: IProtocol = _NOBODY
        self.read_size = read_size
        self._pipes = pipes
        self._shortcut: Shortcut | None = None
        self._bulk = 0  # how sure it is that reads are large
        self.connected = True
        self.disconnected = self.disconnecting = False
        self._reading = True
        self._read_over = False  # reading will not be taken up again
        self._eof = False  # the peer has ended its direction
        self._ending = False  # we end ours once nothing is unsent
        self._ended = False  # we have ended ours
        self._fault: Failure | None = None  # loss that the protocol is to be told of
        self._scheduled = False
        self._started = False
        self._views = False  # large reads go into the poller's scratch
        self._mask = UNWATCHED
        self._dry = 0  # what is not watched for because nothing may pass now

    def start(self, protocol: IProtocol, mask: int = UNWATCHED) -> None:
        """Introduce the protocol to its transport and serve it from now on.

        Args:
            protocol: not connected yet.
            mask: what the poller watches this descriptor for already.
        """
        self.protocol = protocol
        self._views = IViewReceiver.providedBy(protocol)
        self._mask = mask
        try:
            protocol.makeConnection(self)
        except BaseException:  # noqa: BLE001 - a bug costs this connection only
            self.log.failure("{protocol} failed to start", protocol=protocol)
            self._lose(Failure())
            return
        if self._fault is None and not self.disconnected:
            self._started = True
            if self._reading or not self._poller.turning:
                self._arm()
            else:
                # what it waits for may be there by then
                self._poller.at_turn_end(self._arm)

    # events

    def handle(self, events: int) -> None:
        """Act on what the poller saw."""
        if events & WRITABLE and self._blocked:
            self._blocked = False
            self._settle()
        if events & ~WRITABLE and self._started:
            if self._paced and events & (ERROR | HANGUP):
                cast(PacedSocket, self._socket).hurry()
            if self._reading:
                self._read(events)
            elif events & (ERROR | HANGUP):
                self._hung_up(events)

    def _read(self, events: int) -> None:
        bulk = self._bulk
        if bulk >= _BULK and self._shortcut is not None and self._spliced():
            return
        if self._views and (bulk or self._gathered):
            self._read_views(events)
            return
        recv, size = self._socket.recv, self.read_size
        for _ in range(self._poller.reads):
            try:
                data = recv(size)
            except WOULD_BLOCK:
                if events & (ERROR | HANGUP):
                    self._lose(_LOST)
                return
            except OSError:
                self._lose(_LOST)
                return
            if not data:
                self._end_reading()
                return
            self.protocol.dataReceived(data)
            count = len(data)
            if count < size:
                self._bulk = self._bulk + 1 if count >= _LARGE else 0
                return
            self._bulk += 1
            if not self._reading:
                return

    def _read_views(self, events: int) -> None:
        """Do the same without allocating what is read."""
        scratch, recv_into = self._poller.scratch, self._socket.recv_into
        size = min(self.read_size, len(scratch))
        for _ in range(self._poller.reads):
            try:
                count = recv_into(scratch, size)
            except WOULD_BLOCK:
                if events & (ERROR | HANGUP):
                    self._lose(_LOST)
                return
            except OSError:
                self._lose(_LOST)
                return
            if not count:
                self._end_reading()
                return
            if count < _LARGE and count < size:
                self._bulk = 0
                self.protocol.dataReceived(bytes(scratch[:count]))
                return
            self._bulk += 1
            cast(IViewReceiver, self.protocol).dataReceived(scratch[:count])
            if count < size or not self._reading:
                return

    def _spliced(self) -> bool:
        """Let the kernel move what is there; False if it must be read."""
        try:
            count = cast(Shortcut, self._shortcut).move(self, self.fd)
        except OSError:
            self._lose(_LOST)
            return True
        if count is None:
            self._shortcut = None
            return not self._reading
        self._bulk = _BULK + _PROVEN if count >= _LARGE else self._bulk - 1
        return count > 0

    def _stop_reading(self) -> None:
        self._read_over = True
        self._reading = False

    def _end_reading(self) -> None:
        if self._fault is not None:
            # a write met a reset first, after which reading ends as if in order
            self._lose(self._fault)
            return
        self._eof = True
        self._stop_reading()
        if not IHalfCloseableProtocol.providedBy(self.protocol):
            self._lose(connectionDone)
            return
        cast(IHalfCloseableProtocol, self.protocol).readConnectionLost()
        if self._ended:
            self._lose(connectionDone)
        else:
            self._arm()

    def _hung_up(self, events: int) -> None:
        if events & ERROR or not self._ended or self._eof:
            self._lose(_LOST)
        else:
            # both directions have ended in order, and there may be bytes that the
            # paused protocol has not read: nothing can happen until it resumes
            self._poller.forget(self)
            self._mask = UNWATCHED

    def broken(self) -> bool:
        """Ask the kernel whether the connection was reset."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def fail(self, reason: Failure) -> None:
        """Close at once and tell the protocol."""
        self._lose(reason)

    def _arm(self) -> None:
        mask = READABLE if self._reading else 0
        if self._blocked:
            mask |= WRITABLE
        if self._dry:
            mask &= ~self._dry
        if mask != self._mask and self._started:
            self._mask = mask
            self._poller.watch(self, mask)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._poller.at_turn_end(self._turn_ended)

    def _turn_ended(self) -> None:
        self._scheduled = False
        if self.disconnected:
            return
        try:
            self._settle()
        except BaseException:  # noqa: BLE001 - a bug costs this connection only
            self.log.failure("{protocol} failed", protocol=self.protocol)
            self._lose(Failure())

    def _settle(self) -> None:
        """Send what waits, and do what waits for that."""
        if not self._blocked and (self._pieces or self._pipe is not None):
            self._push()
        if self._fault is not None:
            self._read_last()
            self._lose(self._fault)
        elif self.unsent:
            self._arm()
            if self._producer_paused and self.unsent <= self.resume_mark:
                self._resume_producer()
        else:
            self._drained()

    def _drained(self) -> None:
        self._arm()
        producer = self.producer
        self._take_writes()
        if self._ending and not self._ended:
            self._end_writing()
        if self.disconnected:
            return
        if producer is None:
            if self.disconnecting:
                self._lose(connectionDone)
        elif not self._streaming or self._producer_paused:
            self._resume_producer()

    def _end_writing(self) -> None:
        self._ended = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._lose(_LOST)
            return
        if IHalfCloseableProtocol.providedBy(self.protocol):
            cast(IHalfCloseableProtocol, self.protocol).writeConnectionLost()
        if self._eof or (self.disconnecting and self.producer is None):
            self._lose(connectionDone)

    def _lose(self, reason: Failure) -> None:
        """Release everything and tell the protocol, the first time."""
        if self.disconnected:
            return
        if self._fault is not None:
            reason = self._fault
        self.disconnected = True
        self.connected = False
        self._hush()
        self._stop_reading()
        self._shortcut = None
        self._started = False
        self._poller.drop(self)
        self._mask = UNWATCHED
        if isinstance(reason.value, ConnectionAborted):
            reset(self._socket)
        else:
            close(self._socket)
        producer, self.producer = self.producer, None
        protocol, self.protocol = self.protocol, _NOBODY
        try:
            if producer is not None:
                producer.stopProducing()
        except BaseException:  # noqa: BLE001 - the protocol must be told all the same
            self.log.failure("{producer} failed to stop", producer=producer)
        try:
            protocol.connectionLost(reason)
        except BaseException:  # noqa: BLE001 - the connection is over all the same
            self.log.failure("{protocol} failed at its end", protocol=protocol)

    def _write_failed(self) -> None:
        """Note that the connection is lost; the protocol is told soon.

        What came before the reset is still to be read.
        """
        if self._fault is None:
            self._fault = _LOST
            self._hush()
            self._arm()
            self._schedule()

    def _read_last(self) -> None:
        if self._paced:
            cast(PacedSocket, self._socket).hurry()
        for _ in range(_LAST_READS // self._poller.reads):
            if not self._reading:
                return
            self._read(ERROR)

    # IConsumer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Pause and resume `producer`, or ask it for more if not `streaming`.

        Raises:
            RuntimeError: there is one already.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer "
                f"{self.producer} was never unregistered."
            )
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self._streaming = streaming
        self._producer_paused = False
        if streaming:
            self._mind_mark()
        else:
            self._direct = False
            cast(IPullProducer, producer).resumeProducing()

    def unregisterProducer(self) -> None:
        """Pause and resume nobody; a connection that waited for this may close."""
        self.producer = None
        self._streaming = self._producer_paused = False
        if self._fault is not None or self.disconnected:
            return
        if self.disconnecting:
            self._mute = True
            self._direct = False
        if not self.unsent:
            if self.disconnecting:
                self._schedule()
            else:
                self._take_writes()

    # ISplicing

    def splice_to(self, sink: IByteTransport, tally: Callable[[int], None]) -> None:
        """Let the kernel move bulk bytes to `sink`, past the protocol."""
        if self._pipes is not None and isinstance(sink, TCPTransport):
            self._shortcut = Shortcut(self._pipes, sink, tally)

    # IPaced

    @property
    def rate_bound(self) -> bool:
        """Whether bytes wait for a bucket now."""
        return self._dry != 0

    def pace(
        self,
        clock: IReactorTime,
        inward: Sequence[Bucket],
        outward: Sequence[Bucket],
        *,
        waited: Callable[[float], None] | None = None,
    ) -> None:
        """Let bytes pass as buckets allow; none in either direction = at will."""
        if self.disconnected:
            return
        sock = self._socket
        if self._paced:
            sock = cast(PacedSocket, sock).release()
        self._dry = 0
        self._paced = bool(inward or outward)
        if self._paced:
            # what the kernel moves by itself cannot be held up
            self._shortcut = self._pipes = None
            paced = self._pacing(sock, clock, inward, outward, self._set_dry, waited)
            sock = cast("socket.SocketType", paced)
        self._socket = sock
        self._send = sock.send
        self._arm()

    def _set_dry(self, direction: int, is_dry: bool) -> None:
        self._dry = self._dry | direction if is_dry else self._dry & ~direction
        self._arm()

    # what the kernel has

    def kernel_bytes(self) -> tuple[int, int]:
        """Return the kernel's memory for what is unread and what is unacknowledged."""
        return (0, 0) if self.disconnected else kernel_bytes(self._socket)

    def acknowledged(self) -> int | None:
        """Return how many bytes the peer has acknowledged; None if nobody knows."""
        return None if self.disconnected else acknowledged(self._socket)

    # IPushProducer

    def pauseProducing(self) -> None:
        """Deliver nothing until resumed; a reset is reported all the same."""
        if self._reading:
            self._reading = False
            self._arm()

    def resumeProducing(self) -> None:
        """Deliver again."""
        if not self._reading and not self._read_over:
            self._reading = True
            self._arm()

    def stopProducing(self) -> None:
        """Close the connection; the consumer is gone."""
        self.loseConnection()

    def atTurnEnd(self, call: Callable[[], None]) -> None:
        """Make `call` once this turn of events is over."""
        self._poller.at_turn_end(call)

    # ITCPTransport

    def loseConnection(self) -> None:
        """Send what is unsent, then close.

        Nothing more is read, and nothing more is taken to be written, except from
        a registered producer: the connection stays until that is unregistered.
        """
        if self.disconnecting or self._fault is not None or self.disconnected:
            return
        self.disconnecting = True
        self._stop_reading()
        if self.producer is None:
            self._mute = True
            self._direct = False
            if not self.unsent:
                self._schedule()
                return
        self._arm()

    def loseWriteConnection(self) -> None:
        """Send what is unsent, then end this direction; take nothing more."""
        if self._ending or self._fault is not None or self.disconnected:
            return
        self._ending = self._mute = True
        self._direct = False
        if not self.unsent:
            self._schedule()

    def abortConnection(self) -> None:
        """Drop what is unsent and reset the connection."""
        if self.disconnected or self._fault is not None:
            return
        self._fault = _ABORTED
        self._hush()
        self._stop_reading()
        self._schedule()

    def getHost(self) -> TCPAddress:
        """Return our end's address; the unspecified one if asked too late."""
        if self._host is None:
            if self.disconnected:
                return address_of(("0.0.0.0", 0))
            self._host = address_of(self._socket.getsockname())
        return self._host

    def getPeer(self) -> TCPAddress:
        """Return the other end's address; the unspecified one if asked too late."""
        if self._peer is None:
            try:
                self._peer = address_of(self._socket.getpeername())
            except OSError:
                return address_of(("0.0.0.0", 0))
        return self._peer

    def getTcpNoDelay(self) -> bool:
        """Return whether small writes are sent at once."""
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Choose whether small writes are sent at once."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        """Return whether the kernel looks for a dead peer."""
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Choose whether the kernel looks for a dead peer."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    def getHandle(self) -> socket.SocketType:  # noqa: N802 - Twisted's name
        """Return the socket."""
        return self._socket

    def logPrefix(self) -> str:
        """Return the name of the protocol."""
        return type(self.protocol).__name__
