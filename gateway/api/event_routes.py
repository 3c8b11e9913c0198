"""The stream of events: an answer without end, as server-sent events."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from zope.interface import implementer

from gateway.api.bodies import shown
from gateway.api.exchange import Endpoint, query_number
from gateway.api.replies import SECURITY_HEADERS
from gateway.errors import BadRequestError, TooManyStreamsError
from gateway.ops.events import KEPT, TOPICS, Event, Events
from gateway.ops.slices import Slices
from gateway.wire.plain import json_escaped

MOST_STREAMS: Final = 100
BEAT_SECONDS: Final = 15.0
STALLED_BEATS: Final = 2  # in a row, at which a reader has taken nothing
LONGEST_SECONDS: Final = 3600.0  # then the reader comes anew, and is judged anew
RETRY_MILLISECONDS: Final = 2000
PIECE: Final = 100  # events written at once
_EVENT: Final = 8  # what it costs to write one; see `ops.slices`
_EVENT_ID: Final = re.compile(r"(?P<epoch>[0-9a-z]{1,32})-(?P<number>[0-9]{1,18})")
_HEADERS: Final = {
    **dict(SECURITY_HEADERS),
    b"Content-Type": b"text/event-stream",
    b"X-Accel-Buffering": b"no",  # nginx would gather
}


@implementer(IPushProducer)
class _Stream:
    """One reader.

    Attributes:
        topics: what it wants to hear of.
        since: when it came; monotonic seconds.
        result: fires when the stream is over.
    """

    def __init__(
        self,
        request: IRequest,
        events: Events,
        topics: tuple[str, ...],
        position: int,
        since: float,
        slices: Slices,
        text: Callable[[Event], bytes],
        ended: Callable[[_Stream], None],
    ) -> None:
        self.topics = topics
        self.since = since
        self.result: Deferred[bytes] = Deferred(lambda _: ended(self))
        self._request: Any = request  # `IRequest` knows nothing of producers
        self._events = events
        self._position = position  # number of the last event that was written
        self._slices = slices
        self._text = text
        self._room: Deferred[None] | None = None  # to write the next piece
        self._paused = False
        self._stalled_beats = 0
        self._writing = False
        self._catching_up = True

    def begin(self, *, gap: bool) -> None:
        """Write the head of the stream, and all that is there already."""
        for name, value in _HEADERS.items():
            self._request.setHeader(name, value)
        self._request.registerProducer(self, True)
        place = f"retry: {RETRY_MILLISECONDS}\n{self._id(self._position)}\n"
        self._request.write(place.encode("ascii"))
        if gap and not self._events.lost_since(self._position, self.topics):
            self._say_gap()
        self.pump()

    def _id(self, number: int) -> str:
        return f"id: {self._events.epoch}-{number}\n"

    def _say_gap(self) -> None:
        data = json.dumps({"at_unix": self._events.wall_clock(), "action": "lost"})
        text = f"{self._id(self._position)}event: gap\ndata: {data}\n\n"
        self._request.write(text.encode("ascii"))

    def pump(self, *, admitted: bool = False) -> None:
        """Write what is new, as far as the reader takes it.

        A long past is written in pieces, in turns of the event loop that have room.

        Args:
            admitted: there is room in this turn for the first piece.
        """
        if self._writing or self._room is not None:
            return
        self._writing = True
        more = True
        while more and not self._paused and (admitted or self._has_room()):
            admitted = False
            more = self._write_piece()
        self._writing = False

    def _has_room(self) -> bool:
        """Return whether a piece may be written now; otherwise go on later."""
        if self._events.last - self._position <= PIECE:
            return True
        self._room = self._slices.room(PIECE * _EVENT)
        if self._room is None:
            return True
        self._room.addCallbacks(self._go_on, _trap_cancel)
        return False

    def _go_on(self, _: None) -> None:
        self._room = None
        self.pump(admitted=True)

    def stop_waiting(self) -> None:
        """Write no further piece of the past; may be called twice."""
        room, self._room = self._room, None
        if room is not None:
            room.cancel()

    def _write_piece(self) -> bool:
        """Write the next events; return whether there may be more."""
        events = self._events
        if events.lost_since(self._position, self.topics):
            self._say_gap()
        piece = events.since(self._position, self.topics, PIECE)
        if piece:
            self._position = piece[-1].number
            self._request.write(b"".join(map(self._text, piece)))
        if len(piece) == PIECE:
            return True
        self._position = events.last
        if self._catching_up:
            self._catching_up = False
            self._request.write(b": now\n\n")
        return False

    def behind(self) -> bool:
        """Tell whether what it has not read yet is lost, or it reads nothing."""
        if not self._paused:
            return False
        return self._stalled_beats >= STALLED_BEATS or self._events.lost_since(
            self._position, self.topics
        )

    def beat(self) -> None:
        """Show that the stream lives."""
        if self._paused:
            self._stalled_beats += 1
        else:
            self._request.write(b": beat\n\n")

    def end(self) -> None:
        """End the answer in order."""
        self.stop_waiting()
        self._request.unregisterProducer()
        self.result.callback(b"")

    def part(self) -> None:
        """End the answer and the connection, behind all that was written."""
        channel: Any = self._request.channel
        channel.persistent, channel.parting = False, True
        self.stop_waiting()
        self.pump()
        self.end()

    def cut(self) -> None:
        """End the connection at once."""
        self.stop_waiting()
        channel: Any = self._request.channel
        channel.transport.abortConnection()

    def pauseProducing(self) -> None:
        """The reader is slow; what is new waits in the ring."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The reader has caught up with what was written."""
        self._paused = False
        self._stalled_beats = 0
        self.pump()

    def stopProducing(self) -> None:
        """Do nothing: the end of the connection ends the request."""


