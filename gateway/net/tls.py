"""TLS on a connection: the handshake, and the transport after it.

A transport of ours is told of its connection when the handshake is over and the far
end is who it should be.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.interfaces import ITLS, ICertified
from gateway.net.addresses import TCPAddress, family_of
from gateway.net.certificates import (
    CertificateFiles,
    check_server,
    client_context,
    names_of,
    server_context,
    state_of,
)
from gateway.net.keys import CertificateError
from gateway.net.poller import ERROR, HANGUP, READABLE, WRITABLE, TurnPoller
from gateway.net.sealed import (
    RECORD_BYTES,
    PacedSecureSocket,
    SecureSocket,
    secure_socket,
    words_of,
)
from gateway.net.sockets import reset
from gateway.net.transports import UNWATCHED, TCPTransport
from gateway.policy.budget import Budget

STEPS_SECONDS: Final = 0.002  # for steps of handshakes in one turn of the loop
_LAST: Final = ERROR | HANGUP


class HandshakeError(OSError):
    """The far end is not who it should be, or cannot agree with us on TLS."""


@implementer(ISSLTransport, ICertified)
class TLSTransport(TCPTransport):
    """A connection under TLS whose handshake is over.

    Attributes:
        peer_names: what the far end's certificate calls it; empty without one.
    """

    __slots__ = ("_reading_soon", "_said_goodbye", "_secure", "peer_names")

    _pacing = PacedSecureSocket

    def __init__(
        self,
        poller: TurnPoller,
        secure: SecureSocket,
        peer: TCPAddress,
        *,
        gathered: bool,
        read_size: int,
        memory: Budget | None,
    ) -> None:
        """See `TCPTransport`; a read has room for a whole record."""
        super().__init__(
            poller,
            cast("socket.SocketType", secure),
            peer,
            gathered=gathered,
            read_size=max(read_size, RECORD_BYTES),
            memory=memory,
        )
        self._secure = secure
        self._said_goodbye = False
        self._reading_soon = False
        certificate = self.getPeerCertificate()
        self.peer_names = frozenset() if certificate is None else names_of(certificate)

    def getPeerCertificate(self) -> X509 | None:  # noqa: N802 - Twisted's name
        """Return the far end's certificate, or None."""
        return self._secure.connection.get_peer_certificate()

    def handle(self, events: int) -> None:
        """Act on what the poller saw; either direction may have waited for it."""
        if events & WRITABLE and self._secure.awaits == WRITABLE:
            events |= READABLE
        super().handle(events)

    def _read(self, events: int) -> None:
        secure = self._secure
        awaited = secure.awaits
        if events & _LAST and (not awaited or secure.unread()):
            # a read ends behind each record that carries no data, and the last words
            # may follow; the poller says again that the far end is gone
            events &= ~_LAST
        super()._read(events)
        if secure.awaits != READABLE or awaited != READABLE:
            self._arm()

    def _arm(self) -> None:
        mask = 0
        if self._reading and not self._dry & READABLE:
            mask = self._secure.awaits
            if not mask:
                self._read_soon()
                mask = READABLE
        if self._blocked and not self._dry & WRITABLE:
            mask |= WRITABLE
        if mask != self._mask and self._started:
            self._mask = mask
            self._poller.watch(self, mask)

    def takes_from(self, producer: object) -> bool:
        """Return False: what the kernel moves by itself would not be encrypted."""
        return False

    def _read_soon(self) -> None:
        """Read what no poll announces, once this turn is over."""
        if not self._reading_soon and self._started:
            self._reading_soon = True
            self._poller.at_turn_end(self._read_unannounced)

    def _read_unannounced(self) -> None:
        self._reading_soon = False
        if not self._reading or self._dry & READABLE or self._secure.awaits:
            return  # or it was read meanwhile
        try:
            self._read(READABLE)
        except BaseException:  # noqa: BLE001 - a bug costs this connection only
            self.log.failure("{protocol} failed", protocol=self.protocol)
            self._lose(Failure())

    def _drained(self) -> None:
        """Say goodbye before what ends this direction."""
        leaves = self._ending or (self.disconnecting and self.producer is None)
        if leaves and not self._said_goodbye:
            try:
                self._said_goodbye = self._secure.say_goodbye()
            except OSError:
                self._write_failed()
                return
            if not self._said_goodbye:
                self._blocked = True
                self._arm()
                return
        super()._drained()

    def _lose(self, reason: Failure) -> None:
        if self._secure.fault and reason.check(ConnectionLost):
            reason = Failure(ConnectionLost(f"TLS: {self._secure.fault}"))
        elif self._said_goodbye:
            self._secure.discard()
        super()._lose(reason)


