"""Payloads to messages and back, one function pair for each frame kind.

Every decoder takes the payload and raises `PayloadError` when it is shorter than
its fixed part or does not have the form; bytes behind the fixed part are ignored
so that later releases may add some.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, NamedTuple

from gateway.errors import PayloadError
from gateway.wire import frames
from gateway.wire.codec import encode_frame
from gateway.wire.plain import cleaned

Payload = bytes | memoryview

MAX_JSON: Final = 4096  # bytes of one JSON object on the wire
PADDING_BYTES: Final = 4096  # of one frame; every receiver takes as many
MAX_AUTH: Final = 1024  # bytes of one message of a proof
# `json.dumps` makes an encoder for each call
_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ID: Final = struct.Struct("!I")
_ID_BYTE: Final = struct.Struct("!IB")
_ID_CREDIT: Final = struct.Struct("!II")
_SHORT_REQUEST: Final = struct.Struct("!IH")
_LONG_REQUEST: Final = struct.Struct("!IHB")
_OPEN: Final = struct.Struct("!IBHB")
_LENGTH: Final = struct.Struct("!H")
_PING: Final = struct.Struct("!B8s")


class ConnectRequest(NamedTuple):
    """Legacy request for a target.

    Attributes:
        stream_id: 0..2^32-1.
        port: target port, 0..65535; judged by the receiver.
        host: None in the 6-byte form: the agent's default host.
    """

    stream_id: int
    port: int
    host: str | None


class OpenRequest(NamedTuple):
    """Negotiated request for a target.

    Attributes:
        stream_id: 0..2^32-1.
        protocol: 1 = TCP.
        port: target port, 0..65535; judged by the receiver.
        host: empty = the agent's default host.
        meta: visitor address, mapping id, trace id; informative.
    """

    stream_id: int
    protocol: int
    port: int
    host: str
    meta: dict[str, Any]


class Goaway(NamedTuple):
    """Announcement that the sender leaves.

    Attributes:
        reason: see `frames`.
        text: for people; may be empty.
    """

    reason: int
    text: str


class Ping(NamedTuple):
    """Question or answer of a round-trip measurement.

    Attributes:
        kind: 0 question, 1 answer.
        nonce: 8 bytes.
    """

    kind: int
    nonce: bytes


def _unpack(layout: struct.Struct, payload: Payload, kind: int) -> tuple[Any, ...]:
    if len(payload) < layout.size:
        name = frames.KIND_NAMES[kind]
        raise PayloadError(f"{name} of {len(payload)} bytes, {layout.size} at least")
    return layout.unpack_from(payload)


def decode_id(kind: int, payload: Payload) -> int:
    """Return the stream id that starts the payload of most kinds."""
    found: int = _unpack(_ID, payload, kind)[0]
    return found


def encode_connect_request(message: ConnectRequest) -> bytes:
    """Return the frame, in the short form if there is no host.

    Raises:
        PayloadError: the host is longer than 255 bytes, or no text.
    """
    if message.host is None:
        body = _SHORT_REQUEST.pack(message.stream_id, message.port)
    else:
        host = _host_bytes(message.host)
        body = _LONG_REQUEST.pack(message.stream_id, message.port, len(host)) + host
    return encode_frame(frames.CONNECT_REQUEST, body)


def decode_connect_request(payload: Payload) -> ConnectRequest:
    """Read either form: exactly 6 bytes, or 7 and the host."""
    stream_id, port = _unpack(_SHORT_REQUEST, payload, frames.CONNECT_REQUEST)
    if len(payload) == _SHORT_REQUEST.size:
        return ConnectRequest(stream_id, port, None)
    start = _LONG_REQUEST.size
    host = _take(payload, start, payload[start - 1], "ConnectRequest host")
    return ConnectRequest(stream_id, port, _host_text(host))


def encode_connect_response(stream_id: int, status: int) -> bytes:
    """Return the frame that answers ConnectRequest or OPEN."""
    return encode_frame(frames.CONNECT_RESPONSE, _ID_BYTE.pack(stream_id, status))


def decode_connect_response(payload: Payload) -> tuple[int, int]:
    """Return stream id and status."""
    stream_id, status = _unpack(_ID_BYTE, payload, frames.CONNECT_RESPONSE)
    return stream_id, status


def encode_close(stream_id: int) -> bytes:
    """Return the legacy frame that ends a stream."""
    return encode_frame(frames.CLOSE, _ID.pack(stream_id))


def encode_fin(stream_id: int) -> bytes:
    """Return the frame that ends one direction of a stream."""
    return encode_frame(frames.FIN, _ID.pack(stream_id))


def encode_window(stream_id: int, credit: int) -> bytes:
    """Return the frame that grants `credit` more bytes, 1..2^31-1."""
    return encode_frame(frames.WINDOW, _ID_CREDIT.pack(stream_id, credit))


def decode_window(payload: Payload) -> tuple[int, int]:
    """Return stream id and credit."""
    stream_id, credit = _unpack(_ID_CREDIT, payload, frames.WINDOW)
    return stream_id, credit


def encode_reset(stream_id: int, reason: int) -> bytes:
    """Return the frame that ends a stream at once."""
    return encode_frame(frames.RESET, _ID_BYTE.pack(stream_id, reason))


def decode_reset(payload: Payload) -> tuple[int, int]:
    """Return stream id and reason."""
    stream_id, reason = _unpack(_ID_BYTE, payload, frames.RESET)
    return stream_id, reason


def encode_open(message: OpenRequest) -> bytes:
    """Return the frame that asks for a target.

    Raises:
        PayloadError: the host is longer than 255 bytes, the meta than 4096, or
            one holds half a surrogate pair.
    """
    host = _host_bytes(message.host)
    meta = encode_json(message.meta) if message.meta else b""
    head = _OPEN.pack(message.stream_id, message.protocol, message.port, len(host))
    return encode_frame(frames.OPEN, head + host + _LENGTH.pack(len(meta)) + meta)


def decode_open(payload: Payload) -> OpenRequest:
    """Read an OPEN; unreadable meta is an error like any other."""
    stream_id, protocol, port, length = _unpack(_OPEN, payload, frames.OPEN)
    host = _take(payload, _OPEN.size, length, "OPEN host")
    start = _OPEN.size + length
    size = _LENGTH.unpack(_take(payload, start, _LENGTH.size, "OPEN meta length"))[0]
    meta = _take(payload, start + _LENGTH.size, size, "OPEN meta")
    return OpenRequest(
        stream_id,
        protocol,
        port,
        _host_text(host),
        decode_json(meta, "OPEN meta") if meta else {},
    )


def encode_goaway(message: Goaway) -> bytes:
    """Return the frame; a text of more than 4096 bytes is cut between characters."""
    words = message.text.encode(errors="replace")[:MAX_JSON]
    whole = words.decode(errors="ignore").encode()
    return encode_frame(frames.GOAWAY, bytes((message.reason,)) + whole)


def decode_goaway(payload: Payload) -> Goaway:
    """Read a GOAWAY; its text is shown to people only, so it is mended."""
    if len(payload) < 1:
        raise PayloadError("GOAWAY of 0 bytes, 1 at least")
    text = bytes(payload[1 : 1 + MAX_JSON]).decode(errors="replace")
    return Goaway(payload[0], cleaned(text, MAX_JSON))


def encode_ping(message: Ping) -> bytes:
    """Return the frame."""
    return encode_frame(frames.PING, _PING.pack(*message))


def encode_padding(size: int) -> list[bytes]:
    """Return `size` bytes that say nothing: KeepAlives, whose payload is ignored."""
    return [
        encode_frame(frames.KEEP_ALIVE, bytes(min(size - start, PADDING_BYTES)))
        for start in range(0, size, PADDING_BYTES)
    ]


def decode_ping(payload: Payload) -> Ping:
    """Read a PING."""
    return Ping(*_unpack(_PING, payload, frames.PING))


def encode_auth(message: str) -> bytes:
    """Return the frame that carries one message of the proof.

    Raises:
        PayloadError: it is too long.
    """
    found = _utf8(message, "AUTH")
    if len(found) > MAX_AUTH:
        raise PayloadError(f"AUTH of {len(found)} bytes, {MAX_AUTH} at most")
    return encode_frame(frames.AUTH, found)


def decode_auth(payload: Payload) -> str:
    """Read an AUTH."""
    if len(payload) > MAX_AUTH:
        raise PayloadError(f"AUTH of {len(payload)} bytes, {MAX_AUTH} at most")
    try:
        return bytes(payload).decode()
    except UnicodeDecodeError:
        raise PayloadError("AUTH is not UTF-8") from None


def encode_json(value: dict[str, Any]) -> bytes:
    """Return the compact UTF-8 form.

    Raises:
        PayloadError: it is longer than 4096 bytes, or holds half a surrogate pair.
    """
    found = _utf8(_to_json(value), "JSON")
    if len(found) > MAX_JSON:
        raise PayloadError(f"JSON of {len(found)} bytes, {MAX_JSON} at most")
    return found


def decode_json(payload: Payload, name: str) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        PayloadError: too long, not UTF-8, not JSON, or not an object; half a
            surrogate pair, which could never be sent on, is not JSON either.
    """
    if len(payload) > MAX_JSON:
        raise PayloadError(f"{name} of {len(payload)} bytes, {MAX_JSON} at most")
    try:
        # decoded here, since `loads` would also take UTF-16 and surrogates
        words = bytes(payload).decode()
        found = json.loads(words)
        if "\\u" in words:
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise PayloadError(f"{name} is not JSON") from None
    if not isinstance(found, dict):
        raise PayloadError(f"{name} is not a JSON object")
    return found


def _take(payload: Payload, start: int, size: int, name: str) -> bytes:
    if len(payload) < start + size:
        raise PayloadError(f"{name} of {size} bytes is cut short")
    return bytes(payload[start : start + size])


def _host_bytes(host: str) -> bytes:
    found = _utf8(host, "host")
    if len(found) > 255:
        raise PayloadError(f"host of {len(found)} bytes, 255 at most")
    return found


def _utf8(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise PayloadError(f"{name} holds half a surrogate pair") from None


def _host_text(host: bytes) -> str:
    try:
        return host.decode()
    except UnicodeDecodeError:
        raise PayloadError("host is not UTF-8") from None