class EventRoutes:
    """`GET /api/events`.

    A stream holds no events of its own: a slow reader waits in the rings, and is cut
    when what it has not read leaves them.
    """

    log: Final = Logger()

    def __init__(self, events: Events, clock: IReactorTime, slices: Slices) -> None:
        self._events = events
        self._slices = slices
        self._clock = clock
        self._streams: dict[_Stream, None] = {}
        self._texts: dict[int, bytes] | None = None  # of what is being told to all
        self._beat: IDelayedCall | None = None
        self._closed = False

    def routes(self) -> list[Endpoint]:
        """Return what this group answers."""
        return [Endpoint("GET", "/api/events", self._follow)]

    @property
    def active(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def _follow(self, request: IRequest) -> bytes | Deferred[bytes]:
        topics = _topics(request)
        recent = query_number(request, b"recent", None, KEPT)
        if self._closed or len(self._streams) >= MOST_STREAMS:
            raise TooManyStreamsError(limit=MOST_STREAMS)
        if request.method == b"HEAD":
            for name, value in _HEADERS.items():
                request.setHeader(name, value)
            return b""
        position, gap = self._place(request, topics, recent)
        stream = _Stream(
            request,
            self._events,
            topics,
            position,
            self._clock.seconds(),
            self._slices,
            self._text,
            self._ended,
        )
        self._streams[stream] = None
        if self._beat is None:
            self._beat = self._clock.callLater(BEAT_SECONDS, self._beat_all)
            self._events.follow(self._tell)
        stream.begin(gap=gap)
        return stream.result

    def _place(
        self, request: IRequest, topics: tuple[str, ...], recent: int | None
    ) -> tuple[int, bool]:
        """Return the number after which to go on, and whether events are lost."""
        header = request.getHeader(b"last-event-id")
        if header is None:
            found = self._events.recent(recent or 0, topics)
            return (found[0].number - 1 if found else self._events.last), False
        known = _EVENT_ID.fullmatch(header.decode("latin-1"))
        if known is None or known["epoch"] != self._events.epoch:
            return 0, True  # another process, whose last events nobody has
        return min(int(known["number"]), self._events.last), False

    def _ended(self, stream: _Stream) -> None:
        stream.stop_waiting()
        self._streams.pop(stream, None)
        if not self._streams:
            self._rest()

    def _rest(self) -> None:
        self._events.unfollow(self._tell)
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _tell(self) -> None:
        self._texts = {}
        for stream in list(self._streams):
            if stream.behind():
                self._cut(stream)
            else:
                stream.pump()
        self._texts = None

    def _text(self, event: Event) -> bytes:
        if self._texts is None:
            return event_text(self._events.epoch, event)
        found = self._texts.get(event.number)
        if found is None:
            found = event_text(self._events.epoch, event)
            self._texts[event.number] = found
        return found

    def _beat_all(self) -> None:
        self._beat = self._clock.callLater(BEAT_SECONDS, self._beat_all)
        now = self._clock.seconds()
        for stream in list(self._streams):
            stream.beat()
            if stream.behind():
                self._cut(stream)
            elif now - stream.since >= LONGEST_SECONDS:
                self._streams.pop(stream, None)
                stream.end()
        if not self._streams:
            self._rest()

    def _cut(self, stream: _Stream) -> None:
        self.log.info("an event stream is cut: its reader does not keep up")
        self._streams.pop(stream, None)
        stream.cut()

    def close(self) -> None:
        """End all streams in order; may be called twice."""
        self._closed = True
        streams, self._streams = list(self._streams), {}
        self._rest()
        for stream in streams:
            stream.part()


def _trap_cancel(failure: Failure) -> None:
    failure.trap(CancelledError)


def event_text(epoch: str, event: Event) -> bytes:
    """Return an event as it goes over the wire."""
    content = {"at_unix": event.at, "action": event.action, **event.fields}
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    data = json_escaped(data)
    text = f"id: {epoch}-{event.number}\nevent: {event.topic}\ndata: {data}\n\n"
    return text.encode()


def _topics(request: IRequest) -> tuple[str, ...]:
    """Return the topics that the query names; none = all.

    Raises:
        BadRequestError: there is no such topic.
    """
    text = b",".join(request.args.get(b"topics", [])).decode("latin-1")
    wanted = {part.strip() for part in text.split(",")} - {""}
    for topic in wanted.difference(TOPICS):
        known = ", ".join(TOPICS)
        raise BadRequestError(detail=f"topics: {shown(topic)} is none of {known}")
    return tuple(topic for topic in TOPICS if topic in wanted) or TOPICS
