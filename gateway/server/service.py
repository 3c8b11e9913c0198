"""Start and stop a gateway in order."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from typing import Protocol as Seam

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Site

from gateway.errors import OperatorError
from gateway.interfaces import ITLS, IListening, IMappingStore, INetwork
from gateway.ops.certificates import CertificateWatch
from gateway.ops.events import Events
from gateway.policy.addresses import join_host_port
from gateway.policy.budget import Budget
from gateway.policy.mapping import Mapping
from gateway.relay.memory import MemoryWatch
from gateway.server.bans import BanTable
from gateway.server.credentials import Credentials
from gateway.server.kept_ports import KeptPorts
from gateway.server.links import Links
from gateway.server.mappings import Mappings
from gateway.server.recorder import Recorder
from gateway.server.register import Registrations
from gateway.server.sampling import Sampler

PARTING_SECONDS: Final = 1.0
Place = tuple[str, int]


class StartError(OperatorError):
    """A port of the gateway itself cannot be opened."""


class Watch(Seam):
    """Something that looks now and then."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End; may be called twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiEdge:
    """The API, or the port for probes, as the service needs it.

    Attributes:
        site: serves it.
        close: ends its connections and timers; may be called twice.
        memory: counts what its connections hold.
    """

    site: Site
    close: Callable[[], None]
    memory: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayParts:
    """What a gateway is made of.

    Attributes:
        clock: for the time limits of the stop.
        network: opens the link port and the API's.
        store: opened at the start, closed at the stop.
        links: live links.
        credentials: keys of agents.
        bans: who is kept out.
        link_factory: builds links.
        mappings: mappings and their ports.
        memory: sees to what holds it.
        registrations: ports that agents ask for.
        kept: ports of agents that are away.
        configured: mappings of the configuration.
        make_api: returns the API; told how to ask whether we drain.
        make_health: returns the port for probes, alike.
        events: told of the start and the stop.
        watches: run from the start to the stop.
        fatal: called with the reason when the gateway cannot start.
        open_warning: what to say if agents need no credential.
        certificates: those of the two ports, read anew when they change.
        sampler: looks at the numbers once a second.
        recorder: writes down what passes.
        link_tls: seals links; None = they are plain.
        api_tls: seals the API; None = it is plain.
        reload: reads the configuration again, and says in the log what came of it.
    """

    clock: IReactorTime
    network: INetwork
    store: IMappingStore
    links: Links
    credentials: Credentials
    bans: BanTable
    link_factory: IProtocolFactory
    mappings: Mappings
    memory: MemoryWatch
    registrations: Registrations
    kept: KeptPorts
    configured: Sequence[Mapping]
    make_api: Callable[[Callable[[], bool]], ApiEdge]
    make_health: Callable[[Callable[[], bool]], ApiEdge]
    events: Events
    watches: Sequence[Watch]
    fatal: Callable[[str], None]
    open_warning: str
    certificates: CertificateWatch
    sampler: Sampler
    recorder: Recorder
    link_tls: ITLS | None = None
    api_tls: ITLS | None = None
    reload: Callable[[], None] = lambda: None


