"""Seams: what can be replaced, and what the replacement must do.

`tests/contracts` holds one suite for each of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from gateway.metrics.tallies import Tally
from gateway.mux.stream import Ending, StreamRequest
from gateway.policy.backlogs import Flow
from gateway.policy.bans import Ban
from gateway.policy.budget import Budget
from gateway.policy.credentials import AgentCredential
from gateway.policy.history import History, Lifetime, TrafficRecord
from gateway.policy.mapping import Mapping, Match
from gateway.policy.rates import Bucket
from gateway.policy.reservations import Owner, Reservation
from gateway.wire.hello import HelloAck, RegisterAck
from gateway.wire.messages import OpenRequest

# told of a connection that begins: local address, local port, address that is dialled,
# and its descriptor; -1 = it has none
Dialled: TypeAlias = Callable[[str, int, str, int], None]


class StoredFault(NamedTuple):
    """A row of a store that cannot be read.

    Attributes:
        match: the match of its mapping as text; empty where that is lost, too.
        text: one sentence: which row, why, and what to do.
    """

    match: str
    text: str

    def __str__(self) -> str:
        return self.text


class StoredMappings(NamedTuple):
    """What a store holds.

    Attributes:
        mappings: every readable row, ordered by protocol and port.
        faults: one for each row that could not be read.
    """

    mappings: list[Mapping]
    faults: list[StoredFault]


class IMappingStore(Interface):
    """Where mappings survive a restart.

    Every method raises `StoreError` when the store cannot be used.  A change is
    whole or absent, whatever happens to the process while it is made.
    """

    def open() -> Awaitable[None]:
        """Create or migrate the store and make it ready.

        Raises:
            SchemaVersionError: a newer release wrote it.
            StoreError: it is corrupt, locked, read-only or cannot be created.
        """

    def close() -> Awaitable[None]:
        """Release everything; may be called twice, and without `open`."""

    def load() -> Awaitable[StoredMappings]:
        """Return all mappings; unreadable rows become faults."""

    def insert(mapping: Mapping) -> Awaitable[Mapping]:
        """Store a new mapping and return it with its `id`.

        Raises:
            PortMappedError: another mapping has its match.
        """

    def update(mapping: Mapping) -> Awaitable[bool]:
        """Replace the row with the id of `mapping`; False if there is none."""

    def delete(match: Match) -> Awaitable[bool]:
        """Remove a mapping; False if there was none."""

    def ping() -> Awaitable[None]:
        """Return if the store answers; for the health check."""


class StoredCredentials(NamedTuple):
    """What a store holds of agents' keys.

    Attributes:
        credentials: every readable row, ordered by name.
        faults: one sentence for each row that could not be read.
    """

    credentials: list[AgentCredential]
    faults: list[str]


class ICredentialStore(Interface):
    """Where agents' keys survive a restart; opened and closed as `IMappingStore`.

    Every method raises `StoreError` when the store cannot be used.
    """

    def load_credentials() -> Awaitable[StoredCredentials]:
        """Return all; unreadable rows become faults."""

    def put_credential(credential: AgentCredential) -> Awaitable[None]:
        """Store a credential in the place of what has its name."""

    def delete_credential(name: str) -> Awaitable[bool]:
        """Remove a credential; False if there was none."""


class AuditEntry(NamedTuple):
    """One change that somebody made.

    Attributes:
        id: number given by the store; 0 before it is stored.
        at: Unix seconds.
        who: the credential of who made it.
        address: where it was made from.
        action: what was done, such as `mapping.create`.
        subject: to what.
        before: as JSON has it; None = there was nothing.
        after: as JSON has it; None = there is nothing any more.
    """

    id: int
    at: int
    who: str
    address: str
    action: str
    subject: str
    before: object = None
    after: object = None


class IAuditStore(Interface):
    """Where changes are noted; opened and closed as `IMappingStore`.

    Every method raises `StoreError` when the store cannot be used.
    """

    def note(entry: AuditEntry, oldest: int, most: int) -> Awaitable[None]:
        """Add an entry.

        Args:
            entry: its `id` does not matter.
            oldest: Unix seconds; entries from before are removed.
            most: how many are kept.
        """

    def load_audit(before: int | None, count: int) -> Awaitable[list[AuditEntry]]:
        """Return the newest entries with an id below `before`, newest first."""


class IHistoryStore(Interface):
    """Where traffic of the past is kept; opened and closed as `IMappingStore`.

    Every method raises `StoreError` when the store cannot be used.
    """

    def record(records: Sequence[TrafficRecord], more: Lifetime) -> Awaitable[Lifetime]:
        """Write what passed of late, all or nothing.

        Args:
            records: by port, and in all.
            more: what it adds to what passed ever.

        Returns:
            What passed ever, this included.
        """

    def load_lifetime() -> Awaitable[Lifetime]:
        """Return what passed ever."""

    def load_history(
        port: int, is_tunnel: bool, since: int, until: int, limit: int
    ) -> Awaitable[History]:
        """Return what passed in a span of time.

        Args:
            port: public port; 0 = all together.
            is_tunnel: bytes of links instead.
            since: Unix seconds, excluded.
            until: Unix seconds, included; later than `since`.
            limit: of points; the step is chosen so that they are enough.
        """

    def tidy_history(now: int, oldest: int, most: int) -> Awaitable[None]:
        """Sum up what is old, and remove what is too old or too much.

        Args:
            now: Unix seconds.
            oldest: Unix seconds; records up to then are removed.
            most: how many records are kept.
        """


class IBanStore(Interface):
    """Where the operator's bans survive a restart; opened as `IMappingStore`.

    Every method raises `StoreError` when the store cannot be used.
    """

    def load_bans() -> Awaitable[list[Ban]]:
        """Return all."""

    def put_ban(ban: Ban) -> Awaitable[None]:
        """Store a ban in the place of that of the same network."""

    def delete_ban(network: str) -> Awaitable[bool]:
        """Remove a ban; False if there was none."""


class IReservationStore(Interface):
    """Where ports that are kept for agents survive; opened as `IMappingStore`.

    Every method raises `StoreError` when the store cannot be used.
    """

    def load_reservations() -> Awaitable[list[Reservation]]:
        """Return all; rows that somebody edited may name no port at all."""

    def write_reservations(
        put: Sequence[Reservation], gone: Sequence[Owner]
    ) -> Awaitable[None]:
        """Store some and remove others, all or nothing.

        Args:
            put: each in the place of what is kept for its owner.
            gone: owners that nothing is kept for; no error if nothing was.
        """


class IViewReceiver(IProtocol):
    """A protocol that takes views of a buffer which is used again at once.

    What it needs beyond `dataReceived` it must copy, as `IByteTransport.write` does.
    """

    def dataReceived(data: bytes | memoryview) -> None:
        """Take the next bytes."""


class IByteTransport(ITCPTransport, IConsumer, IPushProducer):
    """A TCP transport of the fast path.

    Beyond `ITCPTransport`: `write` copies what it keeps, so a caller may pass a
    view of a buffer that it uses again; a paused transport still notices a reset
    (not a FIN) and reports `connectionLost`; the registered producer is paused
    when `unsent` passes `pause_mark` and resumed when `unsent` is down to
    `resume_mark`.
    """

    unsent: int = Attribute("bytes taken by `write` that the kernel has not taken")
    pause_mark: int = Attribute("`unsent` above which the producer is paused")
    resume_mark: int = Attribute("`unsent` at which it is resumed; 0 unless set")
    read_size: int = Attribute("bytes of one read at most; may be raised")

    def write(data: bytes | memoryview) -> None:
        """Send, or keep what the kernel does not take."""

    def writeSequence(data: Iterable[bytes | memoryview]) -> None:
        """Send the pieces, in order and without joining long ones."""

    def kernel_bytes() -> tuple[int, int]:
        """Return the kernel's memory for what is unread and what is unacknowledged.

        Both are 0 where the kernel does not say.
        """

    def acknowledged() -> int | None:
        """Return how many bytes the peer has acknowledged; None if nobody knows."""

    def atTurnEnd(call: Callable[[], None]) -> None:
        """Make `call` once, when this turn of events is over or soon after.

        What it writes still leaves with what the turn has gathered.
        """


class ISplicing(Interface):
    """A transport that can have the kernel move its bytes to another one."""

    def splice_to(sink: IByteTransport, tally: Callable[[int], None]) -> None:
        """Once there are many bytes, move them to `sink` past the protocol.

        The protocol must hand all it receives to `sink`, whose producer this
        transport is; whatever is received may come by `tally` or by `dataReceived`,
        in turns.  `unsent` of `sink` counts what is under way, and the producer is
        paused as soon as anything is.  All else is as without it: flushes,
        half-closes, resets.  A `sink` that cannot take part is no error.

        Args:
            sink: another transport.
            tally: called with each number of bytes that are moved.
        """


class IPaced(Interface):
    """A transport whose bytes can be made to pass at a rate."""

    rate_bound: bool = Attribute("whether bytes wait for a bucket now")

    def pace(
        clock: IReactorTime,
        inward: Sequence[Bucket],
        outward: Sequence[Bucket],
        *,
        waited: Callable[[float], None] | None = None,
    ) -> None:
        """Let bytes pass as buckets allow, from now on; they may be shared.

        Args:
            clock: tells how much time has passed.
            inward: all of them allow what is read; none = at will.
            outward: all of them allow what is written; none = at will.
            waited: told of the seconds of each wait for them; None = nobody is.
        """


class ICertified(Interface):
    """A transport whose far end may have shown a certificate."""

    peer_names: frozenset[str] = Attribute(
        "what that certificate calls it; empty without one"
    )


class ITLS(Interface):
    """How connections are sealed; made and looked into by `gateway.net` alone."""


class IListening(Interface):
    """A public port that is reserved, and later served."""

    def getHost() -> IAddress:
        """Return the address that is listened on."""

    def startAccepting() -> None:
        """Hand connections to the factory from now on."""

    def stopListening() -> None:
        """Release the port at once; established connections live on.

        May be called twice.
        """


class IAttempt(Interface):
    """A connection that is being made."""

    def cancel() -> None:
        """Give it up: nobody is told anything more."""


class INetwork(Interface):
    """The sockets of this process; the simulation has one of its own."""

    def count_by(memory: Budget) -> None:
        """Count what waits in the transports that are made from now on.

        Args:
            memory: told of bytes that a transport keeps, and of those that it has
                sent or dropped.
        """

    def listen(
        address: str,
        port: int,
        factory: IProtocolFactory,
        *,
        gathered: bool = False,
        tls: ITLS | None = None,
        memory: Budget | None = None,
    ) -> IListening:
        """Bind and listen without accepting yet.

        Args:
            address: literal IPv4 or IPv6 address; empty = all interfaces.
            port: 0 = let the system choose.
            factory: builds a protocol for each accepted connection; its
                transports provide `IByteTransport`.  None from `buildProtocol`
                resets the connection.
            gathered: writes of one turn leave together at its end (links).
            tls: how connections are sealed; the factory is asked for a protocol when
                the handshake is over.
            memory: counts what waits in these transports; None = see `count_by`.

        Raises:
            OSError: as the system says it.
        """

    def connect(
        address: str,
        port: int,
        factory: IProtocolFactory,
        timeout_seconds: float,
        *,
        gathered: bool = False,
        tls: ITLS | None = None,
        dialled: Dialled | None = None,
    ) -> Deferred[IProtocol]:
        """Connect to a literal address, and shake hands there with `tls`.

        `dialled` is called as by `attempt`.

        Returns:
            A Deferred of the protocol that `factory` built.  It fails with
            `OSError` (`ConnectionRefusedError`, `TimeoutError`, ...).  Cancelling
            it abandons the attempt.
        """

    def attempt(
        address: str,
        port: int,
        factory: IProtocolFactory,
        timeout_seconds: float,
        failed: Callable[[Failure], None],
        dialled: Dialled | None = None,
    ) -> IAttempt:
        """Connect to a literal address on behalf of one visitor.

        The protocol that `factory` builds learns of its connection; there is no
        Deferred, for there would be one for every visitor.

        Args:
            address: literal address.
            port: 1..65535.
            factory: builds the protocol.
            timeout_seconds: until it fails with `TimeoutError`.
            failed: called once with an `OSError` if nothing came of it, perhaps
                before this returns.
            dialled: called with the local address and port of the connection, the
                address that is dialled and the descriptor, before the far end can know
                of it.
        """

    def resolve(name: str, *, reserved: bool = False) -> Deferred[list[str]]:
        """Look a host name up.

        Args:
            name: or a literal address.
            reserved: it is one of the few names that must not wait for others.

        Returns:
            A Deferred of the literal addresses in the order to try, never empty;
            a literal address is returned as it is.  An answer may be some seconds
            old.  It fails with `UnresolvableError`.  Cancelling it gives up waiting.
        """


class IJoinedFlow(Interface):
    """The flow to a target, joined to the socket of the visitor it was opened for.

    It writes what comes from the target straight to that socket, and pauses it while
    the target's side is full.
    """

    received: int = Attribute("bytes from the target for the visitor")
    over: bool = Attribute("whether only the last bytes are being flushed")
    waits_for: str | None = Attribute("one of `gateway.metrics.tallies.CAUSES`")

    def write(data: bytes | memoryview) -> None:
        """Send the visitor's bytes; what is kept is copied."""

    def near_finished() -> None:
        """Half-close behind what was written: the visitor sends nothing more."""

    def near_lost(*, in_order: bool) -> bool:
        """End the flow, because the visitor's socket is gone.

        Args:
            in_order: both directions of that socket had ended.

        Returns:
            Whether nothing remains; else `flow_ended` follows when nothing does.
        """

    def abort(reason: int, why: str) -> None:
        """End it at once, at both ends.

        Args:
            reason: a reason of `gateway.wire.frames`, for the far end of a link.
            why: the same for people.
        """

    def flows() -> tuple[Flow, ...]:
        """Return what waits for the visitor and for the target."""


