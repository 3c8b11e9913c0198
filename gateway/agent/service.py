"""Stay connected: one keeper for each link of this agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from gateway.agent.expose import Exposures
from gateway.agent.greeter import Greeter
from gateway.agent.identity import Identities
from gateway.agent.rounds import Round, Server
from gateway.agent.targets import TargetDial, Targets
from gateway.agent.trial import TokenTrial
from gateway.errors import OperatorError, ProtocolError
from gateway.interfaces import ITLS, Dialled, INetwork, IStreamListener, NamedLink
from gateway.link.factory import build_link
from gateway.link.protocol import LinkProtocol, LinkSettings
from gateway.link.stream import StreamTransport
from gateway.mux.core import SessionSettings
from gateway.policy.backoff import Backoff
from gateway.policy.budget import Budget
from gateway.policy.links import LinkCount, LinkUse
from gateway.relay.linger import Linger
from gateway.relay.memory import MemoryWatch
from gateway.texts import Texts
from gateway.wire import frames
from gateway.wire.hello import NAME_TAKEN, HelloAck, RegisterAck
from gateway.wire.messages import Goaway

DIAL_MARGIN_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.05
COUNT_SECONDS: Final = 0.5  # between decisions about the number of links


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Whom this agent connects to, and how.

    Attributes:
        servers: (host, port) of the gateways, tried in order.
        connections: links held side by side, 1..16; with `auto` the most there are.
        auto: hold one link, and more while they are what limits.
        session: settings of each session.
        link: settings of each link.
        dial_seconds: for a target, unless the gateway is less patient.
        connect_seconds: for a gateway.
    """

    servers: tuple[Server, ...]
    connections: int
    session: SessionSettings
    link: LinkSettings
    dial_seconds: float
    connect_seconds: float = 10.0
    auto: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParts:
    """What the keepers of one agent share.

    Attributes:
        clock: the reactor's clock.
        dial: connects to a gateway by host and port, within so many seconds.
        targets: for streams.
        memory: what all streams share.
        exposures: public ports to ask for.
        backoff: delays between tries.
        texts: for the documented log phrases.
        random_bytes: for nonces.
        random: 0.0 up to 1.0, for jitter.
        linger: flushes target sockets whose stream is over.
        identities: as whom links greet.
        check_tls: reads the files of TLS; raises `OperatorError` if they are wrong.
    """

    clock: IReactorTime
    dial: Callable[[str, int, IProtocolFactory, float], Deferred[IProtocol]]
    targets: Targets
    memory: Budget
    exposures: Exposures
    backoff: Backoff
    texts: Texts
    random_bytes: Callable[[int], bytes]
    random: Callable[[], float]
    linger: Linger
    identities: Identities
    check_tls: Callable[[], None] = lambda: None


@implementer(INetwork)
class GatheredNetwork:
    """A network whose connections are links: writes of a turn leave together."""

    def __init__(
        self,
        network: INetwork,
        tls: ITLS | None = None,
        found: Callable[[str, list[str]], None] = lambda name, addresses: None,
    ) -> None:
        """Change how a network connects.

        Args:
            network: makes the connections.
            tls: seals them; None = they are plain.
            found: told of each name that is looked up, and of its addresses.
        """
        self._found = found
        self._network = network
        self._tls = tls
        self.listen = network.listen
        self.count_by = network.count_by
        self.attempt = network.attempt

    def connect(
        self,
        address: str,
        port: int,
        factory: IProtocolFactory,
        timeout_seconds: float,
        *,
        gathered: bool = True,
        tls: ITLS | None = None,
        dialled: Dialled | None = None,
    ) -> Deferred[IProtocol]:
        """Connect to a literal address."""
        outcome: Deferred[IProtocol] = self._network.connect(
            address,
            port,
            factory,
            timeout_seconds,
            gathered=gathered,
            tls=tls or self._tls,
            dialled=dialled,
        )
        return outcome

    def resolve(self, name: str, *, reserved: bool = True) -> Deferred[list[str]]:
        """Look the name of a gateway up, whatever targets' names wait for."""
        found: Deferred[list[str]] = self._network.resolve(name, reserved=reserved)
        return found.addCallback(self._note, name)

    def _note(self, addresses: list[str], name: str) -> list[str]:
        self._found(name, addresses)
        return addresses


