"""What a hostile agent says once it is admitted: a table with a row for every kind."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.wire import frames
from tests.strategies import json_frame, open_payload, raw_frame, with_id

OWN, OTHERS, NOBODYS = 1, 77, 4_000_000_000  # ids of streams; 1 is not confirmed yet
SCOPE_PORT, FOREIGN_PORT = 10050, 10080
ENDS, REFUSED, NOTHING = "ends", "refused", "nothing"


class Deed(NamedTuple):
    """One thing to try, with one stream that waits for an answer.

    Attributes:
        said: the frames.
        outcome: `ENDS` = the link is over; `REFUSED` = it is told so; `NOTHING` = the
            frames are passed over, and the link goes on.
        words: what the log says of it; empty = nothing.
        heard: kind of the answer; None = none, or the last word of the link.
        more: what follows, often, where kernels hold what nobody reads.
    """

    said: bytes
    outcome: str
    words: str = ""
    heard: int | None = None
    more: bytes = b""


def _data(stream_id: int, payload: bytes) -> Any:
    return with_id(frames.DATA, stream_id, payload)


def _answer(stream_id: int, status: int = frames.SUCCESS) -> Any:
    return with_id(frames.CONNECT_RESPONSE, stream_id, bytes((status,)))


def _window(stream_id: int, credit: int) -> Any:
    return with_id(frames.WINDOW, stream_id, struct.pack("!I", credit))


def _reset(stream_id: int) -> Any:
    return with_id(frames.RESET, stream_id, b"\0")


def _register(**wish: object) -> Any:
    return json_frame(frames.REGISTER, **{"id": "x", "local": 80, **wish})


def _hello(agent: str) -> Any:
    return json_frame(frames.HELLO, agent=agent, instance="f" * 16)


_REACHED: Final = _answer(OWN)
_FIN: Final = with_id(frames.FIN, OWN)
DEEDS: Final[Mapping[int, Mapping[str, Deed]]] = {
    frames.CONNECT_REQUEST: {
        "ask the gateway for a target": Deed(
            with_id(frames.CONNECT_REQUEST, OTHERS, b"\0\x16"),
            ENDS,
            "ConnectRequest does not belong here",
        ),
    },
    frames.CONNECT_RESPONSE: {
        "answer for another's stream": Deed(
            _answer(OTHERS), NOTHING, heard=frames.RESET
        ),
        "refuse another's stream": Deed(_answer(OTHERS, 2), NOTHING),
        "answer twice": Deed(_REACHED * 2, ENDS, "link of"),
        "answer with a status that nobody knows": Deed(
            _answer(OWN, 200), NOTHING, "status 200"
        ),
    },
    frames.DATA: {
        "talk on another's stream": Deed(
            _data(OTHERS, b"x"), NOTHING, heard=frames.RESET
        ),
        "talk on many streams that nobody has": Deed(
            b"".join(_data(NOBODYS + n, b"x") for n in range(2000)),
            NOTHING,
            heard=frames.RESET,
        ),
        "talk before the target is reached": Deed(_data(OWN, b"x"), ENDS, "link of"),
        "say more than the credit": Deed(
            _REACHED + _data(OWN, bytes(60_000)) * 5,
            ENDS,
            "with a credit of",
            more=_data(OWN, bytes(60_000)),
        ),
        "talk after the end": Deed(_REACHED + _FIN + _data(OWN, b"x"), ENDS, "link of"),
        "half an id": Deed(raw_frame(frames.DATA, b"\0\0"), ENDS, "Data of 2 bytes"),
    },
    frames.CLOSE: {
        "close in the old way": Deed(
            with_id(frames.CLOSE, OWN), ENDS, "Close does not belong here"
        ),
    },
    frames.KEEP_ALIVE: {
        "say a thousand times that it lives": Deed(
            raw_frame(frames.KEEP_ALIVE) * 1000, NOTHING
        ),
    },
    frames.HELLO: {
        "say HELLO again": Deed(_hello("mallory"), ENDS, "only once"),
        "take another name": Deed(_hello("office"), ENDS, "only once"),
    },
    frames.HELLO_ACK: {
        "accept the gateway": Deed(
            json_frame(frames.HELLO_ACK, session="s"),
            ENDS,
            "HELLO_ACK does not belong here",
        ),
    },
    frames.FIN: {
        "finish another's stream": Deed(with_id(frames.FIN, OTHERS), NOTHING),
        "finish before the target is reached": Deed(_FIN, ENDS, "link of"),
        "finish twice": Deed(_REACHED + _FIN * 2, ENDS, "link of"),
    },
    frames.WINDOW: {
        "grant for another's stream": Deed(_window(OTHERS, 1000), NOTHING),
        "grant more than there can be": Deed(
            _REACHED + _window(OWN, frames.MAX_CREDIT) * 2, ENDS, "link of"
        ),
        "grant more than a number may be": Deed(
            _REACHED + _window(OWN, frames.MAX_CREDIT + 1), ENDS, "link of"
        ),
    },
    frames.OPEN: {
        "open a stream towards the gateway": Deed(
            raw_frame(frames.OPEN, open_payload(OTHERS)),
            ENDS,
            "OPEN does not belong here",
        ),
    },
    frames.REGISTER: {
        "take a port beyond its key": Deed(
            _register(port=FOREIGN_PORT + 1),
            REFUSED,
            f"port {FOREIGN_PORT + 1} is not among this agent's",
            frames.REGISTER_ACK,
        ),
        "take a port that another has": Deed(
            _register(port=FOREIGN_PORT),
            REFUSED,
            f"port {FOREIGN_PORT} is not among this agent's",
            frames.REGISTER_ACK,
        ),
        "have another host dialled": Deed(
            _register(host="10.0.0.1"), REFUSED, "denied", frames.REGISTER_ACK
        ),
        "have another port dialled": Deed(
            _register(local=22), REFUSED, "denied", frames.REGISTER_ACK
        ),
        "give back what another has": Deed(
            _register(remove=True), NOTHING, heard=frames.REGISTER_ACK
        ),
        "wish without reading": Deed(
            b"".join(_register(id=f"x{n}", port=1) for n in range(15_000)),
            ENDS,
            "control frames waits for the link",
            more=_register(port=1) * 15_000,
        ),
        "wish what is no JSON": Deed(
            raw_frame(frames.REGISTER, b"{"), ENDS, "REGISTER is not JSON"
        ),
    },
    frames.REGISTER_ACK: {
        "grant a port to the gateway": Deed(
            json_frame(frames.REGISTER_ACK, id="x", port=80),
            ENDS,
            "REGISTER_ACK does not belong here",
        ),
    },
    frames.GOAWAY: {
        "send the gateway away": Deed(
            raw_frame(frames.GOAWAY, b"\2revoked"), ENDS, "leaves: revoked"
        ),
        "leave, and stay": Deed(
            raw_frame(frames.GOAWAY, b"\0") * 5,
            NOTHING,
            "leaves",
            frames.GOAWAY,
        ),
    },
    frames.RESET: {
        "reset another's stream": Deed(_reset(OTHERS), NOTHING),
        "reset every stream there is": Deed(
            b"".join(_reset(n) for n in range(2, 2000)), NOTHING
        ),
    },
    frames.AUTH: {
        "prove something once more": Deed(
            raw_frame(frames.AUTH, b"n,,n=office/0,r=x"), NOTHING, "passed over"
        ),
    },
    frames.PING: {
        "answer what nobody asked": Deed(
            raw_frame(frames.PING, b"\1" + bytes(8)) * 1000, NOTHING
        ),
        "ask without reading": Deed(
            raw_frame(frames.PING, bytes(9)) * 80_000,
            ENDS,
            "frames a second without use",
            more=raw_frame(frames.PING, bytes(9)) * 80_000,
        ),
    },
    0x7F: {
        "say what nobody knows": Deed(
            raw_frame(0x7F, b"x") * 100, NOTHING, "unknown message type: 127"
        ),
    },
}


def deeds() -> list[tuple[str, Deed]]:
    """Return every row, and what to call it."""
    return [
        (f"{frames.KIND_NAMES.get(kind, hex(kind))}: {name}", deed)
        for kind, rows in DEEDS.items()
        for name, deed in rows.items()
    ]


def scope() -> dict[str, Any]:
    """Return what the hostile agent's key allows."""
    return {"ports": str(SCOPE_PORT), "targets": ("127.0.0.1:80",)}
