"""TLS on a socket: bytes that are sealed, and the handshake before them.

A transport of ours is told of its connection when the handshake is over and the far
end is who it should be.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn, cast

from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from OpenSSL.crypto import X509
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
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
from gateway.net.outgoing import Chunk
from gateway.net.poller import READABLE, WRITABLE, TurnPoller
from gateway.net.sockets import reset
from gateway.net.transports import UNWATCHED, TCPTransport
from gateway.policy.budget import Budget

# What `Connection.send` and `recv_into` do around these takes longer than to seal a
# record.  Both are asked whenever these fail, and say why.
ssl_write: Final = lib.SSL_write
ssl_read: Final = lib.SSL_read
ssl_error: Final = lib.SSL_get_error
WANT_READ: Final = lib.SSL_ERROR_WANT_READ
from_buffer: Final = ffi.from_buffer

RECORD_BYTES: Final = 16384  # RFC 8446, section 5.1
_DISCARD_BYTES: Final = 65536
_CORK: Final[int | None] = getattr(socket, "TCP_CORK", None)


class HandshakeError(OSError):
    """The far end is not who it should be, or cannot agree with us on TLS."""


class SecureSocket:
    """A connected socket under TLS, which reads and writes like a plain one.

    What would block raises `BlockingIOError`, what breaks the connection another
    `OSError`; an end without goodbye breaks it, for it may be a truncation.

    Attributes:
        connection: the TLS state.
        wants_write: reading goes on when the socket takes bytes again.
        fault: what broke the connection, in words; empty = nothing did.
        over: the end came right behind bytes, and is told by the next read.
    """

    __slots__ = (
        "_recv",
        "_recv_into",
        "_seal",
        "_socket",
        "_ssl",
        "close",
        "connection",
        "fault",
        "fileno",
        "getpeername",
        "getsockname",
        "getsockopt",
        "over",
        "setsockopt",
        "shutdown",
        "wants_write",
    )

    def __init__(self, sock: socket.SocketType, connection: SSL.Connection) -> None:
        self._socket = sock
        self.connection = connection
        self._seal = connection.send
        self._recv = connection.recv
        self._recv_into = connection.recv_into
        self._ssl = connection._ssl
        # else one read goes on for as long as the far end sends what is no data,
        # such as updates of its key, and everybody waits
        lib.SSL_clear_mode(self._ssl, lib.SSL_MODE_AUTO_RETRY)
        self.wants_write = False
        self.over = False
        self.fault = ""
        self.close = sock.close
        self.fileno = sock.fileno
        self.getpeername = sock.getpeername
        self.getsockname = sock.getsockname
        self.getsockopt = sock.getsockopt
        self.setsockopt = sock.setsockopt
        self.shutdown = sock.shutdown

    def send(self, data: Chunk) -> int:
        """Send what the kernel takes; return how much that was.

        After `BlockingIOError` the same bytes must come first again.
        """
        if 0 < len(data) <= RECORD_BYTES:
            return self._send_records((memoryview(data),))
        return self.sendmsg((data,))

    def sendmsg(self, pieces: Iterable[Chunk]) -> int:
        """Send the pieces as if they were one."""
        if _CORK is None:
            return self._send_records(_records(pieces))
        # several records leave in packets that are as long as can be
        self.setsockopt(socket.IPPROTO_TCP, _CORK, 1)
        try:
            return self._send_records(_records(pieces))
        finally:
            self.setsockopt(socket.IPPROTO_TCP, _CORK, 0)

    def _send_records(self, records: Iterable[Chunk]) -> int:
        seal, ssl = self._seal, self._ssl
        sent = 0
        try:
            for record in records:
                count = ssl_write(ssl, from_buffer(record), len(record))
                # to try once more says what the matter is
                sent += count if count > 0 else seal(record)
        except SSL.WantWriteError:
            if not sent:
                raise BlockingIOError from None
        except SSL.Error as fault:
            self._break(fault)
        return sent

    def recv(self, size: int) -> bytes:
        """Read what there is, up to `size` bytes; nothing = the far end has ended."""
        pieces: list[bytes] = []
        room = size
        while True:
            try:
                data = self._recv(min(room, RECORD_BYTES))
            except SSL.Error as fault:
                if self._ends(fault, before=bool(pieces)):
                    return b""
                break
            if len(data) < RECORD_BYTES and not pieces:
                return data
            pieces.append(data)
            room -= len(data)
            if room < RECORD_BYTES:
                break
        return b"".join(pieces)

    def recv_into(self, view: memoryview, size: int) -> int:
        """Do the same into `view`; return how much it was."""
        ssl = self._ssl
        start = from_buffer(view)
        filled = 0
        while True:
            room = min(size - filled, RECORD_BYTES)
            count: int = ssl_read(ssl, start + filled, room)
            if count <= 0:
                if filled and ssl_error(ssl, count) == WANT_READ:
                    return filled
                try:
                    count = self._recv_into(view[filled:], room)
                except SSL.Error as fault:
                    if self._ends(fault, before=filled > 0):
                        return 0
                    return filled
            # a short first record is mostly all there is; and a whole one must fit,
            # for nobody announces what OpenSSL keeps of it
            if count < RECORD_BYTES and not filled:
                return count
            filled += count
            if size - filled < RECORD_BYTES:
                return filled

    def _ends(self, fault: SSL.Error, *, before: bool) -> bool:
        """Tell whether the far end has ended in order; `before`: bytes came first.

        Raises:
            BlockingIOError: there is nothing for now, and was nothing before.
            OSError: the connection is broken, and nothing was before.
        """
        if isinstance(fault, SSL.WantWriteError):
            self.wants_write = True
        elif not isinstance(fault, SSL.WantReadError):
            if before:
                self.over = True
                return False
            if isinstance(fault, SSL.ZeroReturnError):
                return True
            self._break(fault)
        if not before:
            raise BlockingIOError from None
        return False

    def _break(self, fault: SSL.Error) -> NoReturn:
        self.fault = words_of(fault)
        raise ConnectionResetError(self.fault) from None

    def discard(self) -> None:
        """Throw away what has arrived, before an orderly close.

        OpenSSL's servers send session tickets that nobody asked for; closing on top
        of those would reset the connection, and what was sent last would be lost.
        """
        with contextlib.suppress(OSError):
            self._socket.recv(_DISCARD_BYTES)

    def say_goodbye(self) -> bool:
        """Tell the far end that nothing more comes; False = try again later."""
        try:
            self.connection.shutdown()
        except (SSL.WantWriteError, SSL.WantReadError):
            return False
        except SSL.Error as fault:
            self._break(fault)
        return True


def _records(pieces: Iterable[Chunk]) -> Iterator[Chunk]:
    """Cut the pieces into what fills one record each; the last may be short.

    Only what lies across the border of two pieces is copied.
    """
    parts: list[Chunk] = []
    gathered = 0
    for piece in pieces:
        view = memoryview(piece)
        size = len(view)
        start = 0
        if gathered:
            start = min(RECORD_BYTES - gathered, size)
            parts.append(view[:start])
            gathered += start
            if gathered < RECORD_BYTES:
                continue
            yield b"".join(parts)
            parts, gathered = [], 0
        while size - start >= RECORD_BYTES:
            yield view[start : start + RECORD_BYTES]
            start += RECORD_BYTES
        if start < size:
            parts, gathered = [view[start:]], size - start
    if gathered:
        yield parts[0] if len(parts) == 1 else b"".join(parts)


def words_of(fault: SSL.Error) -> str:
    """Say what OpenSSL found wrong."""
    if isinstance(fault, SSL.SysCallError):
        number, text = fault.args[0], fault.args[1]
        return "the connection ended without a goodbye" if number == -1 else str(text)
    if isinstance(fault, SSL.ZeroReturnError):
        return "the far end has ended the connection"
    reasons = [entry[2] for entry in fault.args[0] if entry[2]] if fault.args else []
    return ", ".join(dict.fromkeys(reasons)) or "TLS failed"


@implementer(ISSLTransport, ICertified)
class TLSTransport(TCPTransport):
    """A connection under TLS whose handshake is over.

    Attributes:
        peer_names: what the far end's certificate calls it; empty without one.
    """

    __slots__ = ("_said_goodbye", "_secure", "peer_names")

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
        certificate = self.getPeerCertificate()
        self.peer_names = frozenset() if certificate is None else names_of(certificate)

    def getPeerCertificate(self) -> X509 | None:  # noqa: N802 - Twisted's name
        """Return the far end's certificate, or None."""
        return self._secure.connection.get_peer_certificate()

    def handle(self, events: int) -> None:
        """Act on what the poller saw; either direction may have waited for it."""
        if events & WRITABLE and self._secure.wants_write:
            self._secure.wants_write = False
            events |= READABLE
            self._arm()
        super().handle(events)

    def _read(self, events: int) -> None:
        super()._read(events)
        if self._secure.over and self._reading:
            self._secure.over = False
            super()._read(events)
        if self._secure.wants_write:
            self._arm()

    def _arm(self) -> None:
        if self._secure.wants_write:
            mask = WRITABLE  # what is readable cannot be read until then
        else:
            mask = READABLE if self._reading else 0
            if self._blocked:
                mask |= WRITABLE
        if mask != self._mask and self._started:
            self._mask = mask
            self._poller.watch(self, mask)

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


