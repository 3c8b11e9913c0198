"""Open a local target for each stream that the gateway opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import DeniedError, DialError
from gateway.interfaces import Dialled, IAttempt, IStream, IStreamListener
from gateway.mux.stream import Ending
from gateway.net.sockets import is_bound
from gateway.ops.logs import InfoLogger
from gateway.policy.addresses import PORTS, cut_port, holder_of
from gateway.policy.budget import Budget
from gateway.policy.hops import CIRCLE, MOST_HOPS, Hops
from gateway.policy.limits import Slots
from gateway.relay.dial import Dialer
from gateway.relay.near import NearProtocol
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.messages import OpenRequest
from gateway.wire.plain import cleaned

LONGEST_HOST: Final = 255  # characters, in texts for people
LONGEST_META: Final = 64
_LOG: Final = InfoLogger(f"{__name__}.Targets")


class Targets:
    """What this agent may dial, and how.

    Attributes:
        clock: for how long a stream lasts.
        slots: streams of all links together.
        memory: what they share.
        hops: which streams have come back to this agent.
        dial_seconds: look-up and dial together at most.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        dialer: Dialer,
        wary_dialer: Dialer,
        slots: Slots,
        memory: Budget,
        default_host: str,
        dial_seconds: float,
        texts: Texts,
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for how long a stream lasts.
            dialer: reaches targets.
            wary_dialer: those at a port that the gateway serves too: it refuses the
                gateway's own addresses.
            slots: streams of all links together.
            memory: what they share.
            default_host: target of requests that name none.
            dial_seconds: look-up and dial together at most.
            texts: for the documented log phrases.
        """
        self.clock = clock
        self.slots = slots
        self.memory = memory
        self.dial_seconds = dial_seconds
        self.hops = Hops(is_bound)
        self._dialer = dialer
        self._wary_dialer = wary_dialer
        self._default_host = default_host
        self._texts = texts

    def place(self, request: OpenRequest) -> str:
        """Return where a request leads, for logs."""
        host = cleaned(request.host, LONGEST_HOST) or self._default_host
        return f"{host}:{request.port}"

    def reach(
        self,
        request: OpenRequest,
        factory: Factory,
        failed: Callable[[Failure], None],
        dialled: Dialled,
    ) -> IAttempt:
        """Connect to the target of a request, or call `failed` with a `DialError`."""
        wary = request.meta.get("gateway_port") is True
        dialer = self._wary_dialer if wary else self._dialer
        return dialer.reach(
            request.host or self._default_host,
            request.port,
            factory,
            failed,
            self.dial_seconds,
            dialled,
        )

    def hops_of(self, request: OpenRequest) -> int:
        """Return how often what a request is for has passed gateway or agent."""
        said = request.meta.get("hops")
        declared = said if type(said) is int and said > 0 else 0
        peer = request.meta.get("peer", request.meta.get("visitor", ""))
        host, _, port = str(peer)[:64].rpartition(":")
        here = self.hops.of(host.strip("[]"), int(port)) if _is_port(port) else 0
        return max(min(declared, MOST_HOPS + 1), here)

    def say_dial(self, trace: str, visitor: str, target: str) -> None:
        """Log that a target is dialled."""
        _LOG.debug(
            "dialling: {trace}: {visitor} to {target}",
            trace=trace,
            visitor=visitor,
            target=target,
        )

    def say_opened(
        self, trace: str, visitor: str, target: str, open_seconds: float
    ) -> None:
        """Log that a target is reached."""
        phrase = self._texts("stream_opened")
        _LOG.say(
            f"{phrase}: {trace}: {visitor} to {target}",
            phrase=phrase,
            trace=trace,
            visitor=visitor,
            target=target,
            open_seconds=open_seconds,
        )

    def say_closed(
        self,
        trace: str,
        visitor: str,
        target: str,
        reason: str,
        sent: int,
        received: int,
        duration_seconds: float,
    ) -> None:
        """Log the end of a stream: why, and what it carried."""
        phrase = self._texts("stream_closed")
        _LOG.say(
            f"{phrase}: {trace}: {visitor} to {target}: {reason}, {sent} bytes sent, "
            f"{received} received, {duration_seconds:.3f} s",
            phrase=phrase,
            trace=trace,
            visitor=visitor,
            target=target,
            reason=reason,
            bytes_sent=sent,
            bytes_received=received,
            duration_seconds=duration_seconds,
        )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal()


class _NearFactory(Factory):
    noisy = False

    def __init__(self, build: TargetDial) -> None:
        self._build = build

    def buildProtocol(self, addr: object) -> NearProtocol:
        """Return the protocol for the target's connection."""
        return self._build.near()