class IUpstreamRequest(Interface):
    """The connection that a flow is asked for."""

    mapping: Mapping = Attribute("leads to the target")
    id: str = Attribute("what the logs of both ends call it")
    visitor: str = Attribute("address and port of the visitor")
    balancer: str | None = Attribute("the same of who forwards it; None = nobody")
    hops: int = Attribute("how often what it carries has passed this gateway")
    started_at: float = Attribute("monotonic seconds of its accept")


class ICarrier(Interface):
    """Whoever carries a flow to its target; today an agent's link."""

    agent: str = Attribute("name of the agent")
    tally: Tally = Attribute("counts what it has carried")
    buckets: tuple[Bucket, Bucket] | None = Attribute("all its bytes pass, in and out")


class IUpstreamTaker(Interface):
    """Whoever a flow is opened for: the visitor's side.

    `flow_begun`, then `flow_opened`, then `flow_ended`; each at most once.  Or
    `flow_failed`, and nothing else.
    """

    transport: IByteTransport = Attribute("the visitor's socket; paused until then")
    sent: int = Attribute("bytes that the visitor has sent")
    address: str = Attribute("whose it is: an IPv4 address or an IPv6 /64")
    far: Any = Attribute("the flow while it is joined, set by it; else None")

    def close_after_flush(linger: Any) -> None:
        """Close the visitor's socket, as `gateway.relay.linger` does."""

    def count_sent(count: int) -> None:
        """Count bytes of the visitor that did not pass through its protocol."""

    def flow_carried(carrier: ICarrier) -> None:
        """Learn who carries the flow, before any byte of it."""

    def flow_begun(flow: IJoinedFlow) -> None:
        """Write into the flow from now on; its target is not confirmed yet.

        Args:
            flow: writes what comes from the target to `transport`.
        """

    def flow_opened() -> None:
        """The target is reached."""

    def flow_failed(stage: str, why: str) -> None:
        """There will be no flow.

        Args:
            stage: what it failed at, one of `gateway.metrics.tallies.FAULTS`.
            why: for people.
        """

    def flow_ended(why: str, *, whole: bool) -> None:
        """The flow is over; the visitor's socket is closed or being flushed.

        Args:
            why: for people.
            whole: both sides had finished, and neither broke.
        """


