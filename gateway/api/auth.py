"""Who may call: addresses, host names, rates and credentials."""

from __future__ import annotations

import hmac
import re
from typing import Final

from twisted.internet.address import IPv4Address as IPv4Peer
from twisted.internet.address import IPv6Address as IPv6Peer
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from gateway.api.settings import ApiSettings
from gateway.api.tokens import ADMIN, ANYBODY, READER, Caller
from gateway.errors import (
    AccessDeniedError,
    BadApiKeyError,
    BadRequestError,
    CallerError,
    ExpiredTokenError,
    InvalidTokenError,
    RoleDeniedError,
    TooManyRequestsError,
    UnauthorizedError,
)
from gateway.interfaces import ICertified
from gateway.ops.refusals import LONGEST_REASON, RefusalLog
from gateway.policy.access import AddressRules
from gateway.policy.addresses import (
    holder_of,
    is_loopback,
    parse_forwarded,
    shown,
    without_scope,
)
from gateway.policy.rates import RateLimit
from gateway.server.bans import BanTable
from gateway.wire.plain import cleaned

OPEN_PATHS: Final = frozenset({b"/health", b"/livez", b"/readyz"})
METRICS_PATH: Final = b"/metrics"
_FORWARDING: Final = (b"forwarded", b"x-forwarded-for", b"via")
_SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_HOST: Final = re.compile(
    rb"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?"
)
_LOCAL_NAMES: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
_OFFENCES: Final = (BadApiKeyError, InvalidTokenError)


def _host_of(address: IAddress) -> str:
    if isinstance(address, (IPv4Peer, IPv6Peer)):
        return str(address.host)
    return "-"  # a UNIX socket, say


