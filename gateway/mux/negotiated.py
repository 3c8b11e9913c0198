"""Rules of a link whose ends have exchanged HELLO and HELLO_ACK."""

from __future__ import annotations

import struct
from typing import ClassVar, Final

from gateway.errors import PayloadError, ProtocolError
from gateway.mux.core import Core
from gateway.mux.credit import SHARE, ReceiveCredit, SendCredit
from gateway.mux.stream import (
    FIN_IS_RECEIVED,
    FIN_IS_SENT,
    TAKES_DATA,
    UNCONFIRMED,
    Ending,
    Event,
    State,
    Stream,
    StreamEnd,
    StreamRequest,
    after,
)
from gateway.wire import frames, messages
from gateway.wire.messages import OpenRequest

EARLY_BYTES: Final = 16384
PAUSE_MARK: Final = 65536  # bytes held by a near socket above which it is paused
_unpack_id: Final = struct.Struct("!I").unpack_from
_OPEN: Final = State.OPEN  # a member of an enum is slow to look up
_OPENING: Final = State.OPENING


class Negotiated:
    """Streams with credit, half-close and reset."""

    def __init__(self, core: Core, peer_window: int, peer_max_frame: int) -> None:
        self._core = core
        self._outbox = core.outbox
        self._streams = core.streams
        self._begun: Stream | None = None  # whose Data frame is arriving
        self._peer_window = peer_window
        self._reached = 0  # largest window so far
        self._longest = peer_max_frame - 4
        roles = core.settings.roles
        self._wrong_way = frozenset(
            ([] if roles.dials else [frames.OPEN])
            + ([] if roles.opens else [frames.CONNECT_RESPONSE])
        )

    def open(self, end: StreamEnd, request: StreamRequest) -> Stream:
        """Ask the far end for a target.

        Raises:
            PayloadError: the host or the meta is too long; nothing was opened.
        """
        core = self._core
        stream_id = core.ids.take(core.streams, core.tombstones)
        frame = messages.encode_open(OpenRequest(stream_id, *request))
        stream = self._new(stream_id, State.OPENING, EARLY_BYTES)
        stream.end = end
        core.streams[stream_id] = stream
        core.outbox.urgent(frame)
        return stream

    def _new(self, stream_id: int, state: State, early: int = 0) -> Stream:
        return Stream(
            stream_id,
            state,
            SendCredit(self._peer_window, self._longest),
            ReceiveCredit(self._core.settings.window, self._core.now),
            early,
        )

    def answer(self, stream: Stream, status: int) -> None:
        """Tell the far end how the dial went; 0 = success."""
        frame = messages.encode_connect_response(stream.id, status)
        self._core.answer(stream, status, lambda: self._core.outbox.urgent(frame))

    def send(self, stream: Stream, data: bytes | memoryview) -> int:
        """Queue near bytes as Data and return how many the credit allowed."""
        sending = stream.sending
        size = len(data)
        if size > sending.left:
            size = sending.left
        if stream.state is _OPENING:
            size = min(size, stream.early)
            stream.early -= size
        if size > 0:
            sending.left -= size
            self._outbox.data(stream.id, data, size, sending.frame_limit)
            return size
        return 0

    def finish(self, stream: Stream) -> None:
        """The near side has no more bytes, and all of them were sent."""
        core = self._core
        stream.state = after(stream.state, Event.FIN_SENT)
        core.outbox.behind(messages.encode_fin(stream.id))
        if stream.state is State.ENDED:
            core.end(stream, Ending("finished", flush=True))

    def reset(self, stream: Stream, reason: int, why: str) -> None:
        """End a stream at once; its end is told `why`."""
        if stream.state is State.ENDED:
            return
        self._core.outbox.urgent(messages.encode_reset(stream.id, reason))
        self._core.end(stream, Ending(why, flush=False))

    def repay(self, stream: Stream, held: int) -> None:
        """Grant what has left for the near socket's kernel, in half windows.

        A window that slows its stream down grows first.  Where memory is tight a
        stream gets its first window only, and nothing while it holds much.
        """
        receiving = stream.receiving
        if receiving.unspent + held > receiving.mark:
            return  # asked for each chunk, so the usual answer comes first
        if stream.state in FIN_IS_RECEIVED or stream.state is State.ENDED:
            return
        core = self._core
        settings = core.settings
        if settings.memory.tight:
            if held > min(PAUSE_MARK, settings.window // 2):
                return  # the near socket was paused and tells when it has room
            settings.memory.shrink(receiving.narrow(held))
        else:
            most = settings.memory.room // SHARE
            wanted = receiving.wanted(
                held, core.now, core.round_trip, most, self._reached
            )
            size = min(wanted, settings.max_window) - receiving.window
            if size > 0 and settings.memory.grow(size):
                receiving.widen(size)
                self._reached = max(self._reached, receiving.window)
        due = receiving.due(held)
        if due:
            receiving.since = core.now
            self._outbox.urgent(messages.encode_window(stream.id, due))

    def lost(self) -> None:
        """End every stream; a direction whose FIN has arrived is flushed."""
        for stream in list(self._core.streams.values()):
            # ending one may have made the owner reset another
            if stream.state is not State.ENDED:
                flush = stream.state is State.FR
                self._core.end(stream, Ending("link lost", flush=flush))

    def receive(self, kind: int, payload: memoryview) -> None:
        """Act on one frame other than Data."""
        reaction = self._reactions.get(kind)
        if reaction is not None and kind not in self._wrong_way:
            reaction(self, payload)
        elif kind in frames.KIND_NAMES:
            name = frames.KIND_NAMES[kind]
            raise ProtocolError(f"{name} does not belong here", "misplaced")
        else:
            self._core.drop_unknown(kind)

    def data(self, payload: memoryview) -> None:
        """Take a Data frame, or its beginning."""
        size = len(payload) - 4
        if size < 0:
            raise PayloadError(f"Data of {size + 4} bytes, 4 at least")
        stream_id = _unpack_id(payload)[0]
        stream = self._begun = self._streams.get(stream_id)
        if stream is None:
            self._stray(stream_id, "data")
            return
        if stream.state is not _OPEN and stream.state not in TAKES_DATA:
            after(stream.state, Event.DATA_RECEIVED)
        if size:
            stream.receiving.charge(size)
            stream.end.deliver(payload[4:])
        else:
            self._core.drop("empty_data")

    def more(self, data: memoryview) -> None:
        """Take the next bytes of the Data frame that has begun."""
        stream = self._begun
        if stream is None or stream.state is State.ENDED:
            return  # counted when it began, or ended since
        stream.receiving.charge(len(data))
        stream.end.deliver(data)

    def _stray(self, stream_id: int, kind: str, *, answer: bool = True) -> None:
        """Pass over a frame for an id that is not live.

        Data and success for an id that was never seen are answered, so that a
        peer whose stream we do not know gets rid of it.
        """
        core = self._core
        if core.is_late(stream_id, kind):
            return
        core.drop(f"stray_{kind}")
        if answer and core.may_answer_stray():
            core.outbox.urgent(messages.encode_reset(stream_id, frames.UNKNOWN_ID))

    def _answered(self, payload: memoryview) -> None:
        stream_id, status = messages.decode_connect_response(payload)
        stream = self._core.streams.get(stream_id)
        success = status == frames.SUCCESS
        if stream is None:
            self._stray(stream_id, "answer", answer=success)
            return
        event = Event.SUCCESS_RECEIVED if success else Event.FAILURE_RECEIVED
        state = after(stream.state, event)
        if success:
            stream.state = state
            stream.end.opened()
        else:
            reason = frames.STATUS_TEXTS.get(status, f"status {status}")
            self._core.end(stream, Ending(f"refused: {reason}", flush=False))

    def _fin(self, payload: memoryview) -> None:
        stream_id = messages.decode_id(frames.FIN, payload)
        stream = self._core.streams.get(stream_id)
        if stream is None:
            self._stray(stream_id, "fin", answer=False)
            return
        stream.state = after(stream.state, Event.FIN_RECEIVED)
        if stream.state is State.ENDED:
            self._core.end(stream, Ending("finished", flush=True))
        else:
            stream.end.far_finished()

    def _window(self, payload: memoryview) -> None:
        stream_id, credit = messages.decode_window(payload)
        stream = self._core.streams.get(stream_id)
        if stream is None:
            self._stray(stream_id, "window", answer=False)
        elif stream.state in FIN_IS_SENT or not credit:
            self._core.drop("late_window" if credit else "empty_window")
        else:
            stream.sending.grant(credit)
            if stream.state not in UNCONFIRMED:
                stream.end.granted()

    def _reset(self, payload: memoryview) -> None:
        stream_id, reason = messages.decode_reset(payload)
        stream = self._core.streams.get(stream_id)
        if stream is None:
            self._stray(stream_id, "reset", answer=False)
            return
        why = frames.RESET_TEXTS.get(reason, f"reason {reason}")
        self._core.end(stream, Ending(f"reset by the far end: {why}", flush=False))

    def _open(self, payload: memoryview) -> None:
        request = messages.decode_open(payload)
        core = self._core
        if request.stream_id in core.streams:
            raise ProtocolError(
                f"OPEN of stream {request.stream_id}, which is live", "live_id"
            )
        if core.settings.roles.opens and core.ids.gives(request.stream_id):
            raise ProtocolError(
                f"OPEN of stream {request.stream_id}, an id that is ours to give",
                "own_id",
            )
        core.tombstones.discard(request.stream_id)
        stream = self._new(request.stream_id, State.DIALING)
        stream.end = core.observer.new_end(stream)
        core.streams[stream.id] = stream
        stream.end.requested(request)

    _reactions: ClassVar = {
        frames.CONNECT_RESPONSE: _answered,
        frames.FIN: _fin,
        frames.WINDOW: _window,
        frames.RESET: _reset,
        frames.OPEN: _open,
    }
