"""Long answers: made in slices, and sent as their reader takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from pydantic import BaseModel
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from zope.interface import implementer

from gateway.api.replies import SECURITY_HEADERS, encode
from gateway.ops.slices import ROW, Slices

LONG: Final = 1 << 16  # bytes of an answer from which on it is sent in parts

_log = Logger()


def array(rows: Iterable[BaseModel]) -> Iterator[bytes]:
    """Return the elements of a JSON array, one at a time."""
    comma = b""
    for row in rows:
        yield comma + encode(row.model_dump(mode="json"))
        comma = b","


def around(text: bytes, field: str) -> tuple[bytes, bytes]:
    """Return what stands before and behind the elements of an array.

    Args:
        text: of an object in which the array is empty.
        field: name of the array.
    """
    head, found, tail = text.partition(b'"%s":[]' % field.encode())
    assert found
    return head + found[:-1], b"]" + tail


@implementer(IPushProducer)
class Parts:
    """An answer that is sent in parts, none before the one before it is read."""

    def __init__(self, request: Any) -> None:  # noqa: ANN401 - `IRequest` lacks producers
        """Begin to answer."""
        self._request = request
        self._paused = False
        self._waiting: Deferred[None] | None = None
        for name, content in SECURITY_HEADERS:
            self._request.setHeader(name, content)
        self._request.registerProducer(self, True)

    async def write(self, data: bytes) -> None:
        """Send a part, and wait until the reader has taken it."""
        self._request.write(data)
        if self._paused:
            self._waiting = Deferred()
            await self._waiting

    def end(self) -> None:
        """Send nothing more."""
        self._request.unregisterProducer()

    def break_off(self) -> None:
        """End the connection, so that nobody takes the answer for complete."""
        self._request.channel.transport.abortConnection()

    def pauseProducing(self) -> None:
        """The reader is slow."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The reader has taken everything."""
        self._paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the end of the connection cancels the answer."""


class Answer:
    """Gathers an answer; one that gets long is sent while it is made."""

    def __init__(self, request: IRequest) -> None:
        self._request = request
        self._gathered = bytearray()
        self._parts: Parts | None = None

    async def add(self, text: bytes) -> None:
        """Take the next bytes."""
        self._gathered += text
        if len(self._gathered) >= LONG:
            if self._parts is None:
                self._parts = Parts(self._request)
            await self._flush(self._parts)

    async def _flush(self, parts: Parts) -> None:
        data = bytes(self._gathered)
        self._gathered.clear()
        await parts.write(data)

    async def end(self) -> bytes:
        """Return what the route has to return."""
        if self._parts is not None:
            await self._flush(self._parts)
            self._parts.end()
            return b""
        for name, content in SECURITY_HEADERS:
            self._request.setHeader(name, content)
        self._request.setHeader(b"Content-Length", b"%d" % len(self._gathered))
        return bytes(self._gathered)

    def failed(self) -> bool:
        """Break the answer off; False if nothing of it is sent yet."""
        if self._parts is None:
            return False
        self._parts.break_off()
        return True


async def send(
    request: IRequest,
    slices: Slices,
    head: bytes,
    pieces: Iterable[bytes],
    tail: Callable[[int], bytes],
) -> bytes:
    """Answer with many small pieces of text.

    Args:
        request: is answered.
        slices: admits the work to the turns of the event loop.
        head: before the pieces.
        pieces: made one by one, when their turn comes.
        tail: returns what stands behind them, of the number that they were.

    Returns:
        What the route has to return.
    """
    answer = Answer(request)
    count = 0
    try:
        await answer.add(head)
        async for some in slices.pieces(pieces, ROW):
            count += len(some)
            await answer.add(b"".join(some))
        await answer.add(tail(count))
        return await answer.end()
    except CancelledError:
        raise  # the caller has left
    except Exception:
        if not answer.failed():
            raise
        _log.failure("an answer broke off")
        return b""
