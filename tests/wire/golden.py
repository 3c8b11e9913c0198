"""The golden bytes of docs/vectors.json, and messages to and from them."""

import json
from pathlib import Path

from gateway.mux.outbox import Outbox
from gateway.wire import frames, hello, messages
from gateway.wire.codec import encode_frame

PATH = Path(__file__).parents[2] / "docs" / "vectors.json"
VECTORS = json.loads(PATH.read_text(encoding="utf-8"))
FRAMES = {one["name"]: one for one in VECTORS["frames"]}
_WORDS = ("features",)


def frame_bytes(name):
    """Return the bytes of a named frame."""
    return bytes.fromhex(FRAMES[name]["hex"])


def _json_codec(encode, decode, shape):
    def to_bytes(fields):
        known = {key: fields[key] for key in fields if key not in _WORDS}
        words = {key: frozenset(fields[key]) for key in fields if key in _WORDS}
        return encode(shape(**known, **words))

    def to_fields(payload):
        message = decode(payload)
        found = {key: getattr(message, key) for key in shape.__slots__}
        return {
            key: sorted(value) if key in _WORDS else value
            for key, value in found.items()
        }

    return to_bytes, to_fields


def _tuple_codec(encode, decode, shape):
    return (
        lambda fields: encode(shape(**fields)),
        lambda payload: decode(payload)._asdict(),
    )


def _pair_codec(encode, decode, second):
    return (
        lambda fields: encode(fields["stream_id"], fields[second]),
        lambda payload: dict(zip(("stream_id", second), decode(payload), strict=True)),
    )


def _id_codec(kind, encode):
    return (
        lambda fields: encode(fields["stream_id"]),
        lambda payload: {"stream_id": messages.decode_id(kind, payload)},
    )


def _data_bytes(fields):
    data = bytes.fromhex(fields["data"])
    outbox = Outbox()
    outbox.data(fields["stream_id"], data, len(data), len(data) or 1)
    return b"".join(outbox.take())


def _data_fields(payload):
    stream_id = messages.decode_id(frames.DATA, payload)
    return {"stream_id": stream_id, "data": bytes(payload[4:]).hex()}


def _ping_fields(payload):
    ping = messages.decode_ping(payload)
    return {"kind": ping.kind, "nonce": ping.nonce.hex()}


CODECS = {
    frames.CONNECT_REQUEST: _tuple_codec(
        messages.encode_connect_request,
        messages.decode_connect_request,
        messages.ConnectRequest,
    ),
    frames.CONNECT_RESPONSE: _pair_codec(
        messages.encode_connect_response, messages.decode_connect_response, "status"
    ),
    frames.DATA: (_data_bytes, _data_fields),
    frames.CLOSE: _id_codec(frames.CLOSE, messages.encode_close),
    frames.KEEP_ALIVE: (
        lambda fields: encode_frame(frames.KEEP_ALIVE),
        lambda payload: {},
    ),
    frames.HELLO: _json_codec(hello.encode_hello, hello.decode_hello, hello.Hello),
    frames.HELLO_ACK: _json_codec(
        hello.encode_hello_ack, hello.decode_hello_ack, hello.HelloAck
    ),
    frames.FIN: _id_codec(frames.FIN, messages.encode_fin),
    frames.WINDOW: _pair_codec(
        messages.encode_window, messages.decode_window, "credit"
    ),
    frames.OPEN: _tuple_codec(
        messages.encode_open, messages.decode_open, messages.OpenRequest
    ),
    frames.REGISTER: _json_codec(
        hello.encode_register, hello.decode_register, hello.Register
    ),
    frames.REGISTER_ACK: _json_codec(
        hello.encode_register_ack, hello.decode_register_ack, hello.RegisterAck
    ),
    frames.GOAWAY: _tuple_codec(
        messages.encode_goaway, messages.decode_goaway, messages.Goaway
    ),
    frames.RESET: _pair_codec(messages.encode_reset, messages.decode_reset, "reason"),
    frames.AUTH: (
        lambda fields: messages.encode_auth(fields["message"]),
        lambda payload: {"message": messages.decode_auth(payload)},
    ),
    frames.PING: (
        lambda fields: messages.encode_ping(
            messages.Ping(fields["kind"], bytes.fromhex(fields["nonce"]))
        ),
        _ping_fields,
    ),
}
"""Kind -> (fields to the bytes of a frame, payload to fields)."""
