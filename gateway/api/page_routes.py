"""Routes of the live view: the page, and the files that it is made of."""

from __future__ import annotations

from typing import Final

from twisted.web.http import CACHED
from twisted.web.iweb import IRequest

from gateway.api.exchange import Endpoint
from gateway.api.faults import path_text
from gateway.api.pages import STATIC, Pages, SentFile
from gateway.api.settings import ApiSettings
from gateway.errors import NoRouteError

_SIGN_IN: Final = "/login"
# where the page begins when it was asked for under another address
_PLACES: Final = {
    "/": "#/overview",
    "/dashboard": "#/overview",
    "/admin": "#/mappings",
    "/api/stats/monitor": "#/traffic",
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'"
)
_HEADERS: Final = (
    (b"Content-Security-Policy", _POLICY),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Vary", b"Accept-Encoding"),
)
_ASK_AGAIN: Final = b"no-cache"
_KEEP: Final = b"public, max-age=31536000, immutable"


class PageRoutes:
    """Send the live view to whoever may reach the API."""

    def __init__(self, pages: Pages, settings: ApiSettings) -> None:
        self._pages = pages
        self.configure(settings)

    def configure(self, settings: ApiSettings) -> None:
        """Ask for a credential if the API does."""
        self._asks = settings.api_key is not None or settings.tokens is not None

    @property
    def paths(self) -> frozenset[bytes]:
        """What needs no credential: nothing in it tells of this gateway."""
        return frozenset(
            path.encode() for path in (_SIGN_IN, *_PLACES, *self._pages.static)
        )

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [
            Endpoint("GET", _SIGN_IN, self._page),
            *(Endpoint("GET", path, self._place) for path in _PLACES),
            Endpoint("GET", f"{STATIC}<path:name>", self._static),
        ]

    def _place(self, request: IRequest) -> bytes:
        if not self._asks:
            return self._page(request)
        place = _PLACES[request.path.decode("ascii")]
        request.setResponseCode(302)
        request.setHeader(b"Location", f"{_SIGN_IN}{place}".encode())
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Content-Length", b"0")
        return b""

    def _page(self, request: IRequest) -> bytes:
        return _send(request, self._pages.page, _ASK_AGAIN)

    def _static(self, request: IRequest, name: str) -> bytes:
        found = self._pages.static.get(f"{STATIC}{name}")
        if found is None:
            raise NoRouteError(path=path_text(request.path))
        return _send(request, found, _KEEP)


def _send(request: IRequest, file: SentFile, keeping: bytes) -> bytes:
    """Write the head of a file's answer and return its body."""
    for name, content in _HEADERS:
        request.setHeader(name, content)
    request.setHeader(b"Cache-Control", keeping)
    accepted = request.getHeader(b"accept-encoding") or b""
    # files alone: nothing in them is secret, and no scanner takes the page for an
    # answer that BREACH could read
    packed = keeping == _KEEP and b"gzip" in accepted.lower()
    tag = b'"%s%s"' % (file.tag, b"-gzip" if packed else b"")
    if request.setETag(tag) is CACHED:
        return b""
    body = file.packed if packed else file.plain
    if packed:
        request.setHeader(b"Content-Encoding", b"gzip")
    request.setHeader(b"Content-Type", file.content_type)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body
