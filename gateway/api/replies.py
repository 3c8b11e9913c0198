"""How every answer looks: JSON, its length, and the headers that keep it safe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel
from twisted.web.iweb import IRequest

from gateway.wire.plain import json_escaped

JSON_TYPE: Final = b"application/json"
SECURITY_HEADERS: Final = (
    (b"Content-Type", JSON_TYPE),
    (b"Cache-Control", b"no-store"),
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
)


def encode(value: Mapping[str, object]) -> bytes:
    """Return a JSON object as bytes; every text can be encoded."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json_escaped(text).encode()


def reply(
    request: IRequest, value: Mapping[str, object] | BaseModel, code: int = 200
) -> bytes:
    """Set the request's status and headers and return the body of its answer."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    body = encode(value)
    request.setResponseCode(code)
    for name, content in SECURITY_HEADERS:
        request.setHeader(name, content)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body
