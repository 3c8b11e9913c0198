"""An HTTP connection whose answers wait for their reader."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from twisted.web import http
from twisted.web.server import Request
from typing_extensions import override

from gateway.ops.slices import REQUEST, Slices

MOST_PIPELINED: Final = 16384  # bytes of requests that wait for the one being answered


class SteadyChannel(http.HTTPChannel):
    """Begins a request when the answers before it have been sent.

    twisted.web begins it as soon as they are written, so that a client that sends
    requests and reads nothing makes the process hold all the answers; and while an
    answer waits for its reader it keeps reading requests, without a limit.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answered: http.Request | None = None  # until its answer is sent
        self._written = 0

    @property
    def unsent(self) -> int:
        """Bytes of answers that wait in this process."""
        return cast(int, getattr(self.transport, "unsent", 0))

    @property
    def moved(self) -> int:
        """Bytes of answers that the kernel has taken."""
        return self._written - self.unsent

    @override
    def write(self, data: bytes) -> None:
        """Write a part of an answer."""
        self._written += len(data)
        super().write(data)

    @override
    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write parts of an answer."""
        pieces = list(iovec)
        self._written += sum(map(len, pieces))
        super().writeSequence(pieces)

    @override
    def rawDataReceived(self, data: bytes) -> None:
        """Take a part of a body, or requests that must wait."""
        if not self._handlingRequest:
            super().rawDataReceived(data)
            return
        self._dataBuffer.append(data)
        if sum(map(len, self._dataBuffer)) > MOST_PIPELINED:
            self._networkProducer.pauseProducing()

    @override
    def requestDone(self, request: http.Request) -> None:
        """Begin the next request, or wait until this one's answer is sent."""
        if self.persistent and self._waitingForTransport:
            self._answered = request
        else:
            super().requestDone(request)

    @override
    def resumeProducing(self) -> None:
        """Everything written has been sent."""
        super().resumeProducing()
        request, self._answered = self._answered, None
        if request is not None:
            self.requestDone(request)


class SlicedRequest(Request):
    """A request that waits for room in a turn of the event loop.

    Its channel's `site` has the `slices` that it asks.
    """

    @override
    def process(self) -> None:
        """Answer the request; called when it is complete."""
        slices: Slices = cast(Any, self.channel).site.slices
        waiting = slices.room(REQUEST)
        if waiting is None:
            super().process()
            return
        self.notifyFinish().addErrback(lambda _: waiting.cancel())
        # a cancelled one is not answered: its connection is gone
        waiting.addCallbacks(lambda _: Request.process(self), lambda _: None)
