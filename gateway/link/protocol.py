"""One link on the network: bytes to its session and back, and its clock work."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, cast
from typing import Protocol as Seam

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import ProtocolError
from gateway.interfaces import (
    IArrivingLink,
    IByteTransport,
    ICertified,
    IStreamListener,
    IViewReceiver,
)
from gateway.link.seams import LinkedStream
from gateway.link.stream import StreamTransport
from gateway.link.turns import Turns
from gateway.metrics.tallies import Stalls
from gateway.mux.core import Rules
from gateway.mux.legacy import Legacy
from gateway.mux.negotiated import PAUSE_MARK
from gateway.mux.outbox import Outbox
from gateway.mux.pauses import PauseAllowance
from gateway.mux.session import CROWDED, Session
from gateway.mux.stream import Stream, StreamEnd, StreamRequest
from gateway.policy.addresses import join_host_port
from gateway.policy.budget import Budget
from gateway.relay.linger import Linger
from gateway.relay.near import Near
from gateway.wire import frames
from gateway.wire.hello import Hello, HelloAck, Register, RegisterAck
from gateway.wire.messages import Goaway

LAST_WORDS_SECONDS: Final = 5.0
LONG_FORM_SECONDS: Final = 1.0
MUCH_BYTES: Final = 65536
FIRST_READ: Final = 16384  # bytes of one read before the link is decided
# what arrives after the end of a session is read, or the far end would lose our last
# words; beyond so many bytes only one read in so many seconds
LAST_BYTES: Final = 1 << 20
LAST_READ_SECONDS: Final = 0.05


class LinkOwner(Seam):
    """Whoever admits links (gateway) or keeps them up (agent)."""

    def link_made(self, link: LinkProtocol) -> None:
        """The connection is up; an agent's owner greets now."""

    def link_hello(self, link: LinkProtocol, hello: Hello) -> None:
        """Call `accept` or `refuse`."""

    def link_auth(self, link: LinkProtocol, message: str) -> None:
        """A message of the proof that HELLO announced."""

    def link_decided(self, link: LinkProtocol, ack: HelloAck | None) -> None:
        """The link is usable; None = by the legacy protocol."""

    def link_spoke(self, link: LinkProtocol) -> None:
        """A link with `awaits_word` has received its first valid frame."""

    def link_refused(self, link: LinkProtocol, error: str) -> None:
        """The far end refused the link, which is being closed."""

    def link_listener(self, link: LinkProtocol) -> IStreamListener:
        """Return who dials for a stream that the far end opens."""

    def link_register(self, link: LinkProtocol, wish: Register) -> None:
        """The far end wants a public port."""

    def link_registered(self, link: LinkProtocol, ack: RegisterAck) -> None:
        """The far end answered our request for a public port."""

    def link_goodbye(self, link: LinkProtocol, goodbye: Goaway) -> None:
        """The far end leaves."""

    def link_failed(self, link: LinkProtocol, fault: ProtocolError) -> None:
        """The far end broke the protocol or was silent too long; `link_lost` follows.

        A link whose session has no rules yet had not said who it is.
        """

    def link_unknown_kind(self, link: LinkProtocol, kind: int) -> None:
        """The first frame of an unknown kind was passed over."""

    def link_lost(self, link: LinkProtocol, why: str) -> None:
        """The link is of no use any more; called exactly once after `link_made`."""

    def link_closed(self, link: LinkProtocol) -> None:
        """Its connection is gone too; called exactly once, after `link_lost`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """How a link treats its transport.

    Attributes:
        window: our credit for each new stream, bytes.
        write_timeout: seconds without progress until a full link is dead.
        legacy_high_water: bytes that a near socket of a legacy link may hold
            before the link is paused.
        legacy_low_water: bytes at which it is read again.
        memory: what all streams of the process share.
        stalls: what bytes had to wait for.
        turns: shares what all links of the process do in one turn.
    """

    window: int
    write_timeout: float = 10.0
    legacy_high_water: int = 2 << 20
    legacy_low_water: int = 1 << 20
    memory: Budget = field(default_factory=Budget)
    stalls: Stalls = field(default_factory=Stalls)
    turns: Turns = field(default_factory=Turns)


@implementer(IPushProducer, IViewReceiver, IArrivingLink)
class LinkProtocol(Protocol):
    """Feed one tunnel connection into its session.

    Moves bytes and watches the clock; every decision is the session's.

    Attributes:
        session: the protocol state.
        memory: what all streams of the process share.
        stalls: what bytes had to wait for.
        seconds: tells the monotonic time.
        received_bytes: bytes that came from the far end, frames and all.
        linger: flushes near sockets whose stream is over.
        full: the transport takes nothing more for now.
        awaits_word: the owner wants to hear of the first valid frame.
        host: address of the far end.
        address: the same with its port, for logs.
    """

    transport: IByteTransport
    session: Session
    _outbox: Outbox

    def __init__(
        self,
        clock: IReactorTime,
        settings: LinkSettings,
        linger: Linger,
        owner: LinkOwner,
    ) -> None:
        self.full = False
        self._pushing = False
        self.awaits_word = False
        self.memory = settings.memory
        self.stalls = settings.stalls
        self.seconds = clock.seconds
        self.received_bytes = 0
        self.linger = linger
        self.host = self.address = "?"
        self._clock = clock
        self._settings = settings
        self._owner = owner
        self._stalled: OrderedDict[LinkedStream, None] = OrderedDict()
        self._heavy: set[LinkedStream] = set()
        self._pauses = PauseAllowance()
        self._tick_call: IDelayedCall | None = None
        self._write_call: IDelayedCall | None = None
        self._pause_call: IDelayedCall | None = None
        self._end_call: IDelayedCall | None = None
        self._long_calls: deque[IDelayedCall] = deque()  # in the order of their time
        self._turns = settings.turns
        self._kept: memoryview | None = None  # received, and not looked at yet
        self._kept_size = 0  # bytes that hold it
        self._unread = False  # we have paused the transport
        self._read_size = FIRST_READ
        self._last_bytes = 0  # that arrived after the end of the session
        self._last_call: IDelayedCall | None = None
        self._gone: str | None = None  # why there is no connection any more
        self._lost = False

    # -- state ----------------------------------------------------------------

    @property
    def rules(self) -> Rules:
        """How the decided link treats its streams."""
        rules = self.session.rules
        if rules is None:
            raise ProtocolError("the link is not decided yet", "undecided")
        return rules

    @property
    def negotiated(self) -> bool:
        """Whether the link has credit, half-close and reset."""
        return self.session.negotiated

    @property
    def legacy(self) -> bool:
        """Whether the link speaks the plain protocol only."""
        return isinstance(self.session.rules, Legacy)

    @property
    def usable(self) -> bool:
        """Whether new streams may be opened."""
        session = self.session
        return (
            session.rules is not None
            and not session.ended
            and not session.leaving
            and not session.far_leaving
        )

    @property
    def undecided(self) -> bool:
        """Whether the far end has not said who it is."""
        return self.session.rules is None

    @property
    def spoken(self) -> bool:
        """Whether the far end has sent a valid frame."""
        return self.session.spoken

    @property
    def streams(self) -> int:
        """How many streams are live."""
        return len(self.session.core.streams)

    @property
    def peer_names(self) -> frozenset[str]:
        """What the far end's certificate calls it; empty without one."""
        transport: object = self.transport
        if not ICertified.providedBy(transport):
            return frozenset()
        return transport.peer_names

    @property
    def sent_bytes(self) -> int:
        """Bytes for the far end, frames and all."""
        return self.session.core.outbox.sent_bytes

    @property
    def round_trip(self) -> float | None:
        """Seconds of the last measured round trip, or None."""
        return self.session.liveness.rtt_seconds

    @property
    def paused(self) -> bool:
        """Whether a legacy link is not read, for a near socket that takes nothing."""
        return self._pause_call is not None

    @property
    def kept_bytes(self) -> int:
        """Bytes that were received and wait for the next turn; one read at most."""
        return self._kept_size

    @property
    def stalled(self) -> int:
        """How many streams wait for room in the transport."""
        return len(self._stalled)

    @property
    def water_marks(self) -> tuple[int, int]:
        """Pause and resume mark of near transports, bytes."""
        if self.negotiated:
            return min(PAUSE_MARK, self._settings.window // 2), 0
        return self._settings.legacy_high_water, self._settings.legacy_low_water

    def note_time(self) -> None:
        """Tell the session what time it is, before what is not an arrival."""
        self.session.core.now = self._clock.seconds()

    # -- Twisted ----------------------------------------------------------------

    def connectionMade(self) -> None:
        """Tell the owner and start the clock work."""
        self._outbox = self.session.core.outbox
        peer = self.transport.getPeer()
        if isinstance(peer, (IPv4Address, IPv6Address)):
            self.host, self.address = peer.host, join_host_port(peer.host, peer.port)
        self._read_size = self.transport.read_size
        self.transport.read_size = min(FIRST_READ, self._read_size)
        self.transport.registerProducer(self, True)
        self._owner.link_made(self)
        self.flush()
        self._schedule()

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Hand the chunk over; once the session has ended, drop it."""
        session = self.session
        if session.ended:
            self._drop_last(len(data))
            return
        self.received_bytes += len(data)
        rest = session.receive(data, self._clock.seconds(), self._turns.share)
        if rest:
            self._keep(data[-rest:])
        if self.awaits_word and session.spoken:
            self._speak()
        self.flush()

    def _speak(self) -> None:
        self.awaits_word = False
        self._owner.link_spoke(self)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End every stream and tell the owner, once what arrived was looked at."""
        self._gone = reason.getErrorMessage() if reason else "closed"
        if self._kept is None:
            self._over()

    def _over(self) -> None:
        """Let go of everything: there is no connection, and nothing to look at."""
        self.session.end()
        for call in (
            self._tick_call,
            self._write_call,
            self._pause_call,
            self._end_call,
            self._last_call,
            *self._long_calls,
        ):
            if call is not None and call.active():
                call.cancel()
        self._long_calls.clear()
        self._stalled.clear()
        self._heavy.clear()
        self._lose(self._gone or "closed")
        self._turns.forget(self)
        self._owner.link_closed(self)
        self.session.close()

    # -- what one turn cannot do -----------------------------------------------------

    def _keep(self, rest: bytes | memoryview) -> None:
        """Look at the rest of a read in the next turn, and read nothing until then."""
        self._kept = memoryview(bytes(rest))
        self._kept_size = len(rest)
        self.memory.hold(self._kept_size)
        self._plan_turn()
        self._mind_reading()

    def _plan_turn(self) -> None:
        # a legacy link that is paused takes nothing, from wherever
        if self._pause_call is None:
            self._turns.wait(self._clock, self)

    def take_turn(self, work: int) -> None:
        """Look at more of what was received; `_gone` stands behind all of it."""
        kept, session = self._kept, self.session
        if kept is not None:
            rest = session.receive(kept, self._clock.seconds(), work)
            if rest and self._kept is not None:
                self._kept = kept[-rest:]
                self._plan_turn()
            else:
                self._drop_kept()
            if self.awaits_word and session.spoken:
                self._speak()
            self.flush()
        if self._gone is not None and self._kept is None:
            self._over()

    def _drop_kept(self) -> None:
        """Forget what was received: it was looked at, or the session has ended."""
        if self._kept is None:
            return
        self._kept = None
        self.memory.let_go(self._kept_size)
        self._kept_size = 0
        if self._gone is None:
            self._turns.forget(self)
            self._mind_reading()
        else:
            self._turns.wait(self._clock, self)  # whose turn it is may not be over

    def _mind_reading(self) -> None:
        """Read, unless a turn is waited for or a near socket of a legacy link."""
        unread = self._kept is not None or self._pause_call is not None
        if unread == self._unread:
            return
        self._unread = unread
        now = self._clock.seconds()
        if unread:
            self.session.liveness.pause(now)
            self.transport.pauseProducing()
        else:
            self.session.liveness.resume(now)
            self.transport.resumeProducing()

    def _drop_last(self, size: int) -> None:
        """Pass over what arrives behind the end, ever more slowly."""
        self._last_bytes += size
        if self._last_bytes > LAST_BYTES and self._last_call is None:
            self.transport.pauseProducing()
            self._last_call = self._clock.callLater(LAST_READ_SECONDS, self._read_last)

    def _read_last(self) -> None:
        self._last_call = None
        self.transport.resumeProducing()

    def _lose(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            self._owner.link_lost(self, why)

    def flush(self) -> bool:
        """See to it that what the session has for the transport leaves soon.

        That is at the end of the turn, so that the frames of many streams leave
        together, or at once if there is much.

        Returns:
            Whether the transport is full now.
        """
        waiting = self._outbox.waiting_bytes
        if waiting > MUCH_BYTES:
            self.push()
        elif waiting and not self._pushing:
            self._pushing = True
            self.transport.atTurnEnd(self._turn_ended)
        return self.full

    def _turn_ended(self) -> None:
        self._pushing = False
        self.push()

    def push(self) -> bool:
        """Give the transport all that waits, unless it is full.

        Returns:
            Whether it is full now.
        """
        if not self.full and self._outbox.waiting_bytes:
            self.transport.writeSequence(self._outbox.take())
        return self.full

    # -- IPushProducer, for the link's transport -----------------------------------

    def pauseProducing(self) -> None:
        """The transport is full: whoever sends now stalls."""
        if not self.full:
            self.full = True
            if self._write_call is None:
                self._watch_write(self._progress())

    def resumeProducing(self) -> None:
        """The transport has room: stalled streams go on, first come first served."""
        self.full = False
        if self._write_call is not None:
            self._write_call.cancel()
            self._write_call = None
        self.push()
        stalled = self._stalled
        for _ in range(len(stalled)):
            if self.full:
                return
            if stalled:
                stream, _ = stalled.popitem(last=False)
                stream.go_on()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    def stall(self, stream: LinkedStream) -> None:
        """Remember a stream that waits for room."""
        self._stalled.setdefault(stream)

    def _progress(self) -> int:
        return self._outbox.sent_bytes - self.transport.unsent

    def _watch_write(self, before: int) -> None:
        self._write_call = self._clock.callLater(
            self._settings.write_timeout, self._look_at_write, before
        )

    def _look_at_write(self, before: int) -> None:
        self._write_call = None
        now = self._progress()
        if now == before:
            seconds = self._settings.write_timeout
            self.abort(f"the far end took nothing for {seconds:g} seconds")
        elif self.full:
            self._watch_write(now)

    def stream_ends(self) -> list[StreamTransport]:
        """Return the near sides of all live streams."""
        streams = self.session.core.streams.values()
        return [cast(StreamTransport, stream.end) for stream in streams]

    # -- slow readers of a legacy link -----------------------------------------------

    def hold(self, stream: LinkedStream) -> None:
        """A near socket is over its high-water mark."""
        if not self.legacy or self.session.ended:
            return
        self._heavy.add(stream)
        now = self._clock.seconds()
        left = self._pauses.left(now)
        if left <= 0:
            self._drop_fullest()
        elif self._pause_call is None:
            self._pauses.begin(now)
            self._pause_call = self._clock.callLater(left, self._pause_used_up)
            self._mind_reading()

    def release(self, stream: LinkedStream) -> None:
        """A near socket is down to its low-water mark, or gone."""
        self._heavy.discard(stream)
        if not self._heavy and self._pause_call is not None:
            self._read_again()

    def _read_again(self) -> None:
        if self._pause_call is not None:
            if self._pause_call.active():
                self._pause_call.cancel()
            self._pause_call = None
            self._pauses.end(self._clock.seconds())
            if self._kept is not None:
                self._plan_turn()
            self._mind_reading()

    def _pause_used_up(self) -> None:
        self._drop_fullest()
        self._read_again()

    def _drop_fullest(self) -> None:
        """Close the stream that holds most, and any other above high water."""
        fullest = max(self._heavy, key=lambda stream: stream.unsent, default=None)
        high = self._settings.legacy_high_water
        for stream in list(self._heavy):
            if stream is fullest or stream.unsent > high:
                self._heavy.discard(stream)
                stream.abort(frames.OVER_LIMIT, "too slow for a link without credit")

    # -- what the owner does -----------------------------------------------------------

    def open(
        self,
        near: Near,
        listener: IStreamListener,
        request: StreamRequest,
    ) -> StreamTransport:
        """Ask the far end for a target on behalf of a visitor.

        Raises:
            PayloadError: the host or the meta is too long, or the link cannot carry
                such streams.
        """
        rules = self.rules
        stream = StreamTransport(self, listener)
        stream.stream = rules.open(stream, request)
        if isinstance(rules, Legacy) and rules.form is None:
            self._plan_long_form(rules, stream, request.port)
        stream.join(near)
        self.flush()
        return stream

    def _plan_long_form(
        self, rules: Legacy, stream: StreamTransport, port: int
    ) -> None:
        """Ask once more in the other form, unless the agent's is known by then."""
        self._long_calls.append(
            self._clock.callLater(
                LONG_FORM_SECONDS, self._ask_long, rules, stream, port
            )
        )

    def _ask_long(self, rules: Legacy, stream: StreamTransport, port: int) -> None:
        self._long_calls.popleft()
        if not self.session.ended:
            rules.open_long(stream.stream, port)
            self.flush()

    def accept(self, ack: HelloAck) -> None:
        """Admit the far end, whose HELLO was reported."""
        self.session.accept(ack)
        self.flush()

    def authenticate(self, message: str) -> None:
        """Send a message of the proof."""
        self.session.authenticate(message)
        self.flush()

    def refuse(self, error: str) -> None:
        """Reject the far end, by HELLO_ACK, and close."""
        self.session.refuse(error)
        self.close_after_last_words(error)

    def register(self, wish: Register) -> None:
        """Ask for a public port."""
        self.session.register(wish)
        self.flush()

    def answer_registration(self, ack: RegisterAck) -> None:
        """Answer a request for a public port."""
        self.session.answer_registration(ack)
        self.flush()

    def pad(self, size: int) -> None:
        """Send bytes that mean nothing, so that the far end can time them."""
        self.session.pad(size)
        self.flush()

    def leave(self, reason: int, text: str) -> None:
        """Say goodbye; the link closes when its streams are over."""
        self.session.leave(reason, text)
        if reason in frames.POLITE_REASONS:
            self.flush()
        else:
            self.close_after_last_words(text)

    def abort(self, why: str) -> None:
        """Close at once."""
        self.session.end()
        self._lose(why)
        self._drop_kept()
        self.transport.abortConnection()

    def close_after_last_words(self, why: str) -> None:
        """Send what is queued, end our side, and drop what still arrives.

        Closing at once would make the kernel answer unread input by a reset,
        which destroys the last words on their way.
        """
        self.session.end()
        self._lose(why)
        self._drop_kept()
        self.full = False
        self.push()
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        self.transport.loseWriteConnection()
        if self._end_call is None:
            self._end_call = self._clock.callLater(
                LAST_WORDS_SECONDS, self.transport.abortConnection
            )

    def stream_over(self, stream: LinkedStream) -> None:
        """A stream has ended; a leaving link may be finished."""
        self._stalled.pop(stream, None)
        self.release(stream)
        self.session.settle()

    # -- clock work ------------------------------------------------------------

    def _schedule(self) -> None:
        now = self._clock.seconds()
        delay = max(0.05, self.session.next_tick() - now)
        self._tick_call = self._clock.callLater(delay, self._tick)

    def _tick(self) -> None:
        self._tick_call = None
        fault = self.session.tick(self._clock.seconds())
        if fault is not None:
            self._owner.link_failed(self, ProtocolError(fault, "silence"))
            self.abort(fault)
            return
        if not self.session.ended:
            self.flush()
            self._schedule()

    # -- LinkObserver, for the session -----------------------------------------

    def hello_received(self, hello: Hello) -> None:
        """Let the owner judge."""
        self._owner.link_hello(self, hello)

    def auth_received(self, message: str) -> None:
        """Pass on."""
        self._owner.link_auth(self, message)

    def decided(self, ack: HelloAck | None) -> None:
        """Pass on; the clock work may have become more urgent."""
        self.transport.read_size = self._read_size
        if self._tick_call is not None and self._tick_call.active():
            self._tick_call.cancel()
            self._schedule()
        self._owner.link_decided(self, ack)

    def refused(self, error: str) -> None:
        """The gateway does not want us."""
        self._owner.link_refused(self, error)
        self.close_after_last_words(f"refused: {error}")

    def new_end(self, stream: Stream) -> StreamEnd:
        """Make the near side of a stream that the far end opens."""
        end = StreamTransport(self, self._owner.link_listener(self))
        end.stream = stream
        return end

    def register_received(self, wish: Register) -> None:
        """Pass on."""
        self._owner.link_register(self, wish)

    def register_answered(self, ack: RegisterAck) -> None:
        """Pass on."""
        self._owner.link_registered(self, ack)

    def goodbye_received(self, goodbye: Goaway) -> None:
        """Pass on; an impolite one has ended the session, so close."""
        self._owner.link_goodbye(self, goodbye)
        if self.session.ended:
            self.close_after_last_words(f"told to go: {goodbye.text or goodbye.reason}")

    def finished(self) -> None:
        """Our goodbye was answered and nothing is left: close."""
        self.close_after_last_words("said goodbye")

    def unknown_kind(self, kind: int) -> None:
        """Pass on."""
        self._owner.link_unknown_kind(self, kind)

    def failed(self, fault: ProtocolError) -> None:
        """Say why, and close this link only."""
        self._owner.link_failed(self, fault)
        if fault.kind == CROWDED:  # who sends that much is not listened to any more
            self.abort(str(fault))
        else:
            self.close_after_last_words(str(fault))
