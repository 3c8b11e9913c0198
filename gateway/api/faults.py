"""From an exception to the answer that tells of it."""

from __future__ import annotations

from math import ceil
from typing import Final, cast

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from gateway.api.replies import SECURITY_HEADERS, encode, reply
from gateway.errors import (
    CallerError,
    InternalError,
    NoRouteError,
    OnlyGetError,
    OnlyPostError,
    TooManyRequestsError,
)
from gateway.texts import Language

_log = Logger()
_CHALLENGES: Final = (b'ApiKey realm="gotunnel"', b'Bearer realm="gotunnel"')


def caller_error(failure: Failure, request: IRequest) -> CallerError:
    """Return what the caller is told about a failure.

    What the operator must know of, 500s, is logged here: bugs with their traceback.
    """
    fault = failure.value
    method = request.method.decode("ascii", "backslashreplace")
    path = path_text(request.path)
    if isinstance(fault, CallerError):
        if fault.http_code == 500:
            _log.error(
                "{method} {path} failed: {fault}",
                method=method,
                path=path,
                fault=fault,
            )
        return fault
    if isinstance(fault, MethodNotAllowed):
        methods = fault.valid_methods or []
        request.setHeader(b"allow", ", ".join(sorted(methods)).encode("ascii"))
        return OnlyGetError() if "GET" in methods else OnlyPostError()
    if isinstance(fault, HTTPException):
        return NoRouteError(path=path)
    _log.failure("{method} {path} failed", failure=failure, method=method, path=path)
    return InternalError()


def path_text(path: bytes) -> str:
    """Return a request's path as messages and log lines may hold it."""
    return path[:200].decode("ascii", "backslashreplace")


def refuse(request: IRequest, fault: CallerError, language: Language) -> bytes:
    """Set the request's status and headers and return the body of a refusal."""
    if fault.http_code == 401:
        request.responseHeaders.setRawHeaders(b"www-authenticate", list(_CHALLENGES))
    if isinstance(fault, TooManyRequestsError):
        seconds = ceil(cast(float, fault.fields["seconds"]))
        request.setHeader(b"retry-after", b"%d" % seconds)
    return reply(request, envelope(fault, language), fault.http_code)


def envelope(fault: CallerError, language: Language) -> dict[str, object]:
    """Return the JSON object that tells of a fault."""
    return {"success": False, "message": fault.text(language)}


def whole_refusal(fault: CallerError, language: Language) -> bytes:
    """Return a refusal as it goes over the wire, for a request not fully read."""
    body = encode(envelope(fault, language))
    lines = [
        b"HTTP/1.1 %d %s" % (fault.http_code, RESPONSES[fault.http_code]),
        b"Content-Length: %d" % len(body),
        b"Connection: close",
        *(name + b": " + value for name, value in SECURITY_HEADERS),
    ]
    return b"\r\n".join([*lines, b"", body])