class HandshakeQueue:
    """Take the steps of handshakes a few per turn of the event loop, oldest first.

    A step may cost a millisecond of processor time, so a flood of them would hold up
    the connections that are established.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: OrderedDict[Handshake, None] = OrderedDict()
        self._call: IDelayedCall | None = None

    def add(self, handshake: Handshake) -> None:
        """Take a step of a handshake soon; no error if that is planned already."""
        self._waiting[handshake] = None
        self._plan()

    def discard(self, handshake: Handshake) -> None:
        """Take no step of a handshake; no error if none is planned."""
        self._waiting.pop(handshake, None)
        if not self._waiting and self._call is not None:
            self._call.cancel()
            self._call = None

    def _plan(self) -> None:
        if self._waiting and self._call is None:
            self._call = self._clock.callLater(0, self._take_steps)

    def _take_steps(self) -> None:
        self._call = None
        seconds = self._clock.seconds
        deadline = seconds() + STEPS_SECONDS
        while self._waiting:
            handshake, _ = self._waiting.popitem(last=False)
            try:
                handshake.step()
            except BaseException:  # noqa: BLE001 - a bug costs this connection only
                self._log.failure("{handshake} failed", handshake=handshake)
                handshake.fail(Failure())
            if seconds() >= deadline:
                break
        self._plan()


class Handshake:
    """One handshake, until it has succeeded, failed or been given up.

    Attributes:
        fd: descriptor of the socket.
        secure: the socket.
        peer: address of the far end.
    """

    __slots__ = (
        "_clock",
        "_done",
        "_failed",
        "_mask",
        "_over",
        "_poller",
        "_queue",
        "_seconds",
        "_timeout",
        "fd",
        "peer",
        "secure",
    )

    def __init__(
        self,
        poller: TurnPoller,
        clock: IReactorTime,
        secure: SecureSocket,
        peer: TCPAddress,
        seconds: float,
        done: Callable[[Handshake, int], None],
        failed: Callable[[Handshake, OSError], None],
        mask: int = UNWATCHED,
        queue: HandshakeQueue | None = None,
    ) -> None:
        """Prepare; nothing happens before `begin`.

        Args:
            poller: watches the socket.
            clock: for the deadline.
            secure: the socket.
            peer: address of the far end.
            seconds: until it fails.
            done: called with what the poller watches the socket for; the transport
                takes this handshake's place there.
            failed: called instead, when the socket is closed.
            mask: what the poller watches the socket for already, on our behalf.
            queue: of the steps of a listener, where the far end speaks first; None =
                steps are taken at once.
        """
        self._poller = poller
        self._queue = queue
        self._clock = clock
        self.secure = secure
        self.peer = peer
        self.fd = secure.fileno()
        self._seconds = seconds
        self._done = done
        self._failed = failed
        self._mask = mask
        self._over = False
        self._timeout: IDelayedCall | None = None

    def begin(self) -> None:
        """Do what can be done now; the outcome may come before this returns."""
        self._timeout = self._clock.callLater(self._seconds, self._timed_out)
        if self._queue is None:
            self.step()
        else:
            self._watch(READABLE)

    def handle(self, events: int) -> None:
        """Go on, at once or when it is this handshake's turn."""
        if self._queue is None:
            self.step()
        else:
            self._watch(0)
            self._queue.add(self)

    def step(self) -> None:
        """Go on as far as possible now."""
        try:
            self.secure.do_handshake()
        except SSL.WantReadError:
            self._watch(READABLE)
        except SSL.WantWriteError:
            self._watch(WRITABLE)
        except SSL.Error as fault:
            words = self._words(fault)
            self._end()
            self._poller.forget(self)
            # not reset: the far end is to hear why
            self.secure.discard()
            self.secure.close()
            self._failed(self, HandshakeError(words))
        else:
            self._finish()

    def _words(self, fault: SSL.Error) -> str:
        complaint = self.secure.connection.get_app_data()
        return complaint if isinstance(complaint, str) else words_of(fault)

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._poller.watch(self, mask)

    def _finish(self) -> None:
        self._end()
        self._done(self, self._mask)

    def _timed_out(self) -> None:
        self._fail(HandshakeError(f"no TLS handshake within {self._seconds:g} seconds"))

    def _fail(self, fault: OSError) -> None:
        if not self._over:
            self.cancel()
            self._failed(self, fault)

    def _end(self) -> None:
        self._over = True
        if self._queue is not None:
            self._queue.discard(self)
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()

    def cancel(self) -> None:
        """Give it up: nobody is told anything more; may be called twice."""
        if not self._over:
            self._end()
            self.drop()

    def drop(self) -> None:
        """Close the socket; nobody has a use for it."""
        self._poller.forget(self)
        reset(cast("socket.SocketType", self.secure))

    def fail(self, reason: Failure) -> None:
        """Give up: a bug, or the reactor stops."""
        if self._over:
            self.drop()  # whoever was told of its end failed
        self._fail(HandshakeError(reason.getErrorMessage()))

    def broken(self) -> bool:
        """Return False: a handshake is never idle."""
        return False


