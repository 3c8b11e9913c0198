"""Listen on a TCP port and accept what arrives."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import IListening
from gateway.net.addresses import TCPAddress, address_of, family_of
from gateway.net.poller import READABLE, TurnPoller
from gateway.net.sockets import acceptor, queue_little, reset, set_options
from gateway.net.splice import PipePool
from gateway.net.tls import Handshake, HandshakeQueue, ServerTLS, TLSTransport
from gateway.net.transports import READ_SIZE, TCPTransport
from gateway.policy.budget import Budget
from gateway.policy.shares import Shares

_BACKLOG: Final = 4096
_ACCEPTS: Final = 64  # connections of one event,
_ACCEPT_SECONDS: Final = 0.002  # fewer if they take long: others wait meanwhile
_PAUSE_SECONDS: Final = 0.2  # after the process ran out of descriptors or memory
_LOG_SECONDS: Final = 10.0  # between two lines that say so
_NOT_THIS_ONE: Final = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM})
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
_CROWDED: Final = "too many were under way"
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


def open_listener(address: str, port: int) -> socket.socket:
    """Return a non-blocking socket that listens.

    Args:
        address: literal address; empty = all interfaces, IPv6 and IPv4.
        port: 0 = let the system choose.

    Raises:
        OSError: as the system says it.
    """
    if address:
        family = family_of(address)
        if family is None:
            raise OSError(errno.EADDRNOTAVAIL, f"not a literal address: {address!r}")
        return _bound(family, address, port, only_v6=True)
    if socket.has_ipv6:
        try:
            return _bound(socket.AF_INET6, "::", port, only_v6=False)
        except OSError as fault:
            if fault.errno not in _NO_IPV6:
                raise
    return _bound(socket.AF_INET, "0.0.0.0", port, only_v6=True)


def _bound(
    family: socket.AddressFamily, address: str, port: int, *, only_v6: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        set_options(sock)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _open_reserve() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # it is tried again before it is needed the next time


@implementer(IListening)
class TCPListening:
    """One listening socket."""

    log = Logger()

    def __init__(
        self,
        poller: TurnPoller,
        clock: IReactorTime,
        sock: socket.socket,
        factory: IProtocolFactory,
        *,
        gathered: bool,
        read_size: int = READ_SIZE,
        pipes: PipePool | None = None,
        memory: Budget | None = None,
    ) -> None:
        self._poller = poller
        self._clock = clock
        self._socket = sock
        self._accept = acceptor(sock)
        self.fd = sock.fileno()
        self._factory = factory
        self._gathered = gathered
        if gathered:
            queue_little(sock)
        self._read_size = read_size
        self._pipes = pipes
        self._memory = memory
        self._address = address_of(sock.getsockname())
        # given up for a moment to accept and close what there is no other for
        self._reserve = _open_reserve()
        self._resume: IDelayedCall | None = None
        self._logged_at: float | None = None
        self._unlogged = 0
        self._accepting = self._stopped = False

    def getHost(self) -> TCPAddress:
        """Return the address that is listened on."""
        return self._address

    def startAccepting(self) -> None:
        """Hand connections to the factory from now on."""
        if self._accepting or self._stopped:
            return
        self._accepting = True
        self._factory.doStart()
        self._poller.watch(self, READABLE)

    def stopListening(self) -> None:
        """Release the port at once; established connections live on."""
        if self._stopped:
            return
        self._stopped = True
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        self._poller.forget(self)
        self._socket.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        if self._accepting:
            self._accepting = False
            self._factory.doStop()

    def handle(self, events: int) -> None:
        """Accept a bounded number of connections."""
        accept = self._accept
        seconds = self._clock.seconds
        deadline = seconds() + _ACCEPT_SECONDS
        for _ in range(_ACCEPTS):
            try:
                sock, name = accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as fault:
                if fault.errno in _NOT_THIS_ONE:
                    continue
                self._exhausted(fault)
                return
            self._accepted(sock, address_of(name))
            if not self._accepting or seconds() >= deadline:
                return

    def fail(self, reason: Failure) -> None:
        """Stop; a bug of one connection never comes here, the reactor's end does."""
        self.stopListening()

    def broken(self) -> bool:
        """Return False: nobody resets a listening socket."""
        return False

    def _accepted(self, sock: socket.SocketType, peer: TCPAddress) -> None:
        try:
            sock.setblocking(False)
            protocol = self._factory.buildProtocol(peer)
        except BaseException:  # noqa: BLE001 - a bug costs this connection only
            self.log.failure("no protocol for {peer}", peer=peer)
            protocol = None
        if protocol is None:
            reset(sock)
            return
        transport = TCPTransport(
            self._poller,
            sock,
            peer,
            gathered=self._gathered,
            read_size=self._read_size,
            pipes=self._pipes,
            memory=self._memory,
        )
        transport.start(protocol)

    def _exhausted(self, fault: OSError) -> None:
        """Shed one connection if a descriptor is what lacks, and wait a little."""
        if fault.errno in _NO_DESCRIPTOR:
            self._shed()
        self._report(fault)
        self._poller.watch(self, 0)
        self._resume = self._clock.callLater(_PAUSE_SECONDS, self._accept_again)

    def _shed(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        try:
            sock, _name = self._socket.accept()
        except OSError:
            pass  # another thread or process took the descriptor
        else:
            reset(sock)
        self._reserve = _open_reserve()

    def _report(self, fault: OSError) -> None:
        self._unlogged += 1
        now = self._clock.seconds()
        if self._logged_at is not None and now - self._logged_at < _LOG_SECONDS:
            return
        self.log.error(
            "cannot accept on {host} port {port}: {fault}; {count} time(s) since "
            "last said",
            host=self._address.host,
            port=self._address.port,
            fault=fault,
            count=self._unlogged,
        )
        self._logged_at = now
        self._unlogged = 0

    def _accept_again(self) -> None:
        self._resume = None
        if self._reserve is None:
            self._reserve = _open_reserve()
        self._poller.watch(self, READABLE)


class TLSListening(TCPListening):
    """One listening socket whose connections shake hands first.

    When too many handshakes are under way the oldest of the address with the most of
    them makes room. An honest one takes milliseconds, so neither those that stall nor
    a flood from another address keeps it out.
    """

    def __init__(
        self,
        poller: TurnPoller,
        clock: IReactorTime,
        sock: socket.socket,
        factory: IProtocolFactory,
        *,
        tls: ServerTLS,
        gathered: bool,
        read_size: int = READ_SIZE,
        memory: Budget | None = None,
    ) -> None:
        super().__init__(
            poller,
            clock,
            sock,
            factory,
            gathered=gathered,
            read_size=read_size,
            memory=memory,
        )
        self._tls = tls
        self._under_way: Shares[Handshake] = Shares()
        self._steps = HandshakeQueue(clock)

    def stopListening(self) -> None:
        """Release the port, and give up what has not shaken hands."""
        super().stopListening()
        waiting, self._under_way = self._under_way, Shares()
        self._tls.active -= len(waiting)
        for handshake in waiting:
            handshake.cancel()

    def _accepted(self, sock: socket.SocketType, peer: TCPAddress) -> None:
        tls = self._tls
        why = None if tls.admits(peer.host) else "it is banned"
        if why is None and not self._make_room(peer.host):
            why = f"TLS handshake: {_CROWDED}"
        if why is not None:
            tls.rejected += 1
            tls.refused(peer.host, why)
            reset(sock)
            return
        try:
            sock.setblocking(False)
            secure = tls.secure(sock)
        except BaseException:  # noqa: BLE001 - a bug costs this connection only
            self.log.failure("no handshake with {peer}", peer=peer)
            reset(sock)
            return
        handshake = Handshake(
            self._poller,
            self._clock,
            secure,
            peer,
            tls.seconds,
            self._done,
            self._failed,
            queue=self._steps,
        )
        self._under_way.add(handshake, peer.host, self._clock.seconds())
        tls.total += 1
        tls.active += 1
        handshake.begin()

    def _make_room(self, host: str) -> bool:
        """Give up a handshake if one must, for one from `host`; False = none may."""
        tls = self._tls
        if not tls.limit or len(self._under_way) < tls.limit:
            return True
        victim = self._under_way.victim(host, self._clock.seconds())
        if victim is None:
            return False
        tls.rejected += 1
        self._take_out(victim)
        victim.cancel()
        tls.refused(victim.peer.host, f"TLS handshake: {_CROWDED}")
        return True

    def _take_out(self, handshake: Handshake) -> None:
        self._tls.active -= 1
        self._under_way.discard(handshake)

    def _failed(self, handshake: Handshake, fault: OSError) -> None:
        self._take_out(handshake)
        self._tls.refused(handshake.peer.host, f"TLS handshake: {fault}")

    def _done(self, handshake: Handshake, mask: int) -> None:
        self._take_out(handshake)
        peer = handshake.peer
        try:
            protocol = self._factory.buildProtocol(peer)
        except BaseException:  # noqa: BLE001 - a bug costs this connection only
            self.log.failure("no protocol for {peer}", peer=peer)
            protocol = None
        if protocol is None:
            handshake.drop()
            return
        transport = TLSTransport(
            self._poller,
            handshake.secure,
            peer,
            gathered=self._gathered,
            read_size=self._read_size,
            memory=self._memory,
        )
        self._poller.hand_over(handshake, transport)
        transport.start(protocol, mask)
