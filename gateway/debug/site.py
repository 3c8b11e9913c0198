"""The debug site: who may see its pages, and how they are served."""

from __future__ import annotations

from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from typing_extensions import override

from gateway.debug.census import IWatchingReactor
from gateway.debug.measuring import BusyError
from gateway.debug.pages import ROOT, TEXT, Page, Pages, RefusedError
from gateway.debug.turns import NoTurnsError
from gateway.ops.channel import SlicedRequest, SteadyChannel
from gateway.ops.slices import Slices
from gateway.policy.addresses import join_host_port

MOST_CONNECTIONS: Final = 16
IDLE_SECONDS: Final = 30.0
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_OUR_FETCHES: Final = frozenset({b"none", b"same-origin"})


class _Root(Resource):
    """Asks who it is, then finds the page."""

    _log = Logger()

    def __init__(self, pages: Pages) -> None:
        super().__init__()
        self.isLeaf = True
        self._pages = pages

    def render(self, request: Request) -> int:
        """Answer a request; called by the site."""
        request.responseHeaders.removeHeader(b"server")
        for name, value in _HEADERS:
            request.setHeader(name, value)
        answer = Deferred.fromCoroutine(self._answer(request))
        gone = request.notifyFinish()
        gone.addErrback(lambda _: answer.cancel())
        answer.addCallback(_finish, request)
        answer.addErrback(lambda failure: failure.trap(CancelledError))
        answer.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _answer(self, request: IRequest) -> Page:
        try:
            _admit(request)
            path = request.path.decode("latin-1")
            found = self._pages.paths.get(path) or self._pages.paths.get(f"{path}/")
            if found is None:
                raise RefusedError(http.NOT_FOUND, f"there is no such page; see {ROOT}")
            return await found[0](request)
        except RefusedError as fault:
            code, why = fault.code, str(fault)
        except BusyError as fault:
            code, why = http.CONFLICT, str(fault)
        except NoTurnsError as fault:
            code, why = http.NOT_IMPLEMENTED, str(fault)
        request.setResponseCode(code)
        return Page(TEXT, f"{why}\n".encode())

    def _failed(self, failure: Failure, request: IRequest) -> None:
        self._log.failure("the debug site failed", failure=failure)
        request.setResponseCode(http.INTERNAL_SERVER_ERROR)
        _finish(Page(TEXT, b"it failed; the log has the details\n"), request)


def _finish(page: Page, request: IRequest) -> None:
    request.setHeader("Content-Type", page.kind)
    request.setHeader("Content-Length", str(len(page.body)))
    request.write(page.body)
    request.finish()


def _admit(request: IRequest) -> None:
    """Refuse what did not come from this machine under its own name, or changes.

    Another machine cannot connect; a web page in a browser of this one can, under a
    name of its own that leads here, or as a part of another page.
    """
    if request.method != b"GET":
        request.setHeader("Allow", "GET")
        raise RefusedError(http.NOT_ALLOWED, "GET alone")
    own = request.getHost()
    hosts = request.requestHeaders.getRawHeaders(b"host", [])
    fetches = request.requestHeaders.getRawHeaders(b"sec-fetch-site", [b"none"])
    if len(hosts) != 1 or _name_of(hosts[0]) not in _names_of(own):
        raise RefusedError(
            http.FORBIDDEN, "ask by the name localhost or the address of this site"
        )
    if not _OUR_FETCHES.issuperset(fetches):
        raise RefusedError(http.FORBIDDEN, "not for other pages")


def _name_of(host: bytes) -> str:
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]


def _names_of(own: IAddress) -> set[str]:
    names = {"localhost"}
    if isinstance(own, (IPv4Address, IPv6Address)):
        names.add(join_host_port(own.host, own.port).rpartition(":")[0].lower())
    return names


class DebugChannel(SteadyChannel):
    """One connection, which is counted."""

    site: DebugSite

    @override
    def connectionMade(self) -> None:
        """Count it."""
        self.site.open += 1
        super().connectionMade()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count it no more."""
        self.site.open -= 1
        super().connectionLost(reason)


class DebugSite(Site):
    """The server: a few connections, no access log.

    Attributes:
        open: connections of the moment.
        slices: admits requests to the turns of the event loop.
    """

    noisy = False
    protocol = DebugChannel  # type: ignore[assignment] # Twisted names its own wrapper

    def __init__(self, pages: Pages, reactor: IWatchingReactor) -> None:
        super().__init__(
            _Root(pages),
            requestFactory=SlicedRequest,
            timeout=IDLE_SECONDS,
            reactor=reactor,
        )
        self.open = 0
        self.slices: Final = Slices(reactor)

    @override
    def buildProtocol(  # type: ignore[override] # as above
        self, addr: IAddress | None
    ) -> DebugChannel | None:
        """Return the channel of a new connection; None closes it at once."""
        if self.open >= MOST_CONNECTIONS:
            return None
        channel: DebugChannel | None = super().buildProtocol(addr)
        return channel

    @override
    def startFactory(self) -> None:
        """Do nothing: there is no access log to open."""

    @override
    def stopFactory(self) -> None:
        """Do nothing: there is no access log to close."""

    @override
    def log(self, request: http.Request) -> None:
        """Do nothing: there is no access log."""

    @override
    def acceptableProtocols(self) -> list[bytes]:
        """Return HTTP/1.1 alone."""
        return [b"http/1.1"]