class AgentService(Service):
    """The links of one agent."""

    log = Logger()

    def __init__(
        self,
        settings: AgentSettings,
        parts: AgentParts,
        gave_up: Callable[[], None],
        shutdown_timeout: float,
    ) -> None:
        """Prepare the keepers.

        Args:
            settings: whom to connect to.
            parts: what the keepers share.
            gave_up: called once when the number of tries is used up.
            shutdown_timeout: seconds that running streams have at the stop.
        """
        self._settings = settings
        self._parts = parts
        self._trial: TokenTrial | None = None
        self._gave_up = gave_up
        self._shutdown_timeout = shutdown_timeout
        self._given_up = False
        self._servers = settings.servers
        self._watch = MemoryWatch(parts.clock, parts.memory, self._holders)
        self._count = LinkCount() if settings.auto else None
        self._count_call: IDelayedCall | None = None
        self.keepers = [
            LinkKeeper(
                settings,
                parts,
                number,
                self._servers_for,
                self._links_wanted,
                self._give_up,
                self._spare_refused if settings.auto and number else None,
            )
            for number in range(settings.connections)
        ]

    def startService(self) -> None:
        """Start connecting, by one link; the gateway says how many it takes."""
        super().startService()
        self._watch.start()
        self.keepers[0].start()
        if self._count is not None:
            self._plan_count()

    def _holders(self) -> Iterator[StreamTransport]:
        for keeper in self.keepers:
            if keeper.link is not None:
                yield from keeper.link.stream_ends()

    def named(self) -> list[NamedLink]:
        """Return the links that are there."""
        name = self._parts.identities.current.greeting.agent
        return [
            NamedLink(name, number, keeper.link)
            for number, keeper in enumerate(self.keepers)
            if keeper.link is not None
        ]

    def _servers_for(self, number: int) -> tuple[Server, ...]:
        """Return where a link may lead: all links of a process go to one gateway.

        While none is up, link 0 alone looks for a gateway; the others follow it.
        """
        for keeper in self.keepers:
            if keeper.up:
                return (keeper.server,)
        return self._servers if number == 0 else ()

    def reload(self) -> None:
        """Read the token's file and those of TLS again; links go on.

        A new token is shown to the gateway by a connection of its own, so that it is
        known to be good before a link depends on it.
        """
        parts = self._parts
        try:
            parts.check_tls()
        except OperatorError as fault:
            self.log.error("files of TLS: {fault}; the old ones stay", fault=fault)
        changed = parts.identities.renew()
        up = next((one for one in self.keepers if one.up), None)
        if not changed or up is None or not up.negotiated:
            return
        self._stop_trial()
        self._trial = TokenTrial(self._settings, parts, parts.identities.current)
        self._trial.start(up.server)

    def _stop_trial(self) -> None:
        trial, self._trial = self._trial, None
        if trial is not None:
            trial.stop()

    def _links_wanted(self, count: int) -> None:
        if self._count is not None:
            self._count.limit = min(count, len(self.keepers))
            return
        for keeper in self.keepers[1:count]:
            if keeper.idle:
                keeper.start()

    def _plan_count(self) -> None:
        self._count_call = self._parts.clock.callLater(COUNT_SECONDS, self._fit_count)

    def _fit_count(self) -> None:
        """Open the links that are wanted now, or close those that are not."""
        self._plan_count()
        count = self._count
        uses = [use for keeper in self.keepers if (use := keeper.use()) is not None]
        if count is None or not uses:
            return
        wanted = count.look(uses, self._parts.clock.seconds())
        away = [keeper for keeper in self.keepers if keeper.away]
        missing = wanted - len(self.keepers) + len(away)
        for keeper in away[: max(0, missing)]:
            if keeper.idle:
                keeper.start()
        if missing < 0 and self.keepers[0].up:
            present = [keeper for keeper in self.keepers if not keeper.away]
            for keeper in present[max(1, wanted) :]:
                keeper.retire()

    def _spare_refused(self) -> None:
        if self._count is not None:
            up = sum(keeper.up for keeper in self.keepers)
            self._count.refused(up, self._parts.clock.seconds())

    def _give_up(self, number: int) -> bool:
        """End it all when link 0 has no tries left and no other is up.

        Returns:
            Whether that is so.
        """
        if number or any(keeper.link is not None for keeper in self.keepers):
            return False
        if not self._given_up:
            self._given_up = True
            self._gave_up()
        return True

    def force(self) -> None:
        """Wait for nobody any more; a stop under way goes on at once."""
        for keeper in self.keepers:
            keeper.abort()
        self._parts.linger.stop()

    async def _stop(self) -> None:
        self._stop_trial()
        clock, linger = self._parts.clock, self._parts.linger
        timer = clock.callLater(self._shutdown_timeout, self.force)
        try:
            for keeper in self.keepers:
                keeper.leave("the agent stops")
            for keeper in self.keepers:
                await keeper.gone()
            while linger:  # targets that still take their last bytes
                await deferLater(clock, LOOK_SECONDS)
        finally:
            if timer.active():
                timer.cancel()
            self._watch.stop()

    def stopService(self) -> Deferred[None]:
        """Say goodbye, let streams finish for a while, then close.

        Returns:
            A Deferred that fires when nothing is left.
        """
        super().stopService()
        if self._count_call is not None:
            self._count_call.cancel()
            self._count_call = None
        self._parts.exposures.stop()
        return Deferred.fromCoroutine(self._stop())


