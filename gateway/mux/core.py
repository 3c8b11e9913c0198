"""What the rules of a link share: its streams, its outbox, its counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.errors import ProtocolError
from gateway.mux.credit import Memory, Plenty
from gateway.mux.ids import Allocator, Tombstones
from gateway.mux.outbox import Outbox
from gateway.mux.roles import Roles
from gateway.mux.stream import (
    Ending,
    Event,
    State,
    Stream,
    StreamEnd,
    StreamRequest,
    after,
)
from gateway.mux.useless import USELESS_A_SECOND, UselessFrames
from gateway.wire.frames import STATUS_TEXTS, SUCCESS
from gateway.wire.hello import (
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    Hello,
    HelloAck,
    Register,
    RegisterAck,
)
from gateway.wire.messages import Goaway

DEFAULT_MAX_WINDOW: Final = 1 << 24  # bytes
# what two busy processes need for a round besides the path between them
LEAST_ROUND_TRIP: Final = 0.001
STRAY_ANSWERS_A_SECOND: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How this end behaves.

    Attributes:
        roles: what this end does.
        window: credit that we grant on each new stream, bytes.
        max_frame: longest payload that we accept on a negotiated link, bytes.
        chunk_bytes: Data bytes of one frame towards a legacy peer.
        heartbeat_seconds: between keep-alives.
        max_window: how far the window of a stream may grow, bytes.
        memory: what all streams of the process share.
        hello_seconds: how long HELLO is waited for, by the end that answers it.
        allow_legacy: whether peers without HELLO are served.
        connect_request: "auto", "short" or "long", towards legacy agents.
    """

    roles: Roles
    window: int = DEFAULT_WINDOW
    max_window: int = DEFAULT_MAX_WINDOW
    memory: Memory = field(default_factory=Plenty)
    max_frame: int = DEFAULT_FRAME
    chunk_bytes: int = 32768
    heartbeat_seconds: float = 15.0
    hello_seconds: float = 5.0
    allow_legacy: bool = True
    connect_request: str = "auto"


class LinkObserver(Protocol):
    """Whoever owns the link, as the session sees it.

    A session has changed its own state before it calls; the callee may call the
    session back before it returns.
    """

    def hello_received(self, hello: Hello) -> None:
        """Answer by `Session.accept` or `Session.refuse`, now or later."""

    def auth_received(self, message: str) -> None:
        """A message of the proof that HELLO announced, before HELLO_ACK."""

    def decided(self, ack: HelloAck | None) -> None:
        """The link is usable; None = by the legacy protocol."""

    def refused(self, error: str) -> None:
        """The far end does not want this link."""

    def new_end(self, stream: Stream) -> StreamEnd:
        """Return the near side of a stream that the far end opens."""

    def register_received(self, wish: Register) -> None:
        """The far end wants a public port."""

    def register_answered(self, ack: RegisterAck) -> None:
        """The far end answered our request for a public port."""

    def goodbye_received(self, goodbye: Goaway) -> None:
        """The far end leaves; it is answered and its streams are seen to."""

    def finished(self) -> None:
        """We said goodbye, it was answered, and no stream is left."""

    def unknown_kind(self, kind: int) -> None:
        """The first frame of a kind that nobody knows was passed over."""

    def failed(self, fault: ProtocolError) -> None:
        """The peer broke the protocol; what must be said to it is in the outbox."""


