"""Open a local target for each stream that the gateway opens."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.errors import DialError
from gateway.link.stream import StreamTransport
from gateway.mux.stream import Ending
from gateway.ops.logs import InfoLogger
from gateway.policy.limits import Slots
from gateway.policy.mapping import PORTS
from gateway.relay.dial import Dialer
from gateway.relay.near import NearProtocol
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.messages import OpenRequest

_LOG: Final = InfoLogger(f"{__name__}.Targets")


class Targets:
    """What this agent may dial, and how.

    Attributes:
        slots: streams of all links together.
        dial_seconds: look-up and dial together at most.
    """

    log = Logger()

    def __init__(
        self,
        dialer: Dialer,
        slots: Slots,
        default_host: str,
        dial_seconds: float,
        texts: Texts,
    ) -> None:
        self.slots = slots
        self.dial_seconds = dial_seconds
        self._dialer = dialer
        self._default_host = default_host
        self._texts = texts

    def place(self, request: OpenRequest) -> str:
        """Return where a request leads, for logs."""
        return f"{request.host or self._default_host}:{request.port}"

    def dial(self, request: OpenRequest, factory: Factory) -> Deferred[IProtocol]:
        """Connect to the target of a request; fails with `DialError`."""
        return self._dialer.dial(
            request.host or self._default_host,
            request.port,
            factory,
            self.dial_seconds,
        )

    def say(self, phrase: str, trace: str, detail: str) -> None:
        """Log one line of a stream's life."""
        _LOG.info(
            "{phrase}: {trace}: {detail}",
            phrase=self._texts(phrase),
            trace=trace,
            detail=detail,
        )


class _NearFactory(Factory):
    noisy = False

    def __init__(self, build: TargetDial) -> None:
        self._build = build

    def buildProtocol(self, addr: object) -> NearProtocol:
        """Return the protocol for the target's connection."""
        return self._build.near()


class TargetDial:
    """One stream, from the gateway's request to the end of the target's socket."""

    __slots__ = ("_counted", "_dialing", "_joined", "_place", "_targets", "_trace")

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._dialing: Deferred[IProtocol] | None = None
        self._counted = self._joined = False
        self._trace = ""
        self._place = ""

    def near(self) -> NearProtocol:
        """Return the protocol for the target's connection."""
        return NearProtocol(self._made, self._lost)

    def _made(self, near: NearProtocol) -> None:
        """The connection is up; `_reached` follows."""

    def stream_requested(self, stream: StreamTransport, request: OpenRequest) -> None:
        """Dial, within the limits."""
        targets = self._targets
        visitor = request.meta.get("visitor", "a visitor")
        self._trace = str(request.meta.get("trace", f"stream {stream.stream.id}"))[:64]
        self._place = f"{str(visitor)[:64]} to {targets.place(request)}"
        if request.protocol != frames.PROTOCOL_TCP or request.port not in PORTS:
            self._refuse(stream, frames.FAILURE, "not a TCP port")
            return
        if not targets.slots.acquire():
            self._refuse(stream, frames.STATUS_LIMIT, "limits.streams is reached")
            return
        self._counted = True
        self._dialing = dialing = targets.dial(request, _NearFactory(self))
        # may have failed already, then `_failed` runs before `addCallbacks` returns
        dialing.addCallbacks(
            self._reached, self._failed, callbackArgs=(stream,), errbackArgs=(stream,)
        )
        dialing.addErrback(self._broken, stream)

    def _refuse(self, stream: StreamTransport, status: int, why: str) -> None:
        self._targets.say("stream_closed", self._trace, f"{self._place}: {why}")
        stream.refuse(status)

    def _reached(self, near: NearProtocol, stream: StreamTransport) -> None:
        self._dialing = None
        if stream.over:
            near.transport.abortConnection()
            return
        self._joined = True
        self._targets.say("stream_opened", self._trace, self._place)
        stream.attach(near)

    def _failed(self, failure: Failure, stream: StreamTransport) -> None:
        self._dialing = None
        self._uncount()
        if failure.check(CancelledError):
            return
        failure.trap(DialError)
        fault = failure.value
        assert isinstance(fault, DialError)
        self._refuse(stream, fault.wire_status, str(fault))

    def _broken(self, failure: Failure, stream: StreamTransport) -> None:
        """A bug: it costs this stream, and is logged."""
        self._targets.log.failure("a target could not be joined", failure=failure)
        stream.kill(frames.ABORTED, "internal error")

    def stream_opened(self, stream: StreamTransport) -> None:
        """Agents answer; nobody answers them."""

    def stream_ended(self, stream: StreamTransport, ending: Ending) -> None:
        """Give up a dial under way, or say how much was carried."""
        dialing, self._dialing = self._dialing, None
        if dialing is not None:
            dialing.cancel()
            self._targets.say("stream_closed", self._trace, ending.reason)
        elif self._joined:
            self._targets.say(
                "stream_closed",
                self._trace,
                f"{ending.reason}, {stream.received} bytes sent, "
                f"{stream.sent} received",
            )

    def _lost(self, near: NearProtocol) -> None:
        self._uncount()

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._targets.slots.release()
