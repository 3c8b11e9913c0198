"""Open a local target for each stream that the gateway opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.errors import DialError
from gateway.interfaces import IAttempt
from gateway.link.stream import StreamTransport
from gateway.mux.stream import Ending
from gateway.ops.logs import InfoLogger
from gateway.policy.addresses import PORTS
from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
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
        memory: what they share.
        dial_seconds: look-up and dial together at most.
    """

    log = Logger()

    def __init__(
        self,
        dialer: Dialer,
        slots: Slots,
        memory: Budget,
        default_host: str,
        dial_seconds: float,
        texts: Texts,
    ) -> None:
        self.slots = slots
        self.memory = memory
        self.dial_seconds = dial_seconds
        self._dialer = dialer
        self._default_host = default_host
        self._texts = texts

    def place(self, request: OpenRequest) -> str:
        """Return where a request leads, for logs."""
        return f"{request.host or self._default_host}:{request.port}"

    def reach(
        self, request: OpenRequest, factory: Factory, failed: Callable[[Failure], None]
    ) -> IAttempt:
        """Connect to the target of a request, or call `failed` with a `DialError`."""
        return self._dialer.reach(
            request.host or self._default_host,
            request.port,
            factory,
            failed,
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

    __slots__ = (
        "_counted",
        "_dialing",
        "_joined",
        "_place",
        "_stream",
        "_targets",
        "_trace",
        "_waiting",
    )

    _stream: StreamTransport

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._dialing: IAttempt | None = None
        self._counted = self._joined = self._waiting = False
        self._trace = ""
        self._place = ""

    def near(self) -> NearProtocol:
        """Return the protocol for the target's connection."""
        return NearProtocol(self._reached, self._lost)

    def stream_requested(self, stream: StreamTransport, request: OpenRequest) -> None:
        """Dial, within the limits."""
        targets = self._targets
        visitor = request.meta.get("visitor", "a visitor")
        self._trace = str(request.meta.get("trace", f"stream {stream.stream.id}"))[:64]
        self._place = f"{str(visitor)[:64]} to {targets.place(request)}"
        if request.protocol != frames.PROTOCOL_TCP or request.port not in PORTS:
            self._refuse(stream, frames.FAILURE, "not a TCP port")
            return
        if not targets.memory.admits():
            self._refuse(stream, frames.STATUS_LIMIT, "limits.memory is reached")
            return
        if not targets.slots.acquire():
            self._refuse(stream, frames.STATUS_LIMIT, "limits.streams is reached")
            return
        self._counted = self._waiting = True
        self._stream = stream
        dialing = targets.reach(request, _NearFactory(self), self._failed)
        if self._waiting:
            self._dialing = dialing

    def _refuse(self, stream: StreamTransport, status: int, why: str) -> None:
        self._targets.say("stream_closed", self._trace, f"{self._place}: {why}")
        stream.refuse(status)

    def _stop_waiting(self) -> None:
        self._waiting = False
        self._dialing = None

    def _reached(self, near: NearProtocol) -> None:
        self._stop_waiting()
        if self._stream.over:
            near.transport.abortConnection()
            return
        self._joined = True
        self._targets.say("stream_opened", self._trace, self._place)
        try:
            self._stream.attach(near)
        except Exception:  # noqa: BLE001 - a bug costs this stream only
            self._broken(Failure())

    def _failed(self, failure: Failure) -> None:
        self._stop_waiting()
        self._uncount()
        fault = failure.value
        if isinstance(fault, DialError):
            self._refuse(self._stream, fault.wire_status, str(fault))
        else:
            self._broken(failure)

    def _broken(self, failure: Failure) -> None:
        self._targets.log.failure("a target could not be joined", failure=failure)
        self._stream.kill(frames.ABORTED, "internal error")

    def stream_opened(self, stream: StreamTransport) -> None:
        """Agents answer; nobody answers them."""

    def stream_ended(self, stream: StreamTransport, ending: Ending) -> None:
        """Give up a dial under way, or say how much was carried."""
        dialing = self._dialing
        self._stop_waiting()
        if dialing is not None:
            dialing.cancel()
            self._uncount()
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
