"""A stream as the producer of its near socket, and as its consumer."""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from gateway.interfaces import IStream, IStreamListener
from gateway.link.seams import StreamLink
from gateway.metrics.tallies import LINK, MEMORY, TARGET, VISITOR, WINDOW
from gateway.mux.stream import Ending, State, Stream
from gateway.policy.backlogs import Flow
from gateway.relay.flows import flows_of_stream
from gateway.relay.near import Near
from gateway.wire import frames
from gateway.wire.messages import OpenRequest

# credit that takes so much longer than a round trip waits for a reader
SLOW_SECONDS: Final = 0.05
_ENDED: Final = State.ENDED  # a member of an enum is slow to look up


@implementer(IPushProducer, IStream)
class StreamTransport:
    """Join one stream of a link to its near socket.

    What arrives from the link goes straight into the near transport, which holds
    at most one window of it: credit is repaid by what its kernel has taken.  What
    the near socket says goes to the session; while it may not be sent, it waits
    in a tail of at most one read, and the near socket is paused.

    Attributes:
        stream: the session's side.
        sent: bytes from the near socket handed to the link.
        received: bytes from the link handed to the near socket.
    """

    __slots__ = (
        "_far_finished",
        "_finishing",
        "_full_noted",
        "_full_since",
        "_held",
        "_link",
        "_listener",
        "_near",
        "_rules",
        "_stall_cause",
        "_stall_noted",
        "_stall_since",
        "_tail",
        "received",
        "sent",
        "stream",
    )

    stream: Stream

    def __init__(self, link: StreamLink, listener: IStreamListener) -> None:
        self._link = link
        self._rules = link.rules
        self._listener = listener
        self._near: Near | None = None
        self._tail: deque[bytes | memoryview] = deque()
        self._held: list[bytes] = []
        self._finishing = False
        self._far_finished = False
        self.sent = 0
        self.received = 0
        self._stall_cause = WINDOW
        self._stall_since: float | None = None
        self._full_since: float | None = None
        self._stall_noted = self._full_noted = 0.0  # seconds that are counted already

    @property
    def over(self) -> bool:
        """Whether the stream has ended."""
        return self.stream.state is _ENDED

    @property
    def unsent(self) -> int:
        """Bytes received that the near socket's kernel has not taken."""
        if self._near is None:
            return sum(map(len, self._held))
        return self._near.transport.unsent

    @property
    def waiting(self) -> int:
        """Bytes that wait here, and not in a transport."""
        return sum(map(len, self._tail)) + sum(map(len, self._held))

    @property
    def paused(self) -> bool:
        """Whether the near socket is not read: its bytes may not be sent now."""
        return bool(self._tail) or self._link.full or self.stream.sending.left <= 0

    @property
    def held(self) -> int:
        """Bytes of this stream that wait in this process, but for those in the link."""
        near = self._near
        return self.waiting + (0 if near is None else near.transport.unsent)

    @property
    def address(self) -> str:
        """Whose it is, as far as this end knows."""
        return self._listener.address

    def flows(self) -> tuple[Flow, ...]:
        """Return what waits for the near socket's peer and for the link."""
        near = self._near
        if near is not None:
            return flows_of_stream(
                near.transport, self.received, self.waiting, self.sent
            )
        waiting = self.waiting
        return (Flow(waiting, 0, self.sent - waiting),) if waiting else ()

    @property
    def waits_for(self) -> str | None:
        """What its bytes wait for here, one of `metrics.tallies.CAUSES`."""
        near = self._near
        if near is not None and self._full_since is not None:
            return VISITOR
        if self._stall_since is None:
            return None
        if self._stall_cause is LINK:
            return LINK
        return self._credit_cause(self._link.seconds() - self._stall_since)

    def _credit_cause(self, seconds: float) -> str:
        """Say why there has been no credit for so long."""
        link = self._link
        if link.memory.tight:
            return MEMORY
        trip = link.round_trip or 0.0
        return TARGET if seconds > 2 * trip + SLOW_SECONDS else WINDOW

    def note_waits(self) -> None:
        """Count what it has waited so far, so that a wait shows while it lasts."""
        now = self._link.seconds()
        if self._stall_since is not None and now > self._stall_since:
            self._note_stall(now - self._stall_since)
        if self._full_since is not None and now > self._full_since:
            self._note_full(now - self._full_since)

    def _note_stall(self, seconds: float) -> None:
        cause, noted = self._stall_cause, self._stall_noted
        if cause is not LINK:
            cause = self._credit_cause(seconds)
        self._link.stalls.note(cause, seconds - noted, not noted)
        self._stall_noted = seconds

    def _note_full(self, seconds: float) -> None:
        noted = self._full_noted
        self._link.stalls.note(VISITOR, seconds - noted, not noted)
        self._full_noted = seconds

    def _stall_over(self) -> None:
        since = self._stall_since
        if since is not None:
            self._note_stall(self._link.seconds() - since)
            self._stall_since, self._stall_noted = None, 0.0
            self._wait_over()

    def _full_over(self) -> None:
        since = self._full_since
        if since is not None:
            self._note_full(self._link.seconds() - since)
            self._full_since, self._full_noted = None, 0.0
            self._wait_over()

    def _wait_over(self) -> None:
        if self._stall_since is None and self._full_since is None:
            self._link.stalls.waiting.pop(self, None)

    def break_off(self, why: str) -> None:
        """End the stream at once for what it holds."""
        self.abort(frames.OVER_LIMIT, why)

    # -- near socket ---------------------------------------------------------

    def join(self, near: Near) -> None:
        """Take a visitor, whose early bytes may follow the request."""
        self._near = near
        near.far = self
        self._register(near)
        if self._link.negotiated:
            near.transport.resumeProducing()

    def attach(self, near: Near) -> None:
        """Confirm the target, which is reached, and let bytes flow."""
        link = self._link
        self._near = near
        near.far = self
        self._register(near)
        self._rules.answer(self.stream, frames.SUCCESS)
        held, self._held = self._held, []
        if held:
            link.memory.let_go(sum(map(len, held)))
            link.note_time()
            near.transport.writeSequence(held)
            self._rules.repay(self.stream, near.transport.unsent)
        if self._far_finished:
            near.transport.loseWriteConnection()
        near.transport.resumeProducing()
        link.flush()

    def refuse(self, status: int) -> None:
        """Answer that the target cannot be reached."""
        if not self.over:
            self._rules.answer(self.stream, status)
            self._link.flush()

    def _register(self, near: Near) -> None:
        pause_mark, resume_mark = self._link.water_marks
        near.transport.pause_mark = pause_mark
        near.transport.resume_mark = resume_mark
        near.transport.registerProducer(self, True)

    def write(self, data: bytes | memoryview) -> None:
        """Send near bytes, or keep them and pause the near socket.

        Args:
            data: a view need be good during this call only.
        """
        stream, link = self.stream, self._link
        if stream.state is _ENDED:
            return
        size = len(data)
        self.sent += size
        if self._tail or link.full:
            self._keep(data)
            return
        taken = self._rules.send(stream, data)
        full = link.push() if type(data) is memoryview else link.flush()
        if taken < size:
            self._keep(memoryview(data)[taken:])
        elif full or stream.sending.left <= 0:
            self._wait()

    def _keep(self, data: bytes | memoryview) -> None:
        self._tail.append(bytes(data))
        self._link.memory.hold(len(data))
        self._wait()

    def _wait(self) -> None:
        """Stop reading the near socket until the link or the peer has room."""
        if self._stall_since is None:
            self._stall_since = self._link.seconds()
            self._stall_cause = LINK if self._link.full else WINDOW
            self._link.stalls.waiting[self] = None
        if self._near is not None:
            self._near.transport.pauseProducing()
        if self._link.full:
            self._link.stall(self)

    def go_on(self) -> None:
        """Send what waits as far as it goes, then read the near socket again."""
        link, tail = self._link, self._tail
        if self.over:
            return
        while tail:
            if link.full:
                link.stall(self)
                return
            data = tail.popleft()
            taken = self._rules.send(self.stream, data)
            link.memory.let_go(taken)
            if taken < len(data):
                tail.appendleft(memoryview(data)[taken:])
                link.flush()
                return
            link.flush()
        if self._finishing:
            self._stall_over()
            self._finishing = False
            self._rules.finish(self.stream)
            link.flush()
        elif self._near is not None and self.stream.sending.left > 0:
            if self._stall_since is not None:
                self._stall_over()
            self._near.transport.resumeProducing()

    def near_finished(self) -> None:
        """The near side sends nothing more: FIN, behind all its bytes."""
        if self.over:
            return
        opening = self.stream.state is State.OPENING
        if self._tail or (opening and self._link.legacy):
            self._finishing = True
            return
        self._rules.finish(self.stream)
        self._link.flush()

    def near_lost(self, *, in_order: bool) -> bool:
        """The near socket is gone: so is the stream, unless bytes still wait.

        A socket whose two directions have ended is gone in order; what it said
        before its FIN goes out all the same.
        """
        self._near = None
        if not (in_order and self._finishing):
            self.abort(frames.ABORTED, "the near connection was lost")
        return True

    def abort(self, reason: int, why: str) -> None:
        """End the stream at once, at both ends."""
        if not self.over:
            self._rules.reset(self.stream, reason, why)
            self._link.flush()

    # -- IPushProducer, for the near transport --------------------------------

    def pauseProducing(self) -> None:
        """The near socket is full; credit stays unpaid, a legacy link pauses."""
        if self._full_since is None and self._near is not None:
            self._full_since = self._link.seconds()
            self._link.stalls.waiting[self] = None
        self._link.hold(self)

    def resumeProducing(self) -> None:
        """The near socket's kernel took what waited."""
        link = self._link
        self._full_over()
        link.release(self)
        if not self.over and self._near is not None:
            link.note_time()
            self._rules.repay(self.stream, self._near.transport.unsent)
            link.flush()

    def stopProducing(self) -> None:
        """The near socket is gone; `near_lost` follows."""

    # -- StreamEnd, for the session --------------------------------------------

    def requested(self, request: OpenRequest) -> None:
        """Pass the request on."""
        self._listener.stream_requested(self, request)

    def opened(self) -> None:
        """Pass on that the target is reached, and send what waits."""
        self._listener.stream_opened(self)
        self.go_on()

    def deliver(self, data: memoryview) -> None:
        """Write to the near socket; repay what it took at once."""
        self.received += len(data)
        near = self._near
        if near is None:
            self._held.append(bytes(data))
            self._link.memory.hold(len(data))
            return
        transport = near.transport
        transport.write(data)
        receiving = self.stream.receiving
        if receiving.unspent + transport.unsent <= receiving.mark:
            self._rules.repay(self.stream, transport.unsent)

    def far_finished(self) -> None:
        """Half-close the near socket behind what it was given."""
        self._far_finished = True
        if self._near is not None:
            self._near.transport.loseWriteConnection()

    def granted(self) -> None:
        """There is credit again, and perhaps room for longer frames."""
        near, limit = self._near, self.stream.sending.frame_limit
        if near is not None and limit > near.transport.read_size:
            near.transport.read_size = limit
        self.go_on()

    def ended(self, ending: Ending) -> None:
        """Close or abort the near socket and tell the listener."""
        near, self._near = self._near, None
        self._stall_over()
        self._full_over()
        waiting = self.waiting
        if waiting:
            self._link.memory.let_go(waiting)
            self._tail.clear()
            self._held.clear()
        if near is not None:
            near.far = None
            near.transport.unregisterProducer()
            if ending.flush:
                near.close_after_flush(self._link.linger)
            else:
                near.transport.abortConnection()
        self._listener.stream_ended(self, ending)
        del self._listener  # which knows this stream
        self._link.stream_over(self)
