"""One link's whole behaviour, without I/O: bytes in, calls out, bytes to send.

A session is undecided until the first frames (or, where legacy peers are served,
the gateway's patience) have shown which protocol the link speaks; from then on
`rules` treats its streams.  Both ends run the same code; what each of them does is in
its `Roles`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.errors import PayloadError, ProtocolError
from gateway.mux.core import (
    LEAST_ROUND_TRIP,
    Core,
    LinkObserver,
    Rules,
    SessionSettings,
)
from gateway.mux.legacy import Legacy
from gateway.mux.liveness import Liveness
from gateway.mux.negotiated import Negotiated
from gateway.mux.outbox import Piece
from gateway.wire import frames, hello, messages
from gateway.wire.codec import ALL, MORE, FrameDecoder, encode_frame
from gateway.wire.hello import Hello, HelloAck, Register, RegisterAck
from gateway.wire.messages import Goaway, Ping

SILENCE_SECONDS: Final = 2.0
MOST_AUTHS: Final = 2  # that one end sends
# what may come before the link is decided; HELLO, AUTH and a keep-alive or two are
# 6 KiB at most
FIRST_FRAMES: Final = 16
FIRST_BYTES: Final = 16384
CROWDED: Final = "crowded"  # kind of the error of who sends more
MOST_ANSWERS: Final = 8  # to PING that wait to be sent; an end asks one at a time


class Session:
    """Protocol state of one link.

    Attributes:
        core: streams, outbox and counters.
        rules: how streams are treated; None while undecided.
        liveness: keep-alives and the measured round trip.
        ended: nothing that arrives is looked at any more.
        spoken: the far end has sent a valid frame.
        leaving: our GOAWAY was said; the far end opens nothing more once it
            has answered.
        far_leaving: the far end said GOAWAY; we open nothing more.
        received_bytes: all bytes that arrived, headers included.
        proven: the far end has proved to know our key; where our HELLO announced a
            proof, nothing is taken before.
    """

    def __init__(
        self,
        settings: SessionSettings,
        observer: LinkObserver,
        new_nonce: Callable[[], bytes],
        now: float,
    ) -> None:
        self.core = Core(settings, observer)
        self.core.now = now
        self.rules: Rules | None = None
        self.liveness = Liveness(settings.heartbeat_seconds, now)
        self.ended = False
        self.spoken = False
        self.leaving = False
        self.far_leaving = False
        self.received_bytes = 0
        self.proven = False
        self._auths = 0
        self._first_frames = 0
        self._first_bytes = 0
        self._ping_answers = 0
        self._ping_mark = 0  # what had been sent when they were counted
        self._settings = settings
        self._greets = settings.roles.greets
        self._observer = observer
        self._new_nonce = new_nonce
        self._decoder = FrameDecoder(frames.MAX_FIRST)
        self._patient_until = now + (
            SILENCE_SECONDS if settings.allow_legacy else settings.hello_seconds
        )
        self._hello: Hello | None = None
        self._answered = False

    # -- the opening of a link ---------------------------------------------

    def greet(self, greeting: Hello) -> None:
        """Say HELLO; the first call of a session whose end greets."""
        self._hello = greeting
        self.core.outbox.urgent(hello.encode_hello(greeting))

    def accept(self, ack: HelloAck) -> None:
        """Accept the far end, whose HELLO was reported."""
        if self.ended or self.leaving or self._hello is None:
            return
        self.core.outbox.urgent(hello.encode_hello_ack(ack))
        self._negotiate(self._hello.window, self._hello.max_frame, ack)

    def authenticate(self, message: str) -> None:
        """Send a message of the proof that HELLO announced."""
        if not self.ended:
            # in order with HELLO and HELLO_ACK, which are urgent
            self.core.outbox.urgent(messages.encode_auth(message))

    def refuse(self, error: str) -> None:
        """Reject the far end; the owner then closes the link."""
        if not self.ended:
            self.core.outbox.behind(hello.encode_hello_ack(HelloAck(error=error)))
            self.end()

    def pad(self, size: int) -> None:
        """Send `size` bytes that the far end passes over."""
        for padding in messages.encode_padding(size):
            self.core.outbox.behind(padding)

    @property
    def negotiated(self) -> bool:
        """Whether the link speaks more than the plain protocol."""
        return isinstance(self.rules, Negotiated)

    def _negotiate(self, window: int, max_frame: int, ack: HelloAck) -> None:
        self._decoder.limit = max(self._settings.max_frame, frames.MAX_CONTROL)
        self._decoder.eager = True
        self.rules = Negotiated(self.core, window, max_frame)
        self.liveness.decide(ack.heartbeat, legacy=False)
        # windows grow by it, and there is no traffic yet that it must queue with
        self._ask_round_trip()
        self._observer.decided(ack)

    def _decide_legacy(self) -> None:
        self._decoder.limit = frames.MAX_PAYLOAD
        self._decoder.eager = True
        self.rules = Legacy(self.core)
        self.liveness.decide(self._settings.heartbeat_seconds, legacy=True)
        self._observer.decided(None)

    # -- what arrives -------------------------------------------------------

    def receive(self, chunk: bytes | memoryview, now: float, work: int = ALL) -> int:
        """Act on bytes from the far end; every consequence is a call or queued.

        Args:
            chunk: as it arrived; a view need be good during this call only.
            now: monotonic seconds.
            work: how much may be done for it, 1 or more; see `FrameDecoder.feed`.

        Returns:
            How many bytes at the end of the chunk were left alone, since the frames
            before them make enough work.  They must be given next.
        """
        self.core.now = now
        self.liveness.heard(now)
        decoder = self._decoder
        self.received_bytes += len(chunk)
        try:
            if self.rules is None:
                chunk = self._open(chunk)
            for kind, payload in decoder.feed(chunk, work):
                if self.ended:
                    return 0
                rules = self.rules
                if kind == frames.DATA and rules is not None:
                    self.spoken = True
                    rules.data(payload)
                elif kind == MORE and rules is not None:
                    rules.more(payload)
                else:
                    self._control(kind, payload)
            if decoder.fault is not None and not self.ended:
                raise decoder.fault
            if self.core.outbox.flooded and not self.ended:
                raise ProtocolError(
                    "more than 1 MiB of control frames waits for the link", "flood"
                )
        except ProtocolError as fault:
            self._fail(fault)
        rest = decoder.rest
        self.received_bytes -= rest
        return rest

    def _open(self, chunk: bytes | memoryview) -> memoryview:
        """Take the first frames one by one, since each may change what the next may be.

        Returns:
            What follows the frame that has decided the link.

        Raises:
            ProtocolError: the link must end.
        """
        view, decoder = memoryview(chunk), self._decoder
        while view and self.rules is None and not self.ended:
            found = decoder.feed(view, 1)
            taken = len(view) - decoder.rest
            view = view[taken:]
            self._first_bytes += taken
            self._first_frames += len(found)
            if self._first_frames > FIRST_FRAMES or self._first_bytes > FIRST_BYTES:
                raise ProtocolError(
                    f"more than {FIRST_FRAMES} frames or {FIRST_BYTES} bytes before "
                    "the link was decided",
                    CROWDED,
                )
            for kind, payload in found:
                self._control(kind, payload)
            if decoder.fault is not None and not self.ended:
                raise decoder.fault
        return view[:0] if self.ended else view

    def _fail(self, fault: ProtocolError) -> None:
        self.core.counts[f"fault_{fault.kind}"] += 1
        if self.negotiated:
            goodbye = Goaway(frames.PROTOCOL_ERROR, str(fault))
            self.core.outbox.behind(messages.encode_goaway(goodbye))
        self.end()
        self._observer.failed(fault)

    def end(self) -> None:
        """Look at nothing more that arrives, and end every stream."""
        if not self.ended:
            self.ended = self.core.closed = True
            self._decoder.clear()
            if self.rules is not None:
                self.rules.lost()

    def close(self) -> None:
        """End, and let go of everybody who knows this: the connection is gone."""
        self.end()
        self.core.close()
        del self._observer

    @property
    def kept_bytes(self) -> int:
        """Bytes that are kept of a frame which is not whole; 8198 at most."""
        return self._decoder.pending

    @property
    def skipped_bytes(self) -> int:
        """Bytes of frames of unknown kinds, which were passed over."""
        return self._decoder.skipped

    def _control(self, kind: int, payload: memoryview) -> None:
        rules = self.rules
        first, self.spoken = not self.spoken, True
        if kind == frames.HELLO and not self._greets:
            self._hello_frame(payload, first=first)
        elif rules is None:
            self._first_frame(kind, payload)
        elif kind == frames.DATA:
            rules.data(payload)  # it has just decided the link
        elif kind == frames.KEEP_ALIVE:
            self._keep_alive()
        elif kind == frames.AUTH:
            self.core.drop_unknown(kind)  # it is too late to prove anything
        elif isinstance(rules, Negotiated) and kind in _SESSION_KINDS:
            self._session_frame(kind, payload)
        elif kind == frames.HELLO_ACK and self._greets:
            raise ProtocolError("HELLO_ACK after another first frame", "late_hello")
        else:
            rules.receive(kind, payload)

    def _keep_alive(self) -> None:
        if self._greets:
            self.core.tolerate("keep_alive")  # the far end answers one a second
        elif self.liveness.echo_due(self.core.now):
            self.core.outbox.urgent(encode_frame(frames.KEEP_ALIVE))
        else:
            self.core.drop("keep_alive")

    def _hello_frame(self, payload: memoryview, *, first: bool) -> None:
        """Take one HELLO, as the link's first frame and before anything was sent."""
        outbox = self.core.outbox
        if not first or outbox or outbox.sent_bytes:
            self._refuse_hello("HELLO must be the first frame, and only once")
            return
        try:
            greeting = hello.decode_hello(payload)
        except PayloadError as fault:
            self._refuse_hello(str(fault))
            return
        self._hello = greeting
        self._patient_until = self.core.now + self._settings.hello_seconds
        self.rules = None
        self._decoder.limit = frames.MAX_FIRST
        self._decoder.eager = False
        self._observer.hello_received(greeting)

    def _refuse_hello(self, error: str) -> None:
        fault = ProtocolError(error, "hello")
        self.core.counts[f"fault_{fault.kind}"] += 1
        self.refuse(error)
        self._observer.failed(fault)

    def _first_frame(self, kind: int, payload: memoryview) -> None:
        """Decide what the link speaks."""
        if not self._greets:
            self._first_of_greeter(kind, payload)
        elif kind == frames.HELLO_ACK:
            ack = hello.decode_hello_ack(payload)
            if ack.error is not None:
                self.end()
                self._observer.refused(ack.error)
            elif self._announced_proof and not self.proven:
                raise ProtocolError(
                    "the gateway took us without proving that it knows our key",
                    "unproven",
                )
            else:
                self._negotiate(ack.window, ack.max_frame, ack)
        elif kind == frames.GOAWAY:
            goodbye = messages.decode_goaway(payload)
            self.end()
            self._observer.goodbye_received(goodbye)
        elif kind == frames.AUTH and self._announced_proof:
            self._auth_frame(payload)
        elif kind == frames.AUTH:
            self.core.drop_unknown(kind)
        elif self._announced_proof:
            raise ProtocolError("the gateway does not ask for our proof", "unproven")
        else:
            self._decide_legacy()
            if not self.ended:
                self._control(kind, payload)

    @property
    def _announced_proof(self) -> bool:
        return self._hello is not None and self._hello.auth is not None

    def _auth_frame(self, payload: memoryview) -> None:
        self._auths += 1
        if self._auths > MOST_AUTHS:
            raise ProtocolError("more AUTH frames than a proof takes", "misplaced")
        self._observer.auth_received(messages.decode_auth(payload))

    def _first_of_greeter(self, kind: int, payload: memoryview) -> None:
        if kind == frames.AUTH and self._announced_proof:
            self._auth_frame(payload)
            return
        if self._hello is not None and kind != frames.KEEP_ALIVE:
            raise ProtocolError("a frame between HELLO and HELLO_ACK", "misplaced")
        if self._hello is not None:
            self.core.drop("before_hello_ack")
        elif kind not in frames.BASE_KINDS:
            self.core.drop_unknown(kind)
        elif self._settings.allow_legacy:
            self._decide_legacy()
            if not self.ended:
                self._control(kind, payload)
        else:
            raise ProtocolError("no HELLO, which this gateway asks for", "no_hello")

    # -- link matters of a negotiated link ----------------------------------

    def _session_frame(self, kind: int, payload: memoryview) -> None:
        roles = self._settings.roles
        if kind == frames.PING:
            self._ping(messages.decode_ping(payload))
        elif kind == frames.GOAWAY:
            self._goaway(messages.decode_goaway(payload))
        elif kind == frames.REGISTER and roles.opens:
            self._observer.register_received(hello.decode_register(payload))
        elif kind == frames.REGISTER_ACK and roles.dials:
            self._observer.register_answered(hello.decode_register_ack(payload))
        else:
            name = frames.KIND_NAMES[kind]
            raise ProtocolError(f"{name} does not belong here", "misplaced")

    def _ping(self, ping: Ping) -> None:
        if ping.kind == frames.PING_QUESTION:
            if not self._may_answer_ping():
                self.core.drop("ping")
                return
            answer = Ping(frames.PING_ANSWER, ping.nonce)
            self.core.outbox.urgent(messages.encode_ping(answer))
        elif ping.kind != frames.PING_ANSWER or not self.liveness.answered(
            ping.nonce, self.core.now
        ):
            self.core.drop("ping_answer")
        else:
            self.core.round_trip = max(LEAST_ROUND_TRIP, self.liveness.shortest or 0.0)

    def _may_answer_ping(self) -> bool:
        """Return whether few answers wait to be sent, and count one more if so."""
        sent = self.core.outbox.sent_bytes
        if sent != self._ping_mark:
            self._ping_mark, self._ping_answers = sent, 0
        if self._ping_answers >= MOST_ANSWERS:
            return False
        self._ping_answers += 1
        return True

    def _goaway(self, goodbye: Goaway) -> None:
        if goodbye.reason not in frames.POLITE_REASONS:
            self.end()
            self._observer.goodbye_received(goodbye)
            return
        if self.leaving:
            self._answered = True
            self.settle()
        elif not self.far_leaving:
            self.far_leaving = True
            answer = Goaway(goodbye.reason, "")
            self.core.outbox.behind(messages.encode_goaway(answer))
            self._observer.goodbye_received(goodbye)
        else:
            self.core.drop("goaway")

    def leave(self, reason: int, text: str) -> None:
        """Say GOAWAY; with an impolite reason that is the end.

        A polite one lets running streams finish: `LinkObserver.finished` follows
        once it is answered and no stream is left.  Towards a legacy peer nothing
        is said and the streams are left to finish.  An impolite one may follow.
        """
        polite = reason in frames.POLITE_REASONS
        if self.ended or (polite and self.leaving):
            return
        knows_goaway = self.negotiated or (not self._greets and self._hello is not None)
        if knows_goaway and not (polite and self.far_leaving):
            goodbye = messages.encode_goaway(Goaway(reason, text))
            self.core.outbox.behind(goodbye)
        else:
            self._answered = True
        if polite:
            self.leaving = True
            self.settle()
        else:
            self.end()

    def settle(self) -> None:
        """Report `finished` if the goodbye is answered and no stream is left.

        The owner calls it when a stream has ended while the link is `leaving`.
        """
        if self.leaving and self._answered and not self.core.streams and not self.ended:
            self.end()
            self._observer.finished()

    def register(self, wish: Register) -> None:
        """Ask for a public port; the feature must have been agreed on."""
        self.core.outbox.behind(hello.encode_register(wish))

    def answer_registration(self, ack: RegisterAck) -> None:
        """Answer the far end's request for a public port."""
        if not self.ended:
            self.core.outbox.behind(hello.encode_register_ack(ack))

    # -- time ----------------------------------------------------------------

    def tick(self, now: float) -> str | None:
        """Do what is due.

        Returns:
            None, or why the link must be closed.
        """
        if self.ended:
            return None
        self.core.now = now
        if self.rules is None and not self._greets:
            return self._patience(now)
        live = self.liveness
        if live.is_dead(now):
            return f"nothing heard for {live.dead_seconds:g} seconds"
        if live.beat_due(now):
            if self._greets:
                self.core.outbox.urgent(encode_frame(frames.KEEP_ALIVE))
            if self.negotiated:
                self._ask_round_trip()
        return None

    def _ask_round_trip(self) -> None:
        nonce = self._new_nonce()
        if self.liveness.ask(nonce, self.core.now):
            ping = Ping(frames.PING_QUESTION, nonce)
            self.core.outbox.urgent(messages.encode_ping(ping))

    def _patience(self, now: float) -> str | None:
        """Return why the link must end if HELLO, or our owner's answer, is too late."""
        settings = self._settings
        if now < self._patient_until:
            return None
        if self._hello is not None:
            return f"HELLO not answered within {settings.hello_seconds:g} seconds"
        if not settings.allow_legacy:
            return f"no HELLO within {settings.hello_seconds:g} seconds"
        self._decide_legacy()
        return None

    def next_tick(self) -> float:
        """Return the monotonic time at which `tick` has something to do."""
        if self.rules is None and not self._greets:
            return self._patient_until
        return min(self.liveness.beat_at(), self.liveness.dead_at())

    def take(self) -> Sequence[Piece]:
        """Return the bytes to send now."""
        return self.core.outbox.take()


_SESSION_KINDS: Final = frozenset(
    {frames.PING, frames.GOAWAY, frames.REGISTER, frames.REGISTER_ACK}
)