class Gate:
    """Admit a request, or say why not."""

    log = Logger()

    def __init__(
        self,
        settings: ApiSettings,
        refusals: RefusalLog,
        clock: IReactorTime,
        bans: BanTable | None = None,
        pages: frozenset[bytes] = frozenset(),
    ) -> None:
        """Remember the rules.

        Args:
            settings: who may call.
            refusals: told of everybody who may not.
            clock: for the rates.
            bans: who is kept out, also for wrong credentials; None = nobody.
            pages: paths that need no credential, but an address that is allowed.
        """
        self._refusals = refusals
        self._clock = clock
        self._bans = bans
        self._pages = pages
        self._rate: RateLimit | None = None
        self._rated: tuple[int, float] | None = None
        self.configure(settings)

    def configure(self, settings: ApiSettings) -> None:
        """Judge by other rules; the counts of callers go on under the same rate."""
        self._settings = settings
        self._callers = AddressRules(settings.allowed_ips)
        self._proxies = AddressRules(settings.trusted_proxies)
        if settings.rate_limit != self._rated:
            rate = self._rated = settings.rate_limit
            self._rate = None if rate is None else RateLimit(*rate)

    def admit(self, request: IRequest) -> Caller:
        """Return who sent a request that may be served.

        Raises:
            AccessDeniedError: by the caller's address or role, or the host it names.
            TooManyRequestsError: from this address, or of this caller.
            UnauthorizedError: a credential is needed and there is none.
            BadApiKeyError: the key is wrong.
            InvalidTokenError: the token is not good.
            BadRequestError: `Host` is malformed, or there are several.
        """
        host = _named_host(request)
        address = self._address_of(request)
        try:
            self._check_rate(f"from {holder_of(address)}")
            if request.path in OPEN_PATHS:
                return Caller(ANYBODY, READER, address)
            return self._caller(request, host, address)
        except CallerError as fault:
            self._refusals.note(address, str(fault))
            expired = isinstance(fault, ExpiredTokenError)  # genuine, so no guess
            if isinstance(fault, _OFFENCES) and not expired:
                self._count_offence(address)
            raise

    def _count_offence(self, address: str) -> None:
        """Count a wrong credential, but not against a proxy that only passed it on."""
        is_proxy = self._settings.trusted_proxies and self._proxies.allows(address)
        if self._bans is not None and not is_proxy:
            self._bans.failed(address)

    def _address_of(self, request: IRequest) -> str:
        """Return where a request comes from.

        Behind trusted proxies it is the last address that is not one of theirs.  Where
        a proxy names none that can be read, it is the proxy's own.
        """
        address = _host_of(request.getClientAddress())
        if not self._settings.trusted_proxies:
            return address
        headers = request.requestHeaders.getRawHeaders(b"x-forwarded-for", [])
        hops = b",".join(headers).decode("latin-1").split(",")
        while hops and self._proxies.allows(address):
            hop = hops.pop()
            found = parse_forwarded(hop)
            if found is None:
                self._say_unreadable(address, hop)
                break
            address = str(found)
        return address

    def _say_unreadable(self, proxy: str, hop: str) -> None:
        self.log.warn(
            "X-Forwarded-For: proxy {proxy} names {hop}, which is not an IP address "
            "with or without a port; its request counts as the proxy's own. Let the "
            "proxy send the caller's address",
            proxy=proxy,
            hop=shown(cleaned(hop.strip(), LONGEST_REASON)),
            log_same="X-Forwarded-For",
        )

    def _check_rate(self, key: str) -> None:
        if self._rate is not None:
            seconds = self._rate.wait(key, self._clock.seconds())
            if seconds > 0:
                raise TooManyRequestsError(seconds=seconds)

    def _caller(self, request: IRequest, host: bytes | None, address: str) -> Caller:
        banned = self._bans is not None and not self._bans.admits(address)
        if banned or not self._callers.allows(address):
            raise AccessDeniedError()
        if request.path in self._pages and request.method in _SAFE_METHODS:
            return Caller(ANYBODY, READER, address)
        try:
            caller = self._identified(request, host, address)
        except (UnauthorizedError, AccessDeniedError):
            if not self._shows_metrics(request, host, address):
                raise
            caller = Caller(ANYBODY, READER, address)
        if caller.name != ANYBODY:
            self._check_rate(caller.name)
        if caller.role != ADMIN and request.method not in _SAFE_METHODS:
            raise RoleDeniedError(role=caller.role)
        return caller

    def _shows_metrics(
        self, request: IRequest, host: bytes | None, address: str
    ) -> bool:
        """Return whether a request is for the metrics, and needs no credential for it.

        What a proxy passes on, or a web page asks for under a host name of its own, is
        not a request of this machine.
        """
        open_to = self._settings.open_metrics
        if request.path != METRICS_PATH or open_to != "local":
            return bool(request.path == METRICS_PATH and open_to == "all")
        forwarded = any(map(request.getHeader, _FORWARDING))
        local = is_loopback(address) and _is_ours(host, request.getHost())
        return local and not forwarded

    def _identified(
        self, request: IRequest, host: bytes | None, address: str
    ) -> Caller:
        settings = self._settings
        if settings.api_key is not None:
            given = self._given_key(request)
            if given is not None:
                expected = settings.api_key.get_secret_value().encode("utf-8")
                if hmac.compare_digest(given, expected):
                    return Caller("API key", ADMIN, address)
                raise BadApiKeyError()
        if settings.tokens is not None:
            token = _given_token(request)
            if token is not None:
                return settings.tokens.judge(token, address)
        if settings.api_key is not None or settings.tokens is not None:
            raise UnauthorizedError()
        names = _certified(request)
        if names:
            return Caller(f"certificate {', '.join(sorted(names))}", ADMIN, address)
        # no credential: a web page must not reach us under a name of its own
        if not _is_ours(host, request.getHost()):
            raise AccessDeniedError()
        return Caller(ANYBODY, ADMIN, address)

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


def _given_token(request: IRequest) -> str | None:
    """Return the token of `Authorization: TOKEN` or `Authorization: Bearer TOKEN`."""
    values = request.requestHeaders.getRawHeaders(b"authorization")
    if not values:
        return None
    text = bytes(values[0]).decode("latin-1").strip()
    scheme, _, rest = text.partition(" ")
    return (rest.strip() if scheme.lower() == "bearer" else text) or None


def _certified(request: IRequest) -> frozenset[str]:
    """Return what the caller's certificate calls it; TLS has checked it."""
    transport = getattr(getattr(request, "channel", None), "transport", None)
    if not ICertified.providedBy(transport):
        return frozenset()
    names: frozenset[str] = transport.peer_names
    return names


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
