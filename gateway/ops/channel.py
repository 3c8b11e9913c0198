"""An HTTP connection whose answers wait for their reader."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.server import Request
from typing_extensions import override

from gateway.ops.slices import LINE, REQUEST, Slices

_ABSOLUTE: Final = re.compile(rb"https?://([^/?#@]+)(?=[/?]|$)", re.IGNORECASE)
MOST_PIPELINED: Final = 16384  # bytes of requests that wait for the one being answered
READ_BYTES: Final = 4096  # of one read: what waits for a turn is no more
PIECE: Final = 1024  # bytes that are parsed at once
_PIECE_COST: Final = 4
_CHEAP: Final = 20  # lines of a piece that `REQUEST` pays for


class SteadyChannel(http.HTTPChannel):
    """Parses requests in turns that have room, and waits for the answers to be sent.

    A head of very short lines, or a body of very short chunks, takes a thousand times
    as long to parse as others of its length.  So what arrives is parsed in pieces.

    twisted.web begins it as soon as they are written, so that a client that sends
    requests and reads nothing makes the process hold all the answers; and while an
    answer waits for its reader it keeps reading requests, without a limit.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answered: http.Request | None = None  # until its answer is sent
        self._written = 0
        self._kept = b""  # received, and not parsed yet
        self._room: Deferred[None] | None = None  # to parse more of it
        self._parsing = False

    @override
    def connectionMade(self) -> None:
        """Read little at a time."""
        cast(Any, self.transport).read_size = READ_BYTES
        super().connectionMade()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget what was not parsed."""
        self._kept = b""
        room, self._room = self._room, None
        if room is not None:
            room.cancel()
        super().connectionLost(reason)

    @override
    def dataReceived(self, data: bytes) -> None:
        """Take bytes, and parse them in turns of the event loop that have room."""
        self._kept += data
        if self._room is None:
            self._parse()
        else:
            self._networkProducer.pauseProducing()

    @override
    def setLineMode(self, extra: bytes = b"") -> None:
        """Expect a request; `extra` came before anything that was not parsed yet."""
        self.line_mode = 1
        if self._parsing:
            if extra:
                self.take(extra)
            return
        self._kept = extra + self._kept
        if self._room is None:
            self._parse()

    def _parse(self, *, admitted: bool = False) -> None:
        slices: Slices = cast(Any, self).site.slices
        while self._kept:
            if not admitted:
                self._room = slices.room(0)
                if self._room is not None:
                    self._room.addCallbacks(self._go_on, _trap_cancel)
                    self._networkProducer.pauseProducing()
                    return
            admitted = False
            piece, self._kept = self._kept[:PIECE], self._kept[PIECE:]
            slices.spend(_PIECE_COST + max(0, piece.count(b"\n") - _CHEAP) * LINE)
            self._parsing = True
            try:
                self.take(piece)
            finally:
                self._parsing = False

    def _go_on(self, _: None) -> None:
        self._room = None
        self._parse(admitted=True)
        waits = self._room is not None
        # while an answer waits for its reader only requests behind it are read
        if not waits and (self._handlingRequest or not self._waitingForTransport):
            self._networkProducer.resumeProducing()

    def take(self, data: bytes) -> None:
        """Parse bytes."""
        LineReceiver.dataReceived(self, data)

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


def _trap_cancel(failure: Failure) -> None:
    failure.trap(CancelledError)


class SlicedRequest(Request):
    """A request that waits for room in a turn of the event loop.

    Its channel's `site` has the `slices` that it asks.
    """

    @override
    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take a request, also one whose target names the server."""
        authority, target = split_target(path)
        if authority:
            # what is named there stands above the header (RFC 9112, section 3.2.2)
            self.requestHeaders.setRawHeaders(b"host", [authority])
        super().requestReceived(command, target, version)

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


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Split a request's target into the server's name and the path with its query.

    Returns:
        an empty name, and the target as it is, if no server is named.
    """
    found = _ABSOLUTE.match(target)
    if found is None:
        return b"", target
    rest = target[found.end() :]
    return found[1], rest if rest.startswith(b"/") else b"/" + rest