class IUpstream(Interface):
    """Whatever reaches a target: an agent's links, or a dial from here."""

    def open(request: IUpstreamRequest, taker: IUpstreamTaker) -> IAttempt:
        """Open a flow to the target of a connection, and join it to its visitor.

        Args:
            request: what is asked for.
            taker: told how it goes, perhaps before this returns.

        Returns:
            What gives it up, as long as neither a flow has begun nor `flow_failed`
            been called.
        """


class IStream(IJoinedFlow):
    """A stream of a link, for whoever opened it or dials for it."""

    sent: int = Attribute("bytes from the near socket handed to the link")

    def attach(near: Any) -> None:
        """Confirm the target, which is reached, and let bytes flow.

        Args:
            near: the protocol of its socket, a `relay.near.Near`.
        """

    def refuse(status: int) -> None:
        """Answer that the target cannot be reached."""

    def break_off(why: str) -> None:
        """End it at once for what it holds."""


class IStreamListener(Interface):
    """Whoever opened a stream, or dials for it."""

    address: str = Attribute("whose it is: an IPv4 address or an IPv6 /64")

    def stream_requested(stream: IStream, request: OpenRequest) -> None:
        """The far end wants a target; `attach` or `refuse` follows."""

    def stream_opened(stream: IStream) -> None:
        """The far end has reached the target."""

    def stream_ended(stream: IStream, ending: Ending) -> None:
        """The stream is over; its near socket is closed or being flushed."""