class LinkKeeper(Greeter):
    """Keep one link up: connect, greet, and again when it is lost.

    Names are looked up anew at each try.

    Attributes:
        link: the connection that a gateway has accepted, or None.
        server: host and port of that gateway, or of the one tried last.
    """

    log = Logger()

    def __init__(
        self,
        settings: AgentSettings,
        parts: AgentParts,
        number: int,
        servers: Callable[[int], tuple[Server, ...]],
        wanted: Callable[[int], None],
        give_up: Callable[[int], bool],
        refused: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; nothing happens before `start`.

        Args:
            settings: whom to connect to.
            parts: what the keepers share.
            number: of this link among the agent's.
            servers: returns where the link of a number may lead now; none = it waits
                until it is started again.
            wanted: told how many links the gateway takes, whenever it is known.
            give_up: called with the number when no try is left; returns False if it
                must go on.
            refused: called when the gateway takes no more links; such a link is not
                tried again until it is started. None = the link must stay up.
        """
        super().__init__(parts.random_bytes)
        self._settings = settings
        self._parts = parts
        self._number = number
        self._wanted = wanted
        self._give_up = give_up
        self._refused = refused
        self._retired = False
        self._rests_until = 0.0
        self._seen_bytes = 0
        self._servers = servers
        self.server = settings.servers[0]
        self._failures = self._waits = 0  # since the last success
        self._stopping = self._unwanted = False
        self._name_taken = False
        self._decided_at = 0.0
        self._round: Round | None = None
        self._retry: IDelayedCall | None = None
        self._closing: set[LinkProtocol] = set()
        self._gone: list[Deferred[None]] = []
        self.link: LinkProtocol | None = None

    # -- connecting ----------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether new streams may be opened on its link."""
        return self.link is not None and self.link.usable

    @property
    def negotiated(self) -> bool:
        """Whether there is a link whose gateway knows HELLO."""
        return self.link is not None and self.link.negotiated

    @property
    def away(self) -> bool:
        """Whether there is no link, and none is being made or planned."""
        at_rest = self.link is None and self._round is None
        return at_rest and self._retry is None and not self._stopping

    @property
    def idle(self) -> bool:
        """Whether it is away and may be started."""
        return self.away and self._parts.clock.seconds() >= self._rests_until

    def use(self) -> LinkUse | None:
        """Return what the link did since the last call, or None if it is not up."""
        link = self.link
        if link is None or not link.usable:
            return None
        before, self._seen_bytes = self._seen_bytes, link.received_bytes
        return LinkUse(
            streams=link.streams,
            waiting=link.full or link.stalled > 0,
            arrived=link.received_bytes - before,
            round_trip=link.session.liveness.shortest,
        )

    def retire(self) -> None:
        """Close a link that is up and has no streams; it is not tried again."""
        link = self.link
        if link is None or not link.usable or link.streams:
            return
        self._retired = True
        link.leave(frames.SURPLUS, "not needed now")

    def start(self) -> None:
        """Connect now."""
        self._retry = None
        self._unwanted = self._retired = False
        servers = self._servers(self._number)
        if not servers:
            return
        self._round = Round(
            self._parts.clock,
            servers,
            self._connect,
            self._build_link,
            self._all_failed,
            f"link {self._number}",
        )
        self._round.start()

    def _connect(
        self, server: Server, factory: IProtocolFactory
    ) -> Deferred[IProtocol]:
        self._parts.identities.renew()
        seconds = self._settings.connect_seconds
        return self._parts.dial(*server, factory, seconds)

    def _build_link(self) -> LinkProtocol:
        """Return the protocol of a new connection."""
        parts = self._parts
        return build_link(
            parts.clock,
            self._settings.link,
            self._settings.session,
            parts.linger,
            self,
            parts.random_bytes,
        )

    def _all_failed(self, server: Server, why: str) -> None:
        self._round = None
        self.server = server
        self._failures += 1
        self._again(why)

    def _again(self, why: str) -> None:
        """Plan the next try."""
        if self._stopping or self._unwanted:
            return
        backoff = self._parts.backoff
        used_up = backoff.used_up(self._failures)
        if used_up:
            delay = backoff.longest()
        else:
            delay = backoff.delay(self._waits, self._parts.random)
        self._waits += 1
        if self._refused is not None:
            self._rests_until = self._parts.clock.seconds() + delay
            self.log.info(
                "link {number}: {why}; tried again when it is needed",
                number=self._number,
                why=why,
                log_same=("tried again", why),
            )
            return
        if used_up and self._give_up(self._number):
            self.log.error(
                "link {number}: giving up after {attempts} tries: {why}",
                number=self._number,
                attempts=self._failures,
                why=why,
            )
            return
        if self._name_taken:
            delay = max(delay, backoff.longest())
        self.log.warn(
            "link {number} to {host}:{port}: {why}; next try in {delay:.1f} seconds",
            number=self._number,
            host=self.server[0],
            port=self.server[1],
            why=why,
            delay=delay,
            log_same=("next try", self.server, why),
        )
        self._retry = self._parts.clock.callLater(delay, self.start)

    # -- LinkOwner --------------------------------------------------------------------

    def link_made(self, link: LinkProtocol) -> None:
        """Greet."""
        assert self._round is not None
        self._round.made(link)
        self.greet(link, self._parts.identities.current, self._number)

    def link_decided(self, link: LinkProtocol, ack: HelloAck | None) -> None:
        """The link is up; others that were tried meanwhile are dropped."""
        parts, settings = self._parts, self._settings
        assert self._round is not None
        self.server = self._round.won(link).server
        self._round = None
        self.link = link
        self._seen_bytes = 0
        self._decided_at = parts.clock.seconds()
        self._name_taken = False
        parts.identities.accepted(self.identity_of(link))
        dial_seconds = settings.dial_seconds
        if ack is not None:
            patience = ack.open_timeout - DIAL_MARGIN_SECONDS
            dial_seconds = min(dial_seconds, max(patience, ack.open_timeout / 2))
        parts.targets.dial_seconds = dial_seconds
        self.log.info(
            "{phrase}: link {number} to {host}:{port}, {way}",
            phrase=parts.texts("link_up"),
            number=self._number,
            host=self.server[0],
            port=self.server[1],
            way="legacy protocol" if ack is None else f"session {ack.session}",
        )
        count = 1 if ack is None else ack.links
        if self._number >= count:
            self._unwanted = True
            self.log.warn("the gateway takes {count} links only", count=count)
            link.leave(frames.STOPPING, "one link too many")
            return
        parts.exposures.ask(link, ack)
        self._wanted(count)

    def link_refused(self, link: LinkProtocol, error: str) -> None:
        """The gateway does not want this link; it is tried again, less often."""
        self._name_taken = self._name_taken or error == NAME_TAKEN
        self._parts.identities.refused(self.identity_of(link))
        if self._refused is not None:
            self.log.info("the gateway takes no more links: {error}", error=error)
            self._refused()
            return
        self.log.error("the gateway refused the link: {error}", error=error)

    def link_goodbye(self, link: LinkProtocol, goodbye: Goaway) -> None:
        """The gateway leaves, or sends us away."""
        if goodbye.reason == frames.REPLACED:
            self._name_taken = True
            self.log.error(
                "replaced: {text}; give one of the two another name (--name)",
                text=goodbye.text or NAME_TAKEN,
            )
        else:
            self.log.warn(
                "the gateway says goodbye: {text}",
                text=goodbye.text or f"reason {goodbye.reason}",
            )

    def link_failed(self, link: LinkProtocol, fault: ProtocolError) -> None:
        """Say what was wrong with the gateway."""
        self.log.warn(
            "link of {address} dropped: {fault}",
            address=link.address,
            fault=fault.text(self._parts.texts.language),
        )

    def link_unknown_kind(self, link: LinkProtocol, kind: int) -> None:
        """Say so; a newer gateway may know more than we do."""
        self.log.warn(
            "{phrase}: passed over, as are all such frames of {address}",
            phrase=self._parts.texts("unknown_kind", kind=kind),
            address=link.address,
        )

    def link_listener(self, link: LinkProtocol) -> IStreamListener:
        """Return who dials for one stream."""
        return TargetDial(self._parts.targets)

    def link_registered(self, link: LinkProtocol, ack: RegisterAck) -> None:
        """Pass on."""
        self._parts.exposures.answered(link, ack, self.server[0])

    def link_lost(self, link: LinkProtocol, why: str) -> None:
        """Plan the next try; a link that lived one heartbeat resets the count."""
        self._closing.add(link)
        if link is not self.link:
            if self._round is not None:
                self._round.lost(link, why)
            return
        self.link = None
        lived = self._parts.clock.seconds() - self._decided_at
        if lived >= link.session.liveness.interval:
            self._failures = self._waits = 0
        else:
            self._failures += 1
        if self._retired:
            self.log.info("link {number} closed: not needed now", number=self._number)
            return
        self.log.info(
            "{phrase}: link {number}: {why}",
            phrase=self._parts.texts("link_down"),
            number=self._number,
            why=why,
        )
        self._again(why)

    def link_closed(self, link: LinkProtocol) -> None:
        """Forget the connection."""
        self._closing.discard(link)
        self.forget(link)
        if self._is_gone():
            waiting, self._gone = self._gone, []
            for waiter in waiting:
                waiter.callback(None)

    # -- leaving ---------------------------------------------------------------

    def leave(self, text: str) -> None:
        """Say goodbye and connect no more."""
        self._stopping = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._round is not None:
            self._round.leave(frames.STOPPING, text)
        if self.link is not None:
            self.link.leave(frames.STOPPING, text)

    def abort(self) -> None:
        """Close at once."""
        for link in [*self._closing, *self._open_links()]:
            link.abort("the agent stops")

    def _open_links(self) -> list[LinkProtocol]:
        tried = [] if self._round is None else self._round.links
        return tried if self.link is None else [self.link, *tried]

    def _is_gone(self) -> bool:
        return not self._closing and not self._open_links()

    def gone(self) -> Deferred[None]:
        """Return a Deferred that fires when no connection is left."""
        if self._is_gone():
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._gone.append(waiter)
        return waiter
