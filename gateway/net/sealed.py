"""A socket under TLS that reads and writes like a plain one."""

from __future__ import annotations

import contextlib
import socket
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn, cast

from OpenSSL import SSL

from gateway.net.outgoing import Chunk
from gateway.net.pacing import PacedSocket
from gateway.net.poller import READABLE, WRITABLE

RECORD_BYTES: Final = 16384  # RFC 8446, section 5.1
RUN_BYTES: Final = 4 * RECORD_BYTES  # of one call; also how finely progress is seen
_DISCARD_BYTES: Final = 65536
_CORK: Final[int | None] = getattr(socket, "TCP_CORK", None)


class PrivateParts(NamedTuple):
    """Parts of pyOpenSSL that it does not document.

    What `Connection.send` and `recv_into` do around these takes longer than to encrypt
    a record.

    Attributes:
        write: SSL_write, of a `Connection._ssl`, a buffer and its length.
        read: SSL_read, of the same.
        error: SSL_get_error, of a `Connection._ssl` and a result.
        want_read: the error that says that nothing has arrived.
        from_buffer: makes a buffer of bytes or of a view.
        clear_modes: makes reads end behind each record, and one call write all of a
            run or be made again.
    """

    write: Callable[[Any, Any, int], int]
    read: Callable[[Any, Any, int], int]
    error: Callable[[Any, int], int]
    want_read: int
    from_buffer: Callable[[Any], Any]
    clear_modes: Callable[[Any], None]


@cache
def private_parts() -> PrivateParts | None:
    """Return what this version of pyOpenSSL has; None if any part is missing."""
    try:
        from OpenSSL._util import ffi, lib

        clear_mode = lib.SSL_clear_mode
        # else one read goes on for as long as the far end sends what is no data, such
        # as updates of its key, and everybody waits
        auto_retry = lib.SSL_MODE_AUTO_RETRY
        partial_write = lib.SSL_MODE_ENABLE_PARTIAL_WRITE

        def clear_modes(ssl: Any) -> None:  # noqa: ANN401 - pyOpenSSL gives it no type
            clear_mode(ssl, auto_retry)
            clear_mode(ssl, partial_write)

        clear_modes(SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)._ssl)
        return PrivateParts(
            write=lib.SSL_write,
            read=lib.SSL_read,
            error=lib.SSL_get_error,
            want_read=lib.SSL_ERROR_WANT_READ,
            from_buffer=ffi.from_buffer,
            clear_modes=clear_modes,
        )
    except (ImportError, AttributeError, TypeError):
        return None


def secure_socket(sock: socket.SocketType, context: SSL.Context) -> SecureSocket:
    """Return a connected socket as one under TLS, before its handshake."""
    parts = private_parts()
    if parts is not None:
        connection = SSL.Connection(context, cast("socket.socket", sock))
        return DirectSocket(sock, connection, parts)
    from gateway.net.buffered import BufferedSocket

    return BufferedSocket(sock, SSL.Connection(context, None))