class GatewayService(Service):
    """The whole gateway.

    Its own ports are bound first, while the process may still be privileged, and
    served last, when the store is open and every mapping is restored.

    Attributes:
        parts: what it is made of.
        ready: fires when the start is complete; None before it begins.
        draining: the stop has begun.
    """

    log = Logger()

    def __init__(
        self,
        parts: GatewayParts,
        *,
        link_place: Place | None,
        api_place: Place,
        health_place: Place | None = None,
        shutdown_timeout: float,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            parts: what the gateway is made of.
            link_place: address and port for agents; None = the tunnel is off.
            api_place: address and port of the API.
            health_place: address and port for probes; None = only the API answers.
            shutdown_timeout: seconds that visitors have at the stop.
        """
        self.parts = parts
        self.draining = False
        self.ready: Deferred[None] | None = None
        self._link_place = link_place
        self._api_place = api_place
        self._health_place = health_place
        self._shutdown_timeout = shutdown_timeout
        self._bound = False
        self._link_port: IListening | None = None
        self._api_port: IListening | None = None
        self._api: ApiEdge | None = None
        self._health_port: IListening | None = None
        self._health: ApiEdge | None = None
        self._waiting: list[Deferred[None]] = []
        self._look: IDelayedCall | None = None
        self._forced = False

    # -- start ---------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Bind the gateway's own ports.

        Raises:
            StartError: one of them cannot be had.
        """
        super().privilegedStartService()
        self._bind()

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        try:
            parts = self.parts
            if self._link_place is not None:
                self._link_port = self._listen(
                    "tunnel.listen_port",
                    self._link_place,
                    parts.link_factory,
                    gathered=True,
                    tls=parts.link_tls,
                )
            self._api = parts.make_api(lambda: self.draining)
            self._api_port = self._listen(
                "api.listen_port",
                self._api_place,
                self._api.site,
                tls=parts.api_tls,
                memory=self._api.memory,
            )
            if self._health_place is not None:
                self._health = parts.make_health(lambda: self.draining)
                self._health_port = self._listen(
                    "health.listen_port",
                    self._health_place,
                    self._health.site,
                    memory=self._health.memory,
                )
        except StartError:
            self._release_ports()
            raise

    def _listen(
        self,
        key: str,
        place: Place,
        factory: IProtocolFactory,
        *,
        gathered: bool = False,
        tls: ITLS | None = None,
        memory: Budget | None = None,
    ) -> IListening:
        try:
            listening: IListening = self.parts.network.listen(
                *place, factory, gathered=gathered, tls=tls, memory=memory
            )
        except OSError as fault:
            raise _start_error(key, *place, fault) from fault
        return listening

    def startService(self) -> None:
        """Open the store, restore the mappings, then let everybody in."""
        super().startService()
        self._bind()
        self.ready = Deferred.fromCoroutine(self._start())
        self.ready.addErrback(self._start_failed)

    async def _start(self) -> None:
        parts = self.parts
        for watch in parts.watches:
            watch.start()
        parts.memory.start()
        if self._health_port is not None:  # it tells that we are not ready yet
            self._health_port.startAccepting()
        await parts.store.open()
        await parts.credentials.restore()
        await parts.bans.restore()
        await parts.kept.restore()
        for mapping in parts.configured:
            parts.mappings.serve_configured(mapping)
        await parts.mappings.restore()
        await parts.recorder.start()
        if not self.running or self._api_port is None:
            return
        if self._link_port is not None:
            if parts.links.open_to_all:
                self.log.warn("!!! {words}", words=parts.open_warning)
            self._link_port.startAccepting()
        self._api_port.startAccepting()
        parts.certificates.start()
        parts.sampler.start()
        parts.events.emit("gateway", "started", mappings=len(parts.mappings.views()))
        self.log.info(
            "gateway ready: agents at {links}, API at {api}, {count} mappings",
            links=_show(self._link_place),
            api=_show(self._api_place),
            count=len(parts.mappings.views()),
        )

    def _start_failed(self, failure: Failure) -> None:
        if not failure.check(OperatorError):
            self.log.failure("the gateway could not start", failure=failure)
        self.parts.fatal(failure.getErrorMessage())

    # -- stop ----------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Stop in order: ports, then visitors and agents, then API and store.

        Returns:
            A Deferred that fires when nothing is left.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts = self.parts
        self.draining = True
        parts.events.emit("gateway", "draining", seconds=self._shutdown_timeout)
        if self.ready is not None:
            await self.ready
        parts.mappings.stop_listening()
        if self._link_port is not None:
            self._link_port.stopListening()
        parts.registrations.stop()
        parts.links.leave("the gateway stops")
        await self._drain()
        late = parts.mappings.visitors > 0
        parts.mappings.close_visits("the gateway stops")
        if late and not self._forced:  # the agents are to hear of the resets
            parts.links.part("the gateway stops")
            gone = parts.links.gone().addTimeout(PARTING_SECONDS, parts.clock)
            await gone.addErrback(lambda failure: failure.trap(TimeoutError))
        parts.links.abort()
        await parts.links.gone()
        parts.memory.stop()
        parts.certificates.stop()
        parts.sampler.stop()
        for watch in parts.watches:
            watch.stop()
        parts.events.emit("gateway", "stopped")
        self._release_ports()
        await parts.recorder.stop()
        await parts.kept.stop()
        await parts.store.close()
        self.log.info("gateway stopped")

    async def _drain(self) -> None:
        """Let visitors and agents finish, for a while."""
        if self._forced or self._shutdown_timeout <= 0:
            return
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        timer = self.parts.clock.callLater(self._shutdown_timeout, self._end_drain)
        self._look_for_end()
        try:
            await done
        finally:
            for call in (timer, self._look):
                if call is not None and call.active():
                    call.cancel()

    def _look_for_end(self) -> None:
        """Ask now and then: visitors and links end in many ways."""
        if self.parts.mappings.visitors == 0 and not self.parts.links.connected:
            self._end_drain()
        elif self._look is None or not self._look.active():
            self._look = self.parts.clock.callLater(0.05, self._look_for_end)

    def _end_drain(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def set_patience(self, seconds: float) -> None:
        """Give visitors another time at the stop."""
        self._shutdown_timeout = seconds

    def reload(self) -> None:
        """Read again what may change while the gateway runs."""
        self.parts.reload()

    def force(self) -> None:
        """Wait for nobody any more; a stop under way goes on at once."""
        self._forced = True
        self._end_drain()

    def _release_ports(self) -> None:
        """Close the gateway's own ports; may be called twice."""
        link_port, self._link_port = self._link_port, None
        if link_port is not None:
            link_port.stopListening()
        api_port, self._api_port = self._api_port, None
        if api_port is not None:
            api_port.stopListening()
        health_port, self._health_port = self._health_port, None
        if health_port is not None:
            health_port.stopListening()
        for edge in (self._api, self._health):
            if edge is not None:
                edge.close()


def _show(place: Place | None) -> str:
    return "no port" if place is None else join_host_port(place[0] or "*", place[1])


def _start_error(key: str, address: str, port: int, fault: OSError) -> StartError:
    where = _show((address, port))
    if fault.errno in (errno.EACCES, errno.EPERM):
        advice = "grant CAP_NET_BIND_SERVICE or take a port of 1024 or above"
    elif fault.errno == errno.EADDRINUSE:
        advice = "another program, or another gateway, holds it"
    else:
        advice = "check the address"
    words = fault.strerror or str(fault)
    return StartError(f"{key}: cannot listen on {where}: {words}; {advice}")