class Core:
    """State that the rules of a link work on.

    Attributes:
        streams: live streams by every id that leads to them.
        tombstones: ids closed a short while ago.
        counts: frames dropped and answered, by kind of oddity.
        now: monotonic seconds of the latest event.
        round_trip: seconds from a grant to the bytes that it lets come, about.
        closed: every stream was ended and none may be added.
    """

    def __init__(self, settings: SessionSettings, observer: LinkObserver) -> None:
        self.settings = settings
        self.observer = observer
        self.outbox = Outbox(settings.memory)
        self.streams: dict[int, Stream] = {}
        self.tombstones = Tombstones()
        roles = settings.roles
        self.ids = Allocator(roles.first_id, roles.id_step)
        self.counts: Counter[str] = Counter()
        self.now = 0.0
        self.round_trip = LEAST_ROUND_TRIP
        self.closed = False
        self._stray_second = 0.0
        self._stray_answers = 0
        self._useless = UselessFrames()

    def forget(self, stream_id: int) -> None:
        """Turn a live id into a tombstone."""
        del self.streams[stream_id]
        self.tombstones.expire(self.now)
        self.tombstones.add(stream_id, self.now)

    def end(self, stream: Stream, ending: Ending) -> None:
        """Forget a stream and tell its near side."""
        stream.state = State.ENDED
        receiving = stream.receiving
        if receiving.window > receiving.first:
            self.settings.memory.shrink(receiving.window - receiving.first)
        self.forget(stream.id)
        if stream.other_id is not None:
            self.forget(stream.other_id)
        end = stream.end
        del stream.end  # the two know each other: nothing must find them but a count
        end.ended(ending)

    def answer(self, stream: Stream, status: int, say: Callable[[], None]) -> None:
        """Open or end a stream by how its dial went.

        Args:
            stream: one that is being dialled.
            status: 0 = success.
            say: queues the answer.
        """
        success = status == SUCCESS
        event = Event.SUCCESS_SENT if success else Event.FAILURE_SENT
        state = after(stream.state, event)
        say()
        if success:
            stream.state = state
        else:
            reason = STATUS_TEXTS.get(status, str(status))
            self.end(stream, Ending(f"refused: {reason}", flush=False))

    def drop(self, kind: str) -> None:
        """Count a frame that is passed over, because there is no use in it.

        Raises:
            ProtocolError: there are too many of them.
        """
        self.counts[kind] += 1
        self.tolerate(kind)

    def tolerate(self, kind: str) -> None:
        """Return if few frames without use have come of late.

        Raises:
            ProtocolError: there are too many of them.
        """
        if not self._useless.allow(self.now):
            raise ProtocolError(
                f"more than {USELESS_A_SECOND} frames a second without use, "
                f"the last of them: {kind}",
                "useless",
            )

    def is_late(self, stream_id: int, kind: str) -> bool:
        """Return whether an id closed a short while ago; count the frame if so."""
        self.tombstones.expire(self.now)
        if stream_id not in self.tombstones:
            return False
        self.counts[f"late_{kind}"] += 1
        return True

    def drop_unknown(self, kind: int) -> None:
        """Count a frame of an unknown kind; the first of a link is told of.

        Raises:
            ProtocolError: there are too many frames without use.
        """
        self.drop("unknown_kind")
        if self.counts["unknown_kind"] == 1:
            self.observer.unknown_kind(kind)

    def close(self) -> None:
        """Let go of the observer, who knows this, and of what waits to be sent."""
        del self.observer
        self.outbox.close()

    def may_answer_stray(self) -> bool:
        """Tell whether one more frame for an unknown id is answered: 100 a second."""
        if self.now >= self._stray_second + 1.0:
            self._stray_second, self._stray_answers = self.now, 0
        if self._stray_answers >= STRAY_ANSWERS_A_SECOND:
            return False
        self._stray_answers += 1
        return True


class Rules(Protocol):
    """How a decided link treats its streams: `Negotiated` or `Legacy`."""

    def open(self, end: StreamEnd, request: StreamRequest) -> Stream:
        """Ask the far end for a target.

        Raises:
            PayloadError: the request cannot be sent; nothing was opened.
        """

    def answer(self, stream: Stream, status: int) -> None:
        """Tell the far end how the dial went; 0 = success."""

    def send(self, stream: Stream, data: bytes | memoryview) -> int:
        """Queue near bytes as Data and return how many were taken."""

    def finish(self, stream: Stream) -> None:
        """The near side has no more bytes, and all of them were sent."""

    def reset(self, stream: Stream, reason: int, why: str) -> None:
        """End a stream at once; its end is told `why`."""

    def repay(self, stream: Stream, held: int) -> None:
        """Bytes have left for the near socket's kernel; `held` have not."""

    def data(self, payload: memoryview) -> None:
        """Take a Data frame, or its beginning.

        Args:
            payload: connID and Data bytes, good during this call only.

        Raises:
            ProtocolError: the link must end.
        """

    def more(self, data: memoryview) -> None:
        """Take the next bytes of the Data frame that has begun.

        Raises:
            ProtocolError: the link must end.
        """

    def receive(self, kind: int, payload: memoryview) -> None:
        """Act on one frame other than Data.

        Raises:
            ProtocolError: the link must end.
        """

    def lost(self) -> None:
        """The link is gone: end every stream."""