class Handshake:
    """One handshake, until it has succeeded, failed or been given up.

    Attributes:
        fd: descriptor of the socket.
        secure: the socket.
    """

    __slots__ = (
        "_clock",
        "_done",
        "_failed",
        "_mask",
        "_over",
        "_poller",
        "_seconds",
        "_timeout",
        "fd",
        "secure",
    )

    def __init__(
        self,
        poller: TurnPoller,
        clock: IReactorTime,
        secure: SecureSocket,
        seconds: float,
        done: Callable[[Handshake, int], None],
        failed: Callable[[Handshake, OSError], None],
        mask: int = UNWATCHED,
    ) -> None:
        """Prepare; nothing happens before `begin`.

        Args:
            poller: watches the socket.
            clock: for the deadline.
            secure: the socket.
            seconds: until it fails.
            done: called with what the poller watches the socket for; the transport
                takes this handshake's place there.
            failed: called instead, when the socket is closed.
            mask: what the poller watches the socket for already, on our behalf.
        """
        self._poller = poller
        self._clock = clock
        self.secure = secure
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
        self._step()

    def handle(self, events: int) -> None:
        """Go on."""
        self._step()

    def _step(self) -> None:
        try:
            self.secure.connection.do_handshake()
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
        rejected: those that had to make room, or were not admitted.
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
        self._files = files
        self._state = state_of(files)
        self._context = server_context(files)

    def secure(self, sock: socket.SocketType) -> SecureSocket:
        """Return an accepted socket as one that a client may shake hands with."""
        connection = SSL.Connection(self._context, cast("socket.socket", sock))
        connection.set_accept_state()
        return SecureSocket(sock, connection)

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

    def check(self) -> None:
        """Return if the files can be used.

        Raises:
            CertificateError: says which file, and why.
        """
        self._context()

    def _context(self) -> SSL.Context:
        pinned = self._fingerprint is not None and self._files.ca_file is None
        return client_context(self._files, verify=not pinned)

    def secure(self, sock: socket.SocketType) -> SecureSocket:
        """Return a connected socket as one that shakes hands with a server.

        Raises:
            CertificateError: a file cannot be used.
        """
        connection = SSL.Connection(self._context(), cast("socket.socket", sock))
        connection.set_connect_state()
        if family_of(self._name) is None:
            connection.set_tlsext_host_name(self._name.encode("idna"))
        return SecureSocket(sock, connection)

    def objection(self, secure: SecureSocket) -> str | None:
        """Return None if the server is who it should be, else who it is not."""
        certificate = secure.connection.get_peer_certificate()
        return check_server(certificate, self._name, self._fingerprint)