class ReadFiles(NamedTuple):
    """The files of a listener, as they were read.

    Attributes:
        files: their names.
        state: tells whether they have changed since.
        context: what handshakes begin with.
    """

    files: CertificateFiles
    state: object
    context: SSL.Context


@implementer(ITLS)
class ServerTLS:
    """Whom a listener presents itself as, and whom it lets in; can be read anew.

    Connections, and handshakes that are under way, keep what they began with.

    Attributes:
        limit: handshakes under way at once; 0 = unlimited.
        seconds: that a handshake may take.
        refused: told of the address and the reason when one comes to nothing.
        admits: tells whether an address may begin one.
        active: handshakes under way now.
        total: handshakes ever begun.
        rejected: those that had to make room, found none, or were not admitted.
    """

    def __init__(
        self,
        files: CertificateFiles,
        *,
        limit: int,
        seconds: float,
        refused: Callable[[str, str], None],
        admits: Callable[[str], bool] = lambda address: True,
    ) -> None:
        """Read the files.

        Raises:
            CertificateError: says which file, and why.
        """
        self.limit = limit
        self.seconds = seconds
        self.refused = refused
        self.admits = admits
        self.active = self.total = self.rejected = 0
        self._files, self._state, self._context = self.read(files)

    @staticmethod
    def read(files: CertificateFiles) -> ReadFiles:
        """Read files without using them.

        Raises:
            CertificateError: says which file, and why.
        """
        return ReadFiles(files, state_of(files), server_context(files))

    def configure(self, found: ReadFiles, limit: int, seconds: float) -> None:
        """Use other files and limits for the handshakes that begin from now on."""
        self._files, self._state, self._context = found
        self.limit = limit
        self.seconds = seconds

    def secure(self, sock: socket.SocketType) -> SecureSocket:
        """Return an accepted socket as one that a client may shake hands with."""
        secure = secure_socket(sock, self._context)
        secure.connection.set_accept_state()
        return secure

    def read_again(self) -> bool:
        """Read the files if they have changed; tell whether they had.

        Raises:
            CertificateError: they cannot be used; what was read before stays.
        """
        state = state_of(self._files)
        if state == self._state:
            return False
        self._state = state  # a fault is told once, not at every look
        self._context = server_context(self._files)
        return True


@implementer(ITLS)
class ClientTLS:
    """Whom we present ourselves as to one server, and who that must be."""

    _log = Logger()

    def __init__(
        self,
        files: CertificateFiles,
        name: str,
        *,
        fingerprint: str | None = None,
        seconds: float = 10.0,
    ) -> None:
        """Remember the wishes; the files are read at each connection.

        Args:
            files: our own certificate, if any, and whom we trust.
            name: host name or literal address that the server's certificate is for.
            fingerprint: SHA-256 of the server's very certificate, 64 hex digits; it
                stands in for the name, and also for the chain without `ca_file`.
            seconds: that a handshake may take.
        """
        self.seconds = seconds
        self._files = files
        self._name = name
        self._fingerprint = fingerprint
        self._context: SSL.Context | None = None

    def check(self) -> None:
        """Read the files.

        Raises:
            CertificateError: says which file, and why; what was read before stays.
        """
        pinned = self._fingerprint is not None and self._files.ca_file is None
        self._context = client_context(self._files, verify=not pinned)

    def _read(self) -> SSL.Context:
        """Return what handshakes begin with, from the last files that were right."""
        try:
            self.check()
        except CertificateError as fault:
            if self._context is None:
                raise
            self._log.error(
                "files of TLS: {fault}; the old ones are used",
                fault=fault,
                log_same=("files of TLS", str(fault)),
            )
        assert self._context is not None
        return self._context

    def secure(self, sock: socket.SocketType) -> SecureSocket:
        """Return a connected socket as one that shakes hands with a server.

        Raises:
            CertificateError: a file cannot be used.
        """
        secure = secure_socket(sock, self._read())
        secure.connection.set_connect_state()
        if family_of(self._name) is None:
            secure.connection.set_tlsext_host_name(self._name.encode("idna"))
        return secure

    def objection(self, secure: SecureSocket) -> str | None:
        """Return None if the server is who it should be, else who it is not."""
        certificate = secure.connection.get_peer_certificate()
        return check_server(certificate, self._name, self._fingerprint)