class SecureSocket:
    """A connected socket under TLS, which reads and writes like a plain one.

    What would block raises `BlockingIOError`, what breaks the connection another
    `OSError`; an end without goodbye breaks it, for it may be a truncation.

    Attributes:
        connection: the TLS state.
        awaits: what must happen before the next read: `READABLE` as a rule, `WRITABLE`
            if TLS has an answer of its own to send first, 0 if nothing must, because
            there is more to read that no poll announces.
        owed: bytes that the next send must begin with, cut as they like; they have been
            begun to be sent.
        fault: what broke the connection, in words; empty = nothing did.
    """

    __slots__ = (
        "_socket",
        "awaits",
        "close",
        "connection",
        "fault",
        "fileno",
        "getpeername",
        "getsockname",
        "getsockopt",
        "owed",
        "setsockopt",
        "shutdown",
    )

    def __init__(self, sock: socket.SocketType, connection: SSL.Connection) -> None:
        self._socket = sock
        self.connection = connection
        self.owed = 0
        self.awaits = READABLE
        self.fault = ""
        self.close = sock.close
        self.fileno = sock.fileno
        self.getpeername = sock.getpeername
        self.getsockname = sock.getsockname
        self.getsockopt = sock.getsockopt
        self.setsockopt = sock.setsockopt
        self.shutdown = sock.shutdown

    @abstractmethod
    def do_handshake(self) -> None:
        """Go on with the handshake; return when it is over.

        Raises:
            SSL.Error: `WantReadError` and `WantWriteError` say what it waits for,
                others why it has failed.
        """

    @abstractmethod
    def recv(self, size: int) -> bytes:
        """Read what there is, up to `size` bytes; nothing = the far end has ended."""

    @abstractmethod
    def recv_into(self, view: memoryview, size: int) -> int:
        """Do the same into `view`; return how much it was."""

    @abstractmethod
    def say_goodbye(self) -> bool:
        """Tell the far end that nothing more comes; False = try again later."""

    @abstractmethod
    def _send_run(self, run: Chunk) -> int:
        """Encrypt and send all of a run."""

    def send(self, data: Chunk) -> int:
        """Send what the kernel takes; return how much that was.

        Whatever comes back, `owed` says what must come first the next time.
        """
        size = len(data)
        if size > RUN_BYTES or self.owed or not size:
            return self.sendmsg((data,))
        if size <= RECORD_BYTES:
            return self._send_run(data)
        self._cork(1)
        try:
            return self._send_run(data)
        finally:
            self._cork(0)

    def sendmsg(self, pieces: Iterable[Chunk]) -> int:
        """Send the pieces as if they were one."""
        send_run = self._send_run
        sent = 0
        self._cork(1)
        try:
            for run in _runs(pieces, self.owed):
                sent += send_run(run)
        except BlockingIOError:
            if not sent:
                raise
        finally:
            self._cork(0)
        return sent

    def _cork(self, on: int) -> None:
        """Let records leave in packets that are as long as can be."""
        if _CORK is not None:
            self.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    def _ends(self, fault: SSL.Error, *, before: bool) -> bool:
        """Return whether the far end has ended in order; `before`: bytes came first.

        Raises:
            BlockingIOError: there is nothing for now, and was nothing before.
            OSError: the connection is broken, and nothing was before.
        """
        if isinstance(fault, SSL.WantWriteError):
            self.awaits = WRITABLE
        elif not isinstance(fault, SSL.WantReadError):
            if before:
                self.awaits = 0  # the next read tells the end
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

    def unread(self) -> bool:
        """Return whether the kernel has something for us, be it the end."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return False
        return True

    def discard(self) -> None:
        """Throw away what has arrived, before an orderly close.

        OpenSSL's servers send session tickets that nobody asked for; closing on top
        of those would reset the connection, and what was sent last would be lost.
        """
        with contextlib.suppress(OSError):
            self._socket.recv(_DISCARD_BYTES)


class DirectSocket(SecureSocket):
    """OpenSSL reads and writes the socket itself."""

    __slots__ = (
        "_error",
        "_from_buffer",
        "_read",
        "_recv",
        "_recv_into",
        "_seal",
        "_ssl",
        "_want_read",
        "_write",
    )

    def __init__(
        self, sock: socket.SocketType, connection: SSL.Connection, parts: PrivateParts
    ) -> None:
        super().__init__(sock, connection)
        self._ssl = connection._ssl
        parts.clear_modes(self._ssl)
        self._write = parts.write
        self._read = parts.read
        self._error = parts.error
        self._want_read = parts.want_read
        self._from_buffer = parts.from_buffer
        # asked whenever these fail, to say why
        self._seal = connection.send
        self._recv = connection.recv
        self._recv_into = connection.recv_into

    def do_handshake(self) -> None:
        """Go on with the handshake; return when it is over."""
        self.connection.do_handshake()

    def _send_run(self, run: Chunk) -> int:
        size = len(run)
        if self._write(self._ssl, self._from_buffer(run), size) != size:
            try:
                # to try once more says what the matter is
                self._seal(run)
            except SSL.WantWriteError:
                # how much of it has left is between OpenSSL and the kernel
                self.owed = size
                raise BlockingIOError from None
            except SSL.Error as fault:
                self._break(fault)
        self.owed = 0
        return size

    def recv(self, size: int) -> bytes:
        """Read what there is, up to `size` bytes; nothing = the far end has ended."""
        self.awaits = READABLE
        if size < RECORD_BYTES:
            return self._recv_part(size)
        pieces: list[bytes] = []
        room = size
        while True:
            try:
                data = self._recv(RECORD_BYTES)
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

    def _recv_part(self, size: int) -> bytes:
        """Read less than a record; note whether OpenSSL keeps the rest of one."""
        try:
            data = self._recv(size)
        except SSL.Error as fault:
            self._ends(fault, before=False)
            return b""
        if self.connection.pending():
            self.awaits = 0
        return data

    def recv_into(self, view: memoryview, size: int) -> int:
        """Do the same into `view`; return how much it was."""
        self.awaits = READABLE
        if size < RECORD_BYTES:
            data = self._recv_part(size)
            view[: len(data)] = data
            return len(data)
        ssl, read = self._ssl, self._read
        start = self._from_buffer(view)
        filled = 0
        last = size - RECORD_BYTES
        while filled <= last:
            # that is one record at most
            count: int = read(ssl, start + filled, size - filled)
            if count <= 0:
                if filled and self._error(ssl, count) == self._want_read:
                    return filled
                try:
                    count = self._recv_into(view[filled:], RECORD_BYTES)
                except SSL.Error as fault:
                    if self._ends(fault, before=filled > 0):
                        return 0
                    return filled
            # a short first record is mostly all there is; and a whole one must fit,
            # for nobody announces what OpenSSL keeps of it
            if not filled and count < RECORD_BYTES:
                return count
            filled += count
        return filled

    def say_goodbye(self) -> bool:
        """Tell the far end that nothing more comes; False = try again later."""
        try:
            self.connection.shutdown()
        except (SSL.WantWriteError, SSL.WantReadError):
            return False
        except SSL.Error as fault:
            self._break(fault)
        return True


class PacedSecureSocket(PacedSocket):
    """The same where the socket is under TLS.

    What OpenSSL has begun to send must be sent again as it was, whatever the buckets
    hold by then: it has passed them already.
    """

    __slots__ = ("_secure",)

    def __init__(self, sock: socket.SocketType, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of the base
        super().__init__(sock, *args, **kwargs)
        self._secure = cast("SecureSocket", sock)

    def send(self, data: Chunk) -> int:
        """Send what may pass, or what was begun."""
        secure = self._secure
        if secure.owed:
            return secure.send(memoryview(data)[: secure.owed])
        try:
            return super().send(data)
        finally:
            self._spend(WRITABLE, secure.owed)

    def sendmsg(self, pieces: Sequence[Chunk]) -> int:
        """Send what may pass of the first piece, or what was begun."""
        secure = self._secure
        if secure.owed > len(pieces[0]):  # begun before there were buckets
            return secure.send(next(_runs(pieces, secure.owed)))
        return self.send(pieces[0])


def _runs(pieces: Iterable[Chunk], owed: int = 0) -> Iterator[Chunk]:
    """Cut the pieces into runs; each but the last fills a record or more.

    What is short is copied, together with as much behind it as fills its record.

    Args:
        pieces: what is to be sealed.
        owed: length of the first run, as the pieces begin with one that OpenSSL has
            begun already; 0 = they do not.
    """
    parts: list[Chunk] = []
    wanted = owed  # to complete `parts`
    for piece in pieces:
        view = memoryview(piece)
        if wanted:
            part = view[:wanted]
            parts.append(part)
            wanted -= len(part)
            if wanted:
                continue
            yield b"".join(parts)
            parts.clear()
            view = view[len(part) :]
        while len(view) > RUN_BYTES:
            yield view[:RUN_BYTES]
            view = view[RUN_BYTES:]
        if len(view) >= RECORD_BYTES:
            yield view
        elif view:
            parts.append(view)
            wanted = RECORD_BYTES - len(view)
    if parts:
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
