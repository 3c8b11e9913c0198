"""Rules of a link with a peer that knows the plain version 0x01 protocol only."""

from __future__ import annotations

from typing import Final

from gateway.errors import PayloadError
from gateway.mux.core import Core
from gateway.mux.credit import UNLIMITED, ReceiveCredit, SendCredit
from gateway.mux.stream import (
    Ending,
    Event,
    State,
    Stream,
    StreamEnd,
    StreamRequest,
    after,
)
from gateway.wire import frames, messages
from gateway.wire.messages import ConnectRequest, OpenRequest

LOOPBACK: Final = "127.0.0.1"
MAX_ASKED: Final = 1000
_LOOPBACK_HOSTS: Final = frozenset({"", LOOPBACK, "localhost", "::1"})


class Legacy:
    """Streams without credit and half-close; odd frames are dropped and counted.

    Attributes:
        form: "short" or "long" once an answer has shown which form of
            ConnectRequest the agent understands, or the one configured.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        setting = core.settings.connect_request
        self.form: str | None = None if setting == "auto" else setting
        self._begun: Stream | None = None  # whose Data frame is arriving
        self._asked: dict[int, str] = {}  # form of each id, while none is known
        roles = core.settings.roles
        self._reactions = {
            frames.CLOSE: Legacy._close,
            **({frames.CONNECT_RESPONSE: Legacy._answered} if roles.opens else {}),
            **({frames.CONNECT_REQUEST: Legacy._request} if roles.dials else {}),
        }

    def open(self, end: StreamEnd, request: StreamRequest) -> Stream:
        """Ask the far end for a target; `meta` cannot be carried.

        Raises:
            PayloadError: the host is too long, or the stream is not one of TCP;
                nothing was opened.
        """
        core = self._core
        protocol, port, host, _meta = request
        if protocol != frames.PROTOCOL_TCP:
            raise PayloadError(
                f"a legacy link carries TCP (1) only, not streams of kind {protocol}"
            )
        loopback = host in _LOOPBACK_HOSTS
        short = loopback and self.form != "long"
        stream_id = core.ids.take(core.streams, core.tombstones)
        if loopback:
            self._note(stream_id, "short")
        asked = ConnectRequest(stream_id, port, None if short else host or LOOPBACK)
        frame = messages.encode_connect_request(asked)
        stream = self._new(stream_id, State.OPENING)
        stream.end = end
        core.streams[stream_id] = stream
        core.outbox.urgent(frame)
        return stream

    def open_long(self, stream: Stream, port: int) -> None:
        """Ask once more, in the long form and under a second id.

        Nothing happens if the form is known meanwhile, the stream was answered, or
        its first request was a long one.
        """
        core = self._core
        if (
            self.form is not None
            or stream.state is not State.OPENING
            or self._asked.get(stream.id) != "short"
            or stream.other_id is not None
        ):
            return
        other = core.ids.take(core.streams, core.tombstones)
        self._note(other, "long")
        stream.other_id = other
        core.streams[other] = stream
        request = ConnectRequest(other, port, LOOPBACK)
        core.outbox.urgent(messages.encode_connect_request(request))

    def _new(self, stream_id: int, state: State) -> Stream:
        return Stream(
            stream_id,
            state,
            SendCredit(UNLIMITED, self._core.settings.chunk_bytes),
            ReceiveCredit(UNLIMITED),
        )

    def answer(self, stream: Stream, status: int) -> None:
        """Tell the far end how the dial went; it knows 0 and 1 only."""
        known = frames.SUCCESS if status == frames.SUCCESS else frames.FAILURE
        frame = messages.encode_connect_response(stream.id, known)
        # behind what an earlier stream of the same id may still have to say
        self._core.answer(stream, status, lambda: self._core.outbox.behind(frame))

    def send(self, stream: Stream, data: bytes | memoryview) -> int:
        """Queue near bytes as Data; all of them once the stream is open."""
        size = len(data)
        if stream.state is not State.OPEN or not size:
            return 0
        core = self._core
        core.outbox.data(stream.id, data, size, core.settings.chunk_bytes)
        return size

    def finish(self, stream: Stream) -> None:
        """There is no half-close: the end of the near bytes is the end."""
        after(stream.state, Event.FIN_SENT)
        self._say_close(stream)
        self._core.end(stream, Ending("finished", flush=True))

    def reset(self, stream: Stream, reason: int, why: str) -> None:
        """End a stream at once; its end is told `why`."""
        if stream.state is State.ENDED:
            return
        self._say_close(stream)
        self._core.end(stream, Ending(why, flush=False))

    def _say_close(self, stream: Stream) -> None:
        self._core.outbox.behind(messages.encode_close(stream.id))
        if stream.other_id is not None:
            self._core.outbox.behind(messages.encode_close(stream.other_id))

    def repay(self, stream: Stream, held: int) -> None:
        """There is no credit; the link's owner watches the water marks."""

    def lost(self) -> None:
        """End every stream."""
        for stream in list(self._core.streams.values()):
            if stream.state is not State.ENDED:
                self._core.end(stream, Ending("link lost", flush=False))

    def receive(self, kind: int, payload: memoryview) -> None:
        """Act on one frame other than Data; what has no place is counted."""
        reaction = self._reactions.get(kind)
        if reaction is None:
            if kind in frames.KIND_NAMES:
                self._core.drop("misplaced")
            else:
                self._core.drop_unknown(kind)
            return
        try:
            reaction(self, payload)
        except PayloadError:
            self._core.drop("payload")

    def _request(self, payload: memoryview) -> None:
        request = messages.decode_connect_request(payload)
        core = self._core
        stream_id = request.stream_id
        old = core.streams.get(stream_id)
        if old is not None:
            core.end(old, Ending("its id was used again", flush=False))
            if core.closed:  # it was the last stream of a leaving link
                return
        core.tombstones.discard(stream_id)
        stream = self._new(stream_id, State.DIALING)
        stream.end = core.observer.new_end(stream)
        core.streams[stream_id] = stream
        stream.end.requested(
            OpenRequest(
                stream_id, frames.PROTOCOL_TCP, request.port, request.host or "", {}
            )
        )

    def _answered(self, payload: memoryview) -> None:
        stream_id, status = messages.decode_connect_response(payload)
        core = self._core
        self._learn(stream_id)
        stream = core.streams.get(stream_id)
        if stream is None:
            if not core.is_late(stream_id, "answer"):
                core.drop("stray_answer")
            if status == frames.SUCCESS:
                core.outbox.behind(messages.encode_close(stream_id))
        elif stream.state is not State.OPENING:
            core.drop("second_answer")
        else:
            self._settle(stream, stream_id, status)

    def _note(self, stream_id: int, form: str) -> None:
        if self.form is None:
            self._asked[stream_id] = form
            if len(self._asked) > MAX_ASKED:
                del self._asked[next(iter(self._asked))]

    def _learn(self, stream_id: int) -> None:
        """Any answer, however late, teaches which form the agent reads."""
        if self.form is None:
            self.form = self._asked.get(stream_id)
            if self.form is not None:
                self._asked.clear()

    def _settle(self, stream: Stream, stream_id: int, status: int) -> None:
        core = self._core
        other = stream.id if stream_id == stream.other_id else stream.other_id
        stream.other_id = None
        if status == frames.SUCCESS:
            stream.id, stream.state = stream_id, State.OPEN
            if other is not None:
                core.forget(other)
                core.outbox.behind(messages.encode_close(other))
            stream.end.opened()
        elif other is not None:
            core.forget(stream_id)
            stream.id = other
        else:
            stream.id = stream_id
            reason = frames.STATUS_TEXTS.get(status, f"status {status}")
            core.end(stream, Ending(f"refused: {reason}", flush=False))

    def data(self, payload: memoryview) -> None:
        """Take a Data frame, or its beginning."""
        core = self._core
        self._begun = None
        if len(payload) < 4:
            core.drop("payload")
            return
        stream_id = messages.decode_id(frames.DATA, payload)
        stream = core.streams.get(stream_id)
        if stream is None:
            if core.is_late(stream_id, "data"):
                return
            core.drop("stray_data")
            if core.may_answer_stray():
                core.outbox.behind(messages.encode_close(stream_id))
        elif stream.state is State.OPEN:
            self._begun = stream
            if len(payload) > 4:
                stream.end.deliver(payload[4:])
            else:
                core.drop("empty_data")
        else:
            core.drop("early_data")
            self._say_close(stream)
            core.end(stream, Ending("the far end sent data too early", flush=False))

    def more(self, data: memoryview) -> None:
        """Take the next bytes of the Data frame that has begun."""
        stream = self._begun
        if stream is not None and stream.state is State.OPEN:
            stream.end.deliver(data)

    def _close(self, payload: memoryview) -> None:
        stream_id = messages.decode_id(frames.CLOSE, payload)
        core = self._core
        stream = core.streams.get(stream_id)
        if stream is None:
            if not core.is_late(stream_id, "close"):
                core.drop("stray_close")
        elif stream.other_id is not None:
            other = stream.id if stream_id == stream.other_id else stream.other_id
            core.forget(stream_id)
            stream.id, stream.other_id = other, None
        else:
            flush = stream.state is State.OPEN
            core.end(stream, Ending("closed by the far end", flush=flush))