@implementer(IStreamListener)
class TargetDial:
    """One stream, from the gateway's request to the end of the target's socket."""

    __slots__ = (
        "_began_at",
        "_counted",
        "_dialing",
        "_hops",
        "_joined",
        "_stream",
        "_target",
        "_targets",
        "_trace",
        "_visitor",
        "_waiting",
    )

    _stream: IStream

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._dialing: IAttempt | None = None
        self._counted = self._joined = self._waiting = False
        self._hops = 0
        self._began_at = targets.clock.seconds()
        self._trace = self._visitor = self._target = ""

    @property
    def address(self) -> str:
        """The visitor's, if the gateway has told it."""
        try:
            host, _port = cut_port(self._visitor)
        except ValueError:
            host = self._visitor
        return holder_of(host)

    def near(self) -> NearProtocol:
        """Return the protocol for the target's connection."""
        return NearProtocol(self._reached, self._lost)

    def stream_requested(self, stream: IStream, request: OpenRequest) -> None:
        """Dial, within the limits."""
        targets = self._targets
        meta = request.meta
        trace = str(meta.get("trace", f"stream {request.stream_id}"))
        self._trace = cleaned(trace, LONGEST_META)
        self._visitor = cleaned(str(meta.get("visitor", "a visitor")), LONGEST_META)
        self._target = targets.place(request)
        if request.protocol != frames.PROTOCOL_TCP:
            why = f"streams of kind {request.protocol} are not known here"
            self._refuse(stream, frames.FAILURE, why)
            return
        if request.port not in PORTS:
            self._refuse(stream, frames.FAILURE, "not a TCP port")
            return
        self._hops = targets.hops_of(request)
        if self._hops > MOST_HOPS:
            self._refuse(stream, DeniedError.wire_status, CIRCLE)
            return
        if not targets.memory.admits(self.address):
            self._refuse(stream, frames.STATUS_LIMIT, "limits.memory is reached")
            return
        if not targets.slots.acquire():
            self._refuse(stream, frames.STATUS_LIMIT, "limits.streams is reached")
            return
        self._counted = self._waiting = True
        self._stream = stream
        targets.say_dial(self._trace, self._visitor, self._target)
        dialing = targets.reach(
            request, _NearFactory(self), self._failed, self._dialled
        )
        if self._waiting:
            self._dialing = dialing

    def _dialled(self, local: str, port: int, address: str, fd: int) -> None:
        self._targets.hops.note(local, port, address, fd, self._hops)

    def _refuse(self, stream: IStream, status: int, why: str) -> None:
        self._say_closed(why)
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
        targets = self._targets
        targets.say_opened(
            self._trace,
            self._visitor,
            self._target,
            targets.clock.seconds() - self._began_at,
        )
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
        self._stream.abort(frames.ABORTED, "internal error")

    def stream_opened(self, stream: IStream) -> None:
        """Agents answer; nobody answers them."""

    def stream_ended(self, stream: IStream, ending: Ending) -> None:
        """Give up a dial under way, or say how much was carried."""
        dialing = self._dialing
        self._stop_waiting()
        if dialing is not None:
            dialing.cancel()
            self._uncount()
            self._say_closed(ending.reason)
        elif self._joined:
            self._say_closed(ending.reason, stream.received, stream.sent)

    def _say_closed(self, reason: str, sent: int = 0, received: int = 0) -> None:
        targets = self._targets
        targets.say_closed(
            self._trace,
            self._visitor,
            self._target,
            reason,
            sent,
            received,
            targets.clock.seconds() - self._began_at,
        )

    def _lost(self, near: NearProtocol) -> None:
        self._uncount()

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._targets.slots.release()
