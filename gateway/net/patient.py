"""A connection for commands: it blocks, and every step has a deadline."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from OpenSSL import SSL

from gateway.net.sealed import RECORD_BYTES, words_of
from gateway.net.tls import HandshakeError

_READ_BYTES: Final = 1 << 16
T = TypeVar("T")


class PatientConnection:
    """One connection, plain until it is sealed.

    Every method raises `TimeoutError` when the time is over, and another `OSError` when
    the connection is of no use any more.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Take a connected socket over; nothing may happen before `within`."""
        sock.setblocking(False)
        self._socket = sock
        self._sealed: SSL.Connection | None = None
        self._seconds = 0.0
        self._deadline = 0.0

    def within(self, seconds: float) -> None:
        """Give what follows so much time."""
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def seal(self, context: SSL.Context, name: bytes | None) -> SSL.Connection:
        """Shake hands as a client, and return what was agreed on.

        Args:
            context: begins the handshake.
            name: of the server, as it is asked for; None = by its address.
        """
        sealed = SSL.Connection(context, self._socket)
        sealed.set_connect_state()
        if name is not None:
            sealed.set_tlsext_host_name(name)
        self._sealed = sealed
        self._patiently(sealed.do_handshake, writing=False)
        return sealed

    def send(self, data: bytes) -> None:
        """Send all of it."""
        start = 0
        while start < len(data):
            piece = data[start : start + RECORD_BYTES]
            start += self._patiently(partial(self._send, piece), writing=True)

    def _send(self, piece: bytes) -> int:
        taken = self._socket if self._sealed is None else self._sealed
        return int(taken.send(piece))

    def receive(self) -> bytes:
        """Return what comes next; empty = the far end has ended."""
        source = self._socket if self._sealed is None else self._sealed
        try:
            return self._patiently(
                lambda: bytes(source.recv(_READ_BYTES)), writing=False
            )
        except SSL.ZeroReturnError:
            return b""

    def _patiently(self, step: Callable[[], T], *, writing: bool) -> T:
        while True:
            try:
                return step()
            except SSL.WantReadError:
                self._wait(writing=False)
            except SSL.WantWriteError:
                self._wait(writing=True)
            except BlockingIOError:
                self._wait(writing=writing)
            except SSL.ZeroReturnError:
                raise
            except SSL.Error as fault:
                said = None if self._sealed is None else self._sealed.get_app_data()
                words = said if isinstance(said, str) else words_of(fault)
                raise HandshakeError(words) from None

    def _wait(self, *, writing: bool) -> None:
        left = self._deadline - time.monotonic()
        one = [self._socket]
        if left > 0:
            found = select.select(
                [] if writing else one, one if writing else [], [], left
            )
            if any(found):
                return
        raise TimeoutError(f"no answer within {self._seconds:g} seconds")
