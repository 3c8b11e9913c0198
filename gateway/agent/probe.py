"""Ask a gateway whether it would take this agent, and leave again.

Nothing of the running agent is touched: the link says that it is a probe, and takes no
place.  Made for a command: it blocks, each step for a few seconds at most.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from OpenSSL import SSL

from gateway.agent.greeting import files_of, identity_of
from gateway.config.agent import AgentConfig
from gateway.config.places import HostPort
from gateway.errors import OperatorError, ProtocolError
from gateway.link.proof import AgentProof, ProofError
from gateway.net.addresses import family_of
from gateway.net.certificates import check_server, client_context
from gateway.net.patient import PatientConnection
from gateway.ops.names import look_up
from gateway.ops.path import Probe, Stage
from gateway.wire import frames, hello, messages
from gateway.wire.codec import FrameDecoder
from gateway.wire.hello import MAX_PADDING, HelloAck
from gateway.wire.messages import Goaway, Ping

STEP_SECONDS: Final = 5.0
SPEED_SECONDS: Final = 10.0  # for each direction
UPLOAD_BYTES: Final = 1 << 20
PINGS: Final = 3
NONCE_BYTES: Final = 16


class _FailedError(Exception):
    """The probe goes no further, and why."""


class Prober:
    """Probes the gateways of one agent."""

    def __init__(
        self,
        config: AgentConfig,
        random_bytes: Callable[[int], bytes],
        wall_clock: Callable[[], float],
    ) -> None:
        """Connect to nothing yet.

        Args:
            config: the agent's.
            random_bytes: for nonces.
            wall_clock: Unix seconds by the clock of this machine.
        """
        self._config = config
        self._random = random_bytes
        self._wall_clock = wall_clock

    def probe(self, server: HostPort) -> Probe:
        """Return what was found; takes half a minute at most."""
        found = Probe(host=server.host, port=server.port)
        found.sealed = self._config.tls.enabled
        connection: PatientConnection | None = None
        try:
            found.addresses = _addresses(server)
            found.stage = Stage.CONNECTION
            connection = _connect(found)
            if found.sealed:
                found.stage = Stage.SEAL
                self._seal(connection, found)
            found.stage = Stage.GREETING
            self._greet(connection, found)
            found.stage = Stage.DONE
        except _FailedError as fault:
            found.fault = str(fault)
        except OSError as fault:
            found.fault = fault.strerror or str(fault)
        finally:
            if connection is not None:
                connection.close()
        return found

    # -- TLS -----------------------------------------------------------------------

    def _seal(self, connection: PatientConnection, found: Probe) -> None:
        tls = self._config.tls
        pinned = tls.fingerprint is not None and tls.ca_file is None
        name = tls.server_name or found.host
        try:
            context = client_context(files_of(tls), verify=not pinned)
        except OperatorError as fault:
            raise _FailedError(str(fault)) from None
        connection.within(STEP_SECONDS)
        try:
            sealed = connection.seal(context, _sni(name))
        except OSError:
            self._look_at_chain(found, name)
            raise
        _note_chain(sealed, found)
        objection = check_server(sealed.get_peer_certificate(), name, tls.fingerprint)
        if objection is not None:
            raise _FailedError(objection)

    def _look_at_chain(self, found: Probe, name: str) -> None:
        """Connect once more without judging, to see what the gateway shows."""
        with suppress(OSError, _FailedError, OperatorError):
            connection = _connect(found)
            try:
                connection.within(STEP_SECONDS)
                context = client_context(files_of(self._config.tls), verify=False)
                _note_chain(connection.seal(context, _sni(name)), found)
            finally:
                connection.close()

    # -- the link ------------------------------------------------------------------

    def _greet(self, connection: PatientConnection, found: Probe) -> None:
        instance = self._random(8).hex()
        identity = identity_of(self._config, instance)
        greeting = replace(identity.greeting, probe=MAX_PADDING)
        frames_in = _Frames(connection)
        connection.within(STEP_SECONDS)
        before = self._wall_clock()
        connection.send(hello.encode_hello(greeting))
        proof = None
        if identity.key is not None:
            nonce = self._random(NONCE_BYTES).hex()
            proof = AgentProof(identity.proof_name, identity.key, nonce)
            connection.send(messages.encode_auth(proof.first()))
        ack = self._answer(connection, frames_in, proof)
        after = self._wall_clock()
        found.understood, found.software = ack.probe, ack.software
        if ack.clock is not None:
            found.skew_seconds = (before + after) / 2 - ack.clock
        if ack.probe:
            with suppress(OSError):  # what was not measured stays None
                self._measure(connection, frames_in, found)
        with suppress(OSError):
            goodbye = Goaway(frames.STOPPING, "a probe")
            connection.send(messages.encode_goaway(goodbye))

    def _answer(
        self,
        connection: PatientConnection,
        frames_in: _Frames,
        proof: AgentProof | None,
    ) -> HelloAck:
        """Wait for HELLO_ACK, and prove what must be proved."""
        while True:
            kind, payload = frames_in.next()
            try:
                if kind == frames.HELLO_ACK:
                    ack = hello.decode_hello_ack(payload)
                    if ack.error is not None:
                        raise _FailedError(f"refused: {ack.error}")
                    if proof is not None and not proof.proven:
                        raise _FailedError("it did not prove that it knows our key")
                    return ack
                if kind == frames.GOAWAY:
                    text = messages.decode_goaway(payload).text
                    raise _FailedError(f"told to go: {text}")
                if kind != frames.AUTH or proof is None:
                    raise _FailedError(
                        "it speaks the plain version 0x01 protocol and knows no HELLO"
                    )
                answer = proof.answer(messages.decode_auth(payload))
            except (ProtocolError, ProofError) as fault:
                raise _FailedError(str(fault)) from None
            if answer is not None:
                connection.send(messages.encode_auth(answer))

    # -- the path ------------------------------------------------------------------

    def _measure(
        self, connection: PatientConnection, frames_in: _Frames, found: Probe
    ) -> None:
        connection.within(SPEED_SECONDS)
        began = time.monotonic()
        padding = 0
        while padding < MAX_PADDING:
            padding += frames_in.next_padding()
        found.download = MAX_PADDING, time.monotonic() - began
        connection.within(STEP_SECONDS)
        trips = [self._ping(connection, frames_in) for _ in range(PINGS)]
        found.round_trip = min(trips)
        connection.within(SPEED_SECONDS)
        began = time.monotonic()
        for padded in messages.encode_padding(UPLOAD_BYTES):
            connection.send(padded)
        self._ping(connection, frames_in)
        seconds = time.monotonic() - began
        # a short one is hardly more than the round trip, which varies
        found.upload = UPLOAD_BYTES, max(seconds - found.round_trip, seconds / 2)

    def _ping(self, connection: PatientConnection, frames_in: _Frames) -> float:
        nonce = self._random(8)
        began = time.monotonic()
        connection.send(messages.encode_ping(Ping(frames.PING_QUESTION, nonce)))
        while True:
            kind, payload = frames_in.next()
            if kind == frames.PING:
                ping = messages.decode_ping(payload)
                if ping == Ping(frames.PING_ANSWER, nonce):
                    return time.monotonic() - began


class _Frames:
    """The frames of a connection, one by one."""

    def __init__(self, connection: PatientConnection) -> None:
        self._connection = connection
        self._decoder = FrameDecoder(messages.MAX_JSON + 512)
        self._waiting: list[tuple[int, bytes]] = []

    def next(self) -> tuple[int, bytes]:
        """Return the next frame."""
        while not self._waiting:
            self._receive()
        return self._waiting.pop(0)

    def next_padding(self) -> int:
        """Return the size of the next frame if it is padding, else 0."""
        kind, payload = self.next()
        return len(payload) if kind == frames.KEEP_ALIVE else 0

    def _receive(self) -> None:
        data = self._connection.receive()
        if not data:
            raise _FailedError("it closed the connection without a word")
        for kind, payload in self._decoder.feed(data):
            self._waiting.append((kind, bytes(payload)))
        if self._decoder.fault is not None and not self._waiting:
            raise _FailedError(f"it is no gateway: {self._decoder.fault}")


def _addresses(server: HostPort) -> list[str]:
    [(addresses, fault)] = look_up([server.host]).values()
    if fault:
        raise _FailedError(fault)
    return addresses


def _connect(found: Probe) -> PatientConnection:
    """Return a connection to the first address that answers."""
    faults = []
    for address in found.addresses:
        began = time.monotonic()
        try:
            sock = socket.create_connection((address, found.port), STEP_SECONDS)
        except OSError as fault:
            faults.append(f"{address}: {fault.strerror or fault}")
        else:
            found.connect_seconds = time.monotonic() - began
            # else a last small piece waits for a late acknowledgement, 40 ms of nothing
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return PatientConnection(sock)
    raise _FailedError("; ".join(faults))


def _sni(name: str) -> bytes | None:
    return name.encode("idna") if family_of(name) is None else None


def _note_chain(sealed: SSL.Connection, found: Probe) -> None:
    chain = sealed.get_peer_cert_chain() or []
    found.chain = [one.to_cryptography() for one in chain]
    found.tls = f"{sealed.get_protocol_version_name()}, {sealed.get_cipher_name()}"
