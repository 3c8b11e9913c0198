"""TLS by what pyOpenSSL documents, for versions without the parts we know."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

from OpenSSL import SSL

from gateway.net.outgoing import WOULD_BLOCK, Chunk
from gateway.net.poller import READABLE, WRITABLE
from gateway.net.sealed import RECORD_BYTES, RUN_BYTES, SecureSocket

_FILLS: Final = 8  # of one read: also bounds what is not data, such as updates of keys
_ANSWER_BYTES: Final = RECORD_BYTES
_SEALED_BYTES: Final = RUN_BYTES + 4096  # a run with what TLS adds to it


class BufferedSocket(SecureSocket):
    """OpenSSL reads and writes memory; this carries it from and to the socket.

    It is slower by some copies.  At most one run waits for the kernel.  Reading goes on
    meanwhile, or two ends that write to each other would wait for ever; it stops while
    answers of TLS itself are all that waits, or are many.
    """

    __slots__ = ("_answers", "_said_goodbye", "_sealed")

    def __init__(self, sock: socket.SocketType, connection: SSL.Connection) -> None:
        super().__init__(sock, connection)
        self._sealed = memoryview(b"")  # what the kernel has not taken
        self._answers = bytearray()  # of TLS itself, behind a run
        self._said_goodbye = False

    def _flush(self) -> None:
        """Send everything that is encrypted.

        Raises:
            BlockingIOError: the kernel does not take all of it.
            OSError: the connection is broken.
        """
        while True:
            if not self._sealed:
                found = bytes(self._answers) or self._encrypted()
                if not found:
                    return
                self._answers.clear()
                self._sealed = memoryview(found)
            sent = self._socket.send(self._sealed)
            self._sealed = self._sealed[sent:]

    def _encrypted(self) -> bytes:
        """Take over what OpenSSL has encrypted and nobody has asked for yet."""
        try:
            return self.connection.bio_read(_SEALED_BYTES)
        except SSL.WantReadError:
            return b""

    def _answers_too_much(self) -> bool:
        """Return whether TLS itself has much to say behind the run that waits."""
        self._answers += self._encrypted()
        return len(self._answers) > _ANSWER_BYTES

    def _fill(self) -> bool:
        """Take over what has arrived, one record at most; False = nothing has."""
        try:
            data = self._socket.recv(RECORD_BYTES)
        except WOULD_BLOCK:
            return False
        if data:
            self.connection.bio_write(data)
        else:
            self.connection.bio_shutdown()
        return True

    def do_handshake(self) -> None:
        """Go on with the handshake; return when it is over."""
        try:
            for fills in range(_FILLS + 1):
                try:
                    self.connection.do_handshake()
                except SSL.WantReadError:
                    self._flush()
                    if fills == _FILLS or not self._fill():
                        raise
                except SSL.Error:
                    with suppress(OSError):
                        self._flush()  # the far end is to hear why
                    raise
                else:
                    self._flush()
                    self.awaits = 0  # data may have come behind the handshake
                    return
        except WOULD_BLOCK:
            raise SSL.WantWriteError from None
        except OSError as fault:
            raise SSL.SysCallError(fault.errno, fault.strerror) from None

    def _send_run(self, run: Chunk) -> int:
        size = len(run)
        self._flush()
        if not self.owed:
            view, sealed = memoryview(run), 0
            try:
                while sealed < size:
                    sealed += self.connection.send(view[sealed:])
            except SSL.Error as fault:
                self._break(fault)
            self.owed = size
            self._flush()
        self.owed = 0
        return size

    def recv(self, size: int) -> bytes:
        """Read what there is, up to `size` bytes; nothing = the far end has ended."""
        self.awaits = READABLE
        pieces: list[bytes] = []
        room = size
        fills = _FILLS
        while room:
            try:
                data = self.connection.recv(min(room, RECORD_BYTES))
            except SSL.WantReadError:
                if not fills or not self._goes_on(before=bool(pieces)):
                    break
                fills -= 1
            except SSL.Error as fault:
                if self._ends(fault, before=bool(pieces)):
                    return b""
                break
            else:
                pieces.append(data)
                room -= len(data)
        if not room:
            self.awaits = 0  # there may be more
        elif not pieces:
            raise BlockingIOError
        return b"".join(pieces)

    def _goes_on(self, *, before: bool) -> bool:
        """Return whether there is more to decrypt; `before`: bytes came first.

        What TLS itself has to say must be sent first.

        Raises:
            OSError: the connection is broken, and nothing was before.
        """
        try:
            try:
                self._flush()
            except WOULD_BLOCK:
                if not self.owed or self._answers_too_much():
                    self.awaits = WRITABLE
                    return False
            return self._fill()
        except OSError:
            if not before:
                raise
            self.awaits = 0  # the next read tells the end
        return False

    def recv_into(self, view: memoryview, size: int) -> int:
        """Do the same into `view`; return how much it was."""
        data = self.recv(size)
        view[: len(data)] = data
        return len(data)

    def say_goodbye(self) -> bool:
        """Tell the far end that nothing more comes; False = try again later."""
        try:
            if not self._said_goodbye:
                self.connection.shutdown()
                self._said_goodbye = True
            self._flush()
        except WOULD_BLOCK:
            return False
        except SSL.Error as fault:
            self._break(fault)
        return True
