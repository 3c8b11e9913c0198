"""An agent that a test leads frame by frame, over a real socket."""

from __future__ import annotations

import json
import secrets
import socket
import struct
from typing import Any, Final

from gateway.link.proof import SCRAM, AgentProof
from gateway.policy.credentials import read_key
from gateway.wire import frames

HOST: Final = "127.0.0.1"
RECEIVED_BYTES: Final = 65536  # that the kernel keeps until they are read, about
_HEADER: Final = struct.Struct("!BBI")


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a frame of the link."""
    return _HEADER.pack(1, kind, len(payload)) + payload


def hello(agent: str, **changes: object) -> bytes:
    """Return the first frame of an agent that will prove a key."""
    words: dict[str, object] = {
        "agent": agent,
        "instance": secrets.token_hex(8),
        "features": ["register"],
        "auth": SCRAM,
        **changes,
    }
    return frame(frames.HELLO, json.dumps(words).encode())


def proof_of(agent: str, key: str) -> AgentProof:
    """Return an agent's side of the proof that it knows a key."""
    found = read_key(key)
    assert found is not None
    return AgentProof(agent, found, secrets.token_hex(12))


class HandmadeAgent:
    """One link; blocking, so it belongs into a thread or between two awaits."""

    def __init__(
        self, port: int, seconds: float = 10.0, address: str | None = None
    ) -> None:
        """Connect.

        Args:
            port: the link port of a gateway on this machine.
            seconds: that each call may take.
            address: of this machine, to come from; None = as the system chooses.
        """
        self.sock = socket.socket()
        self.sock.settimeout(seconds)
        # so that a link which is not read is full soon
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
        if address is not None:
            self.sock.bind((address, 0))
        self.sock.connect((HOST, port))
        self._pending = b""

    def says(self, *pieces: bytes) -> None:
        """Send."""
        self.sock.sendall(b"".join(pieces))

    def hears(self) -> tuple[int, bytes]:
        """Return the next frame, without keep-alives and pings.

        Raises:
            EOFError: the gateway has closed the link.
        """
        while True:
            kind, payload = self._frame()
            if kind not in (frames.KEEP_ALIVE, frames.PING):
                return kind, payload

    def hears_kind(self, kind: int) -> bytes:
        """Return the payload of the next frame of a kind; pass over others.

        Raises:
            EOFError: the gateway has closed the link.
        """
        while True:
            found, payload = self.hears()
            if found == kind:
                return payload

    def _frame(self) -> tuple[int, bytes]:
        head = self._read(_HEADER.size)
        _version, kind, length = _HEADER.unpack(head)
        return kind, self._read(length)

    def _read(self, size: int) -> bytes:
        while len(self._pending) < size:
            try:
                chunk = self.sock.recv(65536)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise EOFError
            self._pending += chunk
        found, self._pending = self._pending[:size], self._pending[size:]
        return found

    def join(self, agent: str, key: str, **changes: object) -> dict[str, Any]:
        """Say HELLO, prove the key and return what HELLO_ACK says."""
        proof = proof_of(agent, key)
        self.says(hello(agent, **changes), frame(frames.AUTH, proof.first().encode()))
        answer = proof.answer(self.hears_kind(frames.AUTH).decode())
        assert answer is not None
        self.says(frame(frames.AUTH, answer.encode()))
        proof.answer(self.hears_kind(frames.AUTH).decode())
        assert proof.proven
        ack: dict[str, Any] = json.loads(self.hears_kind(frames.HELLO_ACK))
        return ack

    def ended(self) -> None:
        """Wait until the gateway has closed the link; pass over what it says."""
        while True:
            try:
                self.hears()
            except EOFError:
                return

    def close(self) -> None:
        """Go; may be called twice."""
        self.sock.close()
