"""The HTTP server under the API: limits on time, size and number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from typing import Final, cast
from typing import Protocol as Seam

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Site
from typing_extensions import override

from gateway.api.faults import whole_refusal
from gateway.api.settings import ApiSettings
from gateway.errors import (
    BadRequestError,
    BodyTooLargeError,
    CallerError,
    SlowRequestError,
)
from gateway.ops.channel import SlicedRequest, SteadyChannel
from gateway.ops.slices import Slices
from gateway.policy.addresses import holder_of
from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
from gateway.policy.shares import Shares
from gateway.texts import Language

LINGER_SECONDS: Final = 2.0  # so that a refusal is read before the close
LINGER_BYTES: Final = 1 << 20
FULL_EACH_SECONDS: Final = 60.0  # how often a full house is logged
STALL_SECONDS: Final = 30.0  # in which a reader must take some of an answer


class Served(Seam):
    """What a server serves."""

    @property
    def settings(self) -> ApiSettings:
        """Its limits."""

    @property
    def connections(self) -> Slots:
        """The places of connections."""

    def resource(self) -> IResource:
        """Return the root of its routes."""

    def language(self, request: IRequest) -> Language:
        """Return the language to answer a request in."""

    def is_known(self, request: IRequest) -> bool:
        """Return whether a request was admitted by more than its address."""


class _TooLongError(Exception):
    """A body whose length was not announced went over the limit."""


class _CappedBody(BytesIO):
    """A body in memory, up to a limit; counted until it is closed.

    Attributes:
        held: its bytes.
    """

    def __init__(self, limit: int, memory: Budget) -> None:
        super().__init__()
        self._limit = limit
        self._memory = memory
        self.held = 0

    def write(self, chunk: bytes, /) -> int:  # type: ignore[override]
        if self.held + len(chunk) > self._limit:
            raise _TooLongError
        self.held += len(chunk)
        self._memory.hold(len(chunk))
        return super().write(chunk)

    def release(self) -> None:
        """Count it no more."""
        held, self.held = self.held, 0
        self._memory.let_go(held)

    def close(self) -> None:
        self.release()
        super().close()


class ApiChannel(SteadyChannel):
    """One connection: a deadline for each request as a whole, and a cap on bodies.

    A client that was refused half-way gets its answer, then our half of the
    connection closes, and what it still sends is thrown away for a moment.

    Attributes:
        parting: its last answer was without end, and was ended in order.
        is_known: its last request was admitted by more than its address.
    """

    site: ApiSite
    transport: ITCPTransport

    def __init__(self) -> None:
        super().__init__()
        self.parting = False
        self.is_known = False
        self._moved_before = 0  # when the reader was last looked at
        self._receiving = False  # part of an unfinished request is here
        self._lingering: int | None = None  # bytes that may still be thrown away

    @override
    def connectionMade(self) -> None:
        """Note the connection as open."""
        self.site.channels.add(self)
        self.site.await_request(self)
        super().connectionMade()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the connection as gone."""
        self.site.forget(self)
        super().connectionLost(reason)

    @override
    def dataReceived(self, data: bytes) -> None:
        """Take bytes, or throw them away."""
        if self._lingering is None:
            super().dataReceived(data)
        else:
            self._throw_away(len(data))

    @override
    def take(self, data: bytes) -> None:
        """Parse bytes; only a request's first ones start its deadline anew."""
        if self._lingering is not None:
            self._throw_away(len(data))
            return
        if not self._receiving:
            self._receiving = True
            self.resetTimeout()
        super().take(data)

    @override
    def lineReceived(self, line: bytes) -> None:
        """Take a line of a request's head."""
        if self._lingering is None:
            super().lineReceived(line)

    @override
    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line without end."""
        self._respondToBadRequestAndDisconnect()

    @override
    def allHeadersReceived(self) -> None:
        """Refuse a body that is announced as too long before it is sent."""
        if self.length is not None and self.length > self.site.body_limit_bytes:
            self._refuse(BodyTooLargeError(limit=self.site.body_limit_bytes))
        else:
            super().allHeadersReceived()

    @override
    def rawDataReceived(self, data: bytes) -> None:
        """Take a part of a body."""
        if self._lingering is not None:
            self._throw_away(len(data))
            return
        try:
            super().rawDataReceived(data)
        except _TooLongError:
            self._refuse(BodyTooLargeError(limit=self.site.body_limit_bytes))

    @override
    def allContentReceived(self) -> None:
        """Serve the request, which is complete."""
        if self._lingering is None:
            self._receiving = False
            self.site.waiting.discard(self)
            super().allContentReceived()

    @override
    def requestDone(self, request: http.Request) -> None:
        """Go on to the next request, or see that the last answer leaves in time."""
        self.is_known = self.site.api.is_known(cast(IRequest, request))
        if self in self.site.channels:
            self.site.await_request(self)
        if not self.persistent:
            self._linger(self.site.timeout_seconds)
        super().requestDone(request)

    @override
    def pauseProducing(self) -> None:
        """Note that the reader is slow; called when much is unsent."""
        super().pauseProducing()
        if self.requests:
            request = cast(IRequest, self.requests[0])
            self.is_known = self.site.api.is_known(request)
        if self in self.site.channels:
            self.site.stalled.setdefault(self)
        if self._lingering is None:
            self._moved_before = self.moved
            self.setTimeout(STALL_SECONDS)

    @override
    def resumeProducing(self) -> None:
        """Go on: everything written has been sent."""
        self.site.stalled.pop(self, None)
        if self._lingering is None:
            self.setTimeout(None if self.requests else self.site.timeout_seconds)
        super().resumeProducing()

    @override
    def timeoutConnection(self) -> None:
        """End a connection that took too long."""
        if self._lingering is not None:
            self.transport.abortConnection()
        elif self._waitingForTransport:
            self._look_at_reader()
        elif self._receiving:
            self._refuse(SlowRequestError(seconds=f"{self.site.timeout_seconds:g}"))
        else:
            self._linger(LINGER_SECONDS)
            self.loseConnection()

    @property
    def held(self) -> int:
        """Bytes of answers and of a body that wait in this process."""
        return self.unsent + sum(body.held for body in self._bodies())

    def _bodies(self) -> list[_CappedBody]:
        return [
            one.content for one in self.requests if isinstance(one.content, _CappedBody)
        ]

    def drop(self) -> None:
        """End the connection at once, and count nothing that it held."""
        self.transport.abortConnection()
        for body in self._bodies():
            body.release()

    @property
    def holder(self) -> str:
        """Where it is from, as limits for addresses count it."""
        return holder_of(str(getattr(self.transport.getPeer(), "host", "")))

    def _look_at_reader(self) -> None:
        """End the connection unless some of its last answer was read meanwhile."""
        if self.moved == self._moved_before:
            self.transport.abortConnection()
            return
        self._moved_before = self.moved
        self.setTimeout(STALL_SECONDS)

    @override
    def _respondToBadRequestAndDisconnect(self) -> None:
        self._refuse(BadRequestError(detail="not well-formed HTTP, or too long a head"))

    def _refuse(self, fault: CallerError) -> None:
        if self._lingering is not None:
            return
        self._linger(LINGER_SECONDS)
        language = self.site.language_of(self.requests[-1] if self.requests else None)
        self.transport.write(whole_refusal(fault, language))
        self.transport.loseWriteConnection()

    def _linger(self, seconds: float) -> None:
        self._lingering = LINGER_BYTES
        self.setTimeout(seconds)

    def _throw_away(self, amount: int) -> None:
        assert self._lingering is not None
        self._lingering -= amount
        if self._lingering < 0:
            self.transport.abortConnection()


class _ApiRequest(SlicedRequest):
    @override
    def process(self) -> None:
        if self.path == b"*":  # else answered by Twisted, around the gate
            self.path = b"/*"
        super().process()


class ApiSite(Site):
    """The server: no access log, HTTP/1.1, and at most so many connections and bytes.

    Those that send requests slowly, or none, keep nobody out: when there is no room the
    oldest of them gives way, of the address that has the most of them.  Those that do
    not read their answers are closed when memory is tight: callers without a credential
    first, of the address that holds most the one that has been slow for longest.

    Attributes:
        api: what is served.
        channels: the connections that are open.
        waiting: those of them without a complete request.
        stalled: those of them that read slowly, the slowest first.
        memory: what answers hold that are not sent yet.
        slices: admits requests to the turns of the event loop.
        timeout_seconds: for a request to arrive.
        body_limit_bytes: longest body accepted.
    """

    noisy = False
    protocol = ApiChannel  # type: ignore[assignment] # Twisted names its own wrapper
    _log = Logger()

    def __init__(
        self, api: Served, clock: IReactorTime, memory: Budget, slices: Slices
    ) -> None:
        settings = api.settings
        super().__init__(
            api.resource(),
            requestFactory=_ApiRequest,
            parsePOSTFormSubmission=False,
            timeout=settings.request_timeout_seconds,
            reactor=clock,
        )
        self.channels: set[ApiChannel] = set()
        self.waiting: Shares[ApiChannel] = Shares()
        self.stalled: dict[ApiChannel, None] = {}
        self.memory: Final = memory
        self.slices: Final = slices
        self.timeout_seconds = settings.request_timeout_seconds
        self.body_limit_bytes = settings.body_limit_bytes
        self.api: Final = api
        self._said_full_at: float | None = None
        self._said_tight_at: float | None = None
        self._relief: IDelayedCall | None = None
        memory.alarm = self._is_tight

    @override
    def buildProtocol(  # type: ignore[override] # as above
        self, addr: IAddress | None
    ) -> ApiChannel | None:
        """Return the channel of a new connection; None closes it at once."""
        if not self.api.connections.acquire():
            self._say_full()
            if not self._give_place(getattr(addr, "host", "?")):
                return None
            self.api.connections.acquire()
        channel: ApiChannel | None = super().buildProtocol(addr)
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
        """Return HTTP/1.1 alone, for which the limits hold."""
        return [b"http/1.1"]

    def getContentFile(self, _length: int | None) -> BytesIO:  # noqa: N802
        """Return where a request's body is kept; called by the request."""
        return _CappedBody(self.body_limit_bytes, self.memory)

    def language_of(self, request: IRequest | None) -> Language:
        """Return the language to refuse a request in, as far as it has come."""
        if request is None:
            return self.api.settings.language
        return self.api.language(request)

    def forget(self, channel: ApiChannel) -> None:
        """Count a connection no more; may be called twice."""
        if channel in self.channels:
            self.channels.discard(channel)
            self.api.connections.release()
        self.waiting.discard(channel)
        self.stalled.pop(channel, None)

    def await_request(self, channel: ApiChannel) -> None:
        """Note that a connection has no complete request from now on."""
        host = getattr(channel.transport.getPeer(), "host", "?")
        self.waiting.add(channel, host, self.reactor.seconds())

    def _give_place(self, host: str) -> bool:
        """Drop a connection that must give way to one from `host`, if any must."""
        channel = self.waiting.victim(host, self.reactor.seconds())
        channel = channel or _slowest(self.stalled)
        if channel is None:
            return False
        self._drop(channel)
        return True

    def _is_tight(self) -> None:
        self.memory.alarm = None
        self._relief = self.reactor.callLater(0, self._make_room)

    def _make_room(self) -> None:
        self._relief = None
        self.memory.alarm = self._is_tight
        while self.memory.tight:
            slowest = _slowest(self.stalled or filter(_holds, self.waiting))
            if slowest is None:
                return
            self.memory.broken += 1
            self._say_tight(slowest)
            self._drop(slowest)

    def _drop(self, channel: ApiChannel) -> None:
        self.forget(channel)  # its end comes later, after more have been accepted
        channel.drop()

    def abort_connections(self) -> None:
        """End all connections at once, but for those that part already.

        Changes under way go on.
        """
        self.memory.alarm = None
        if self._relief is not None:
            self._relief.cancel()
            self._relief = None
        for channel in list(self.channels):
            if not channel.parting:
                channel.transport.abortConnection()

    def _say_full(self) -> None:
        now = self.reactor.seconds()
        if self._said_full_at is None or now - self._said_full_at >= FULL_EACH_SECONDS:
            self._said_full_at = now
            self._log.warn(
                "{count} API connections are open, which is the limit: new ones take "
                "the place of those without a complete request, or are refused",
                count=len(self.channels),
            )

    def _say_tight(self, channel: ApiChannel) -> None:
        now = self.reactor.seconds()
        if (
            self._said_tight_at is None
            or now - self._said_tight_at >= FULL_EACH_SECONDS
        ):
            self._said_tight_at = now
            self._log.warn(
                "API memory is tight: {held} of {limit} bytes are held; closing "
                "connections of slow readers, first one of {address}",
                held=self.memory.held,
                limit=self.memory.limit,
                address=channel.holder,
            )


def _holds(channel: ApiChannel) -> bool:
    return channel.held > 0


def _slowest(channels: Iterable[ApiChannel]) -> ApiChannel | None:
    """Return the connection to close first; None if there is none.

    Args:
        channels: those to choose from, the slowest first.
    """
    found = list(channels)
    candidates = [one for one in found if not one.is_known] or found
    held: Counter[str] = Counter()
    for one in candidates:
        held[one.holder] += one.held
    return max(candidates, key=lambda one: held[one.holder], default=None)


def make_site(
    api: Served,
    clock: IReactorTime,
    memory: Budget | None = None,
    slices: Slices | None = None,
) -> ApiSite:
    """Return the factory that serves `api` within its settings' limits.

    Args:
        api: what is served.
        clock: for its time limits.
        memory: what its transports count by; None = nobody counts.
        slices: shared with what else takes long; None = its own.
    """
    return ApiSite(api, clock, memory or Budget(), slices or Slices(clock))
