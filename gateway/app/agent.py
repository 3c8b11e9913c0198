"""Put an agent together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
)

from gateway.agent.expose import Exposures
from gateway.agent.gateways import GatewayAddresses
from gateway.agent.greeting import client_tls, identity_of
from gateway.agent.identity import Identities, token_reader
from gateway.agent.service import (
    AgentParts,
    AgentService,
    AgentSettings,
    GatheredNetwork,
)
from gateway.agent.targets import Targets
from gateway.app.world import IGatewayReactor, Surroundings
from gateway.config.agent import AgentConfig
from gateway.interfaces import (
    INetwork,
)
from gateway.link.protocol import LinkSettings
from gateway.mux.core import SessionSettings
from gateway.mux.roles import AGENT
from gateway.net.local import is_local
from gateway.net.network import Network
from gateway.net.tls import ClientTLS
from gateway.policy.access import OwnPorts, TargetRules
from gateway.policy.backoff import Backoff
from gateway.policy.budget import Budget
from gateway.policy.limits import Slots
from gateway.relay.dial import Dialer
from gateway.relay.linger import Linger
from gateway.server.own import OwnPlaces
from gateway.texts import Language, Texts
from gateway.wire.hello import MAX_LINKS, Register


def build_agent(
    config: AgentConfig,
    reactor: IGatewayReactor,
    language: Language,
    gave_up: Callable[[], None],
    announce: Callable[[str], None],
    *,
    streams: int | None = None,
    world: Surroundings | None = None,
    network: INetwork | None = None,
) -> AgentService:
    """Return the agent as a stopped service.

    Args:
        config: its settings.
        reactor: runs it.
        language: of the documented log phrases.
        gave_up: called when the number of tries is used up.
        announce: called with each public address that is granted.
        streams: visitors at once, where fewer than configured are possible.
        world: clocks and randomness; None = the real ones.
        network: its sockets; None = those of `reactor`.
    """
    world = world or Surroundings()
    texts = Texts(language)
    network = network or Network(reactor, read_size=config.buffers.read_size)
    memory = Budget(config.limits.memory)
    network.count_by(memory)
    gateways = GatewayAddresses()
    own = _agents_own(config)

    def gateways_too(address: str, port: int) -> str | None:
        return own(address, port) or gateways.refusal(address, port)

    dialer, wary_dialer = (
        Dialer(
            network,
            reactor,
            TargetRules.parse(config.allow_targets),
            own_ports=refusal,
            timeout_seconds=config.dial_timeout,
        )
        for refusal in (own, gateways_too)
    )
    targets = Targets(
        reactor,
        dialer,
        wary_dialer,
        Slots(config.limits.streams if streams is None else streams),
        memory,
        config.default_host,
        config.dial_timeout,
        texts,
    )
    seals = seals_of(config)
    parts = AgentParts(
        clock=reactor,
        dial=_gateway_dial(config, reactor, network, gateways, seals),
        targets=targets,
        memory=memory,
        exposures=Exposures(reactor, _wishes(config), announce),
        backoff=Backoff(
            initial=config.reconnect.initial,
            multiplier=config.reconnect.multiplier,
            maximum=config.reconnect.max,
            jitter=config.reconnect.jitter,
            max_attempts=config.reconnect.max_attempts,
        ),
        texts=texts,
        random_bytes=world.random_bytes,
        random=world.random,
        linger=Linger(reactor),
        identities=Identities(
            identity_of(config, world.random_bytes(8).hex()),
            token_reader(config),
            config.token_file or "",
        ),
        check_tls=lambda: _check(seals),
    )
    settings = AgentSettings(
        servers=tuple((one.host, one.port) for one in config.server),
        connections=MAX_LINKS if config.connections == "auto" else config.connections,
        auto=config.connections == "auto",
        session=SessionSettings(
            roles=AGENT,
            window=config.window,
            max_window=config.flow.max_stream_window,
            memory=memory,
            max_frame=config.max_frame,
            heartbeat_seconds=config.heartbeat_interval,
        ),
        link=LinkSettings(
            window=config.window,
            write_timeout=config.write_timeout,
            legacy_high_water=config.legacy_high_water,
            legacy_low_water=config.legacy_low_water,
            memory=memory,
        ),
        dial_seconds=config.dial_timeout,
    )
    return AgentService(settings, parts, gave_up, config.shutdown_timeout)


def _agents_own(config: AgentConfig) -> Callable[[str, int], str | None]:
    """Return what no visitor may be taken to: the debug site, where there is one."""
    debug = config.debug
    ports = [(debug.bind, debug.listen_port)] if debug.enabled else []
    return OwnPlaces(OwnPorts(ports), is_local).refusal


def seals_of(config: AgentConfig) -> dict[str, ClientTLS]:
    """Return how connections to each gateway are sealed; empty = they are plain.

    Raises:
        CertificateError: a file cannot be used.
    """
    if not config.tls.enabled:
        return {}
    hosts = {server.host for server in config.server}
    seals = {host: client_tls(config.tls, host) for host in hosts}
    _check(seals)
    return seals


def _check(seals: Mapping[str, ClientTLS]) -> None:
    for tls in seals.values():
        tls.check()


def _gateway_dial(
    config: AgentConfig,
    reactor: IGatewayReactor,
    network: INetwork,
    gateways: GatewayAddresses,
    seals: Mapping[str, ClientTLS],
) -> Callable[[str, int, IProtocolFactory, float], Deferred[IProtocol]]:
    """Return how gateways are reached, each known by its own name."""
    dialers = {}
    for host in {server.host for server in config.server}:
        gateways.note(host, [host])
        dialers[host] = Dialer(
            GatheredNetwork(network, seals.get(host), gateways.note),
            reactor,
            TargetRules.parse(None),
            own_ports=None,
            timeout_seconds=10.0,
        )

    def dial(
        host: str, port: int, factory: IProtocolFactory, seconds: float
    ) -> Deferred[IProtocol]:
        return dialers[host].dial(host, port, factory, seconds)

    return dial


def _wishes(config: AgentConfig) -> list[Register]:
    return [
        Register(
            id=expose.name or f"{expose.protocol}-{expose.local.port}",
            protocol=expose.protocol,
            port=expose.port,
            host=expose.local.host,
            local=expose.local.port,
        )
        for expose in config.expose
    ]
