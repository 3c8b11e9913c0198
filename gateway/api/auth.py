"""Who may call: addresses, host names and the API key."""

from __future__ import annotations

import hmac
import re
from typing import Final

from twisted.internet.address import IPv4Address as IPv4Peer
from twisted.internet.address import IPv6Address as IPv6Peer
from twisted.internet.interfaces import IAddress
from twisted.web.iweb import IRequest

from gateway.api.settings import ApiSettings
from gateway.errors import (
    AccessDeniedError,
    BadApiKeyError,
    BadRequestError,
    CallerError,
    UnauthorizedError,
)
from gateway.ops.refusals import RefusalLog
from gateway.policy.access import AddressRules
from gateway.policy.addresses import without_scope

OPEN_PATHS: Final = frozenset({b"/health", b"/livez", b"/readyz"})
_HOST: Final = re.compile(
    rb"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?"
)
_LOCAL_NAMES: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


def _host_of(address: IAddress) -> str:
    if isinstance(address, (IPv4Peer, IPv6Peer)):
        return str(address.host)
    return "-"  # a UNIX socket, say


class Gate:
    """Admit a request, or say why not."""

    def __init__(self, settings: ApiSettings, refusals: RefusalLog) -> None:
        self._settings = settings
        self._callers = AddressRules(settings.allowed_ips)
        self._refusals = refusals

    def admit(self, request: IRequest) -> None:
        """Return if the request may be served.

        Raises:
            AccessDeniedError: by the caller's address or the host it names.
            UnauthorizedError: a key is needed and there is none.
            BadApiKeyError: the key is wrong.
            BadRequestError: `Host` is malformed, or there are several.
        """
        host = _named_host(request)
        if request.path in OPEN_PATHS:
            return
        fault = self._objection(request, host)
        if fault is not None:
            self._refusals.note(_host_of(request.getClientAddress()), str(fault))
            raise fault

    def _objection(self, request: IRequest, host: bytes | None) -> CallerError | None:
        if not self._callers.allows(_host_of(request.getClientAddress())):
            return AccessDeniedError()
        if self._settings.api_key is None:
            # no key: a web page must not reach us under a name of its own
            return None if _is_ours(host, request.getHost()) else AccessDeniedError()
        given = self._given_key(request)
        if given is None:
            return UnauthorizedError()
        expected = self._settings.api_key.get_secret_value().encode("utf-8")
        return None if hmac.compare_digest(given, expected) else BadApiKeyError()

    def _given_key(self, request: IRequest) -> bytes | None:
        for header in (b"x-api-key", b"secret"):
            values = request.requestHeaders.getRawHeaders(header)
            if values:
                return bytes(values[0])
        if self._settings.api_key_in_query:
            values = request.args.get(b"api_key")
            if values:
                return bytes(values[0])
        return None


def _named_host(request: IRequest) -> bytes | None:
    """Return the host that the caller means, in lower case; None if it says none."""
    values = request.requestHeaders.getRawHeaders(b"host", [])
    if not values:
        return None
    found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        raise BadRequestError(detail="there must be one well-formed Host header")
    return found["name"].lower()


def _is_ours(host: bytes | None, own: IAddress) -> bool:
    if host is None:
        return False
    if host in _LOCAL_NAMES:
        return True
    named = without_scope(host.strip(b"[]").decode("ascii"))
    return named is not None and named == without_scope(_host_of(own))