class ILink(Interface):
    """An authenticated connection between two ends, which carries streams."""

    host: str = Attribute("address of the far end")
    address: str = Attribute("the same with its port, for logs")
    negotiated: bool = Attribute("whether it has credit, half-close and reset")
    spoken: bool = Attribute("whether the far end has sent a valid frame")
    usable: bool = Attribute("whether new streams may be opened")
    streams: int = Attribute("live streams")
    sent_bytes: int = Attribute("bytes for the far end, frames and all")
    received_bytes: int = Attribute("bytes from the far end, frames and all")
    round_trip: float | None = Attribute("seconds of the last round trip, or None")

    def open(near: Any, listener: IStreamListener, request: StreamRequest) -> IStream:
        """Ask the far end for a target on behalf of a visitor.

        Args:
            near: the protocol of the visitor's socket, a `relay.near.Near`.
            listener: told of the life of the stream.
            request: what it is for.

        Raises:
            PayloadError: the host or the meta is too long, or the link cannot carry
                such streams.
        """

    def answer_registration(ack: RegisterAck) -> None:
        """Answer a request for a public port."""

    def leave(reason: int, text: str) -> None:
        """Say goodbye; with a polite reason the link closes behind its streams."""

    def close_after_last_words(why: str) -> None:
        """Send what is queued, and close."""

    def abort(why: str) -> None:
        """Close at once."""


class IArrivingLink(ILink):
    """A link whose far end has not been admitted yet."""

    peer_names: frozenset[str] = Attribute(
        "what the far end's certificate calls it; empty without one"
    )
    undecided: bool = Attribute("whether the far end has not said who it is")
    awaits_word: bool = Attribute("whether the first valid frame is reported; settable")

    def accept(ack: HelloAck) -> None:
        """Admit the far end, whose HELLO was reported."""

    def authenticate(message: str) -> None:
        """Send a message of the proof."""

    def refuse(error: str) -> None:
        """Reject the far end, by HELLO_ACK, and close."""

    def pad(size: int) -> None:
        """Send bytes that mean nothing, so that the far end can time them."""


class NamedLink(NamedTuple):
    """A link and whose it is.

    Attributes:
        agent: name of the agent; None = it has not said it.
        number: of this link among the agent's; None = not known.
    """

    agent: str | None
    number: int | None
    link: ILink
