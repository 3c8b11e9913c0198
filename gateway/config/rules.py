"""What settings must be to each other, and what an operator should be warned of."""

from __future__ import annotations

from typing import Final, NamedTuple

from pydantic import SecretStr

from gateway.config.agent import AgentConfig
from gateway.config.common import DebugConfig
from gateway.config.gateway import WIDEST_RANGE, CertificateConfig, GatewayConfig
from gateway.config.places import HostPort
from gateway.policy.access import TargetRules
from gateway.policy.addresses import is_loopback, parse_address
from gateway.policy.credentials import KEY_PREFIX, read_key

_ADDRESSES_OF_ALL: Final = "all interfaces"
_TOKEN: Final = "tunnel.auth_token"  # noqa: S105 - the key's name
_API_KEY: Final = "security.api.api_key"
_API_NETWORKS: Final = "security.api.allowed_ips"
_KEY_FILES: Final = ("key_file", "key_password_file")
_AGENT_TLS: Final = (
    "ca_file",
    "fingerprint",
    "server_name",
    "cert_file",
    *_KEY_FILES,
)


class Conflict(NamedTuple):
    """Settings that cannot be together.

    Attributes:
        key: the key that is best changed.
        detail: what is wrong with it.
        others: further keys that are involved.
    """

    key: str
    detail: str
    others: tuple[str, ...] = ()


def gateway_conflicts(config: GatewayConfig) -> list[Conflict]:
    """Return what does not fit together in a gateway's configuration."""
    return [
        *_port_conflicts(config),
        *_access_conflicts(config),
        *_log_conflicts(config),
        *_link_conflicts(config),
        *_water_conflicts(
            "tunnel.", config.tunnel.legacy_low_water, config.tunnel.legacy_high_water
        ),
        *_forward_conflicts(config),
        *_debug_conflicts(config.debug),
    ]


def _port_conflicts(config: GatewayConfig) -> list[Conflict]:
    first, last = config.port_range.first, config.port_range.last
    found: list[Conflict] = []
    if first > last:
        detail = f"must not be below port_range.from ({first}), but is {last}"
        found.append(Conflict("port_range.end", detail, ("port_range.from",)))
    elif (count := last - first + 1) > WIDEST_RANGE:
        detail = f"the range {first}-{last} holds {count} ports, limit {WIDEST_RANGE}"
        found.append(Conflict("port_range.end", detail, ("port_range.from",)))
    taken: dict[int, str] = {}
    for key, port in _own_ports(config).items():
        if port in taken:
            detail = f"{port} is {taken[port]} already; take another"
            found.append(Conflict(key, detail, (taken[port],)))
        else:
            taken[port] = key
    return found


def _own_ports(config: GatewayConfig) -> dict[str, int]:
    """Return the ports of the gateway itself, by their keys."""
    own: dict[str, int] = {}
    if config.tunnel.enabled:
        own["tunnel.listen_port"] = config.tunnel.listen_port
    own["api.listen_port"] = config.api.listen_port
    if config.health.listen_port is not None:
        own["health.listen_port"] = config.health.listen_port
    if config.debug.enabled:
        own["debug.listen_port"] = config.debug.listen_port
    return own


def _debug_conflicts(debug: DebugConfig) -> list[Conflict]:
    if is_loopback(debug.bind):
        return []
    detail = (
        f"{debug.bind or _ADDRESSES_OF_ALL}: the debug site shows everything to "
        "everybody who reaches it; take 127.0.0.1 or ::1, and go there by SSH"
    )
    return [Conflict("debug.bind", detail)]


def _log_conflicts(config: GatewayConfig) -> list[Conflict]:
    log = config.log
    if log.access_file is None or log.access_file != log.file:
        return []
    detail = f"{log.access_file} is log.file already; take another, or null"
    return [Conflict("log.access_file", detail, ("log.file",))]


def _access_conflicts(config: GatewayConfig) -> list[Conflict]:
    found: list[Conflict] = []
    api = config.security.api
    if _api_is_open(config) and "open_api" not in config.security.allow_unsafe:
        detail = (
            f"{config.api.bind or _ADDRESSES_OF_ALL}: an API that others reach needs "
            f"{_API_KEY} or security.api.jwt_secret (or their files), {_API_NETWORKS} "
            "or api.tls.client_ca"
        )
        found.append(Conflict("api.bind", detail, (_API_KEY, _API_NETWORKS)))
    if api.api_key_in_query and not api.api_key:
        key, detail = f"{_API_KEY}_in_query", f"there is no {_API_KEY} to be in a query"
        found.append(Conflict(key, detail, (_API_KEY,)))
    if api.enable_auth is True and not _asks_callers(config):
        detail = (
            f"true, and yet there is nothing to ask for; set {_API_KEY}, "
            "security.api.jwt_secret (or their files) or "
            "security.api.jwt_public_key_file"
        )
        found.append(Conflict("security.api.enable_auth", detail, (_API_KEY,)))
    if api.enable_auth is False and _asks_callers(config):
        detail = "false, and yet there are credentials; take them out, or take true"
        found.append(Conflict("security.api.enable_auth", detail, (_API_KEY,)))
    if config.metrics.require_auth and not (
        _asks_callers(config) or _asks_certificate(config)
    ):
        detail = (
            f"true, and yet there is nothing to ask for; set {_API_KEY}, "
            "security.api.jwt_secret (or their files), "
            "security.api.jwt_public_key_file or api.tls.client_ca"
        )
        found.append(Conflict("metrics.require_auth", detail, (_API_KEY,)))
    if api.jwt_audience and not (api.jwt_secret or api.jwt_public_key_file):
        detail = "there is no jwt_secret or jwt_public_key_file to check tokens by"
        found.append(Conflict("security.api.jwt_audience", detail))
    return found


def _link_conflicts(config: GatewayConfig) -> list[Conflict]:
    found: list[Conflict] = []
    tunnel = config.tunnel
    if tunnel.allow_legacy is True and config.asks_credential:
        other = "security.tunnel.client_ca"
        if tunnel.auth_token or tunnel.agents:
            other = _TOKEN if tunnel.auth_token else "tunnel.agents"
        detail = (
            f"true together with {other} would admit agents without it; "
            "take auto or false"
        )
        found.append(Conflict("tunnel.allow_legacy", detail, (other,)))
    if _secret(tunnel.auth_token).startswith(KEY_PREFIX):
        detail = (
            "is an agent's own key, which the agent alone needs; make up another secret"
        )
        found.append(Conflict(_TOKEN, detail))
    names: set[str] = set()
    for number, agent in enumerate(tunnel.agents):
        if agent.name in names:
            detail = f"{agent.name} is taken by an entry above"
            found.append(Conflict(f"tunnel.agents.{number}.name", detail))
        names.add(agent.name)
    for key, enabled, files in _tls_ports(config):
        if enabled and files.cert_file is None:
            detail = "TLS needs a certificate; `gotunnel cert` makes one"
            found.append(Conflict(f"{key}.cert_file", detail))
    return found


def _secret(value: SecretStr | None) -> str:
    return "" if value is None else value.get_secret_value()


def _api_is_open(config: GatewayConfig) -> bool:
    """Tell whether anybody may use the API, from anywhere."""
    return not (
        is_loopback(config.api.bind)
        or _asks_callers(config)
        or config.security.api.allowed_ips
        or _asks_certificate(config)
    )


def _asks_certificate(config: GatewayConfig) -> bool:
    """Return whether callers of the API must show a certificate."""
    tls = config.api.tls
    return tls.enabled and tls.client_ca is not None


def _asks_callers(config: GatewayConfig) -> bool:
    """Tell whether callers must show a key or a token."""
    api = config.security.api
    return bool(api.api_key or api.jwt_secret or api.jwt_public_key_file)


def _tls_ports(config: GatewayConfig) -> list[tuple[str, bool, CertificateConfig]]:
    links, api = config.security.tunnel, config.api.tls
    return [
        ("security.tunnel", links.enable_tls, links),
        ("api.tls", api.enabled, api),
    ]


def _water_conflicts(prefix: str, low: int, high: int) -> list[Conflict]:
    if low < high:
        return []
    key, other = f"{prefix}legacy_low_water", f"{prefix}legacy_high_water"
    return [Conflict(key, f"must be below {other} ({high}), but is {low}", (other,))]


def _forward_conflicts(config: GatewayConfig) -> list[Conflict]:
    taken = {port: key for key, port in _own_ports(config).items()}
    found: list[Conflict] = []
    places: set[HostPort] = set()
    for number, forward in enumerate(config.protocols):
        if not forward.enabled:
            continue
        key = f"protocols.{number}"
        if forward.name != "tcp":
            found.append(Conflict(f"{key}.name", f"{forward.name}: not available yet"))
        if other := taken.get(forward.listen.port):
            detail = f"port {forward.listen.port} is {other} already; take another"
            found.append(Conflict(f"{key}.listen", detail, (other,)))
        elif forward.listen in places:
            detail = f"{forward.listen} is taken by an entry above"
            found.append(Conflict(f"{key}.listen", detail))
        places.add(forward.listen)
    return found


def open_warning(config: GatewayConfig) -> str:
    """Return what to say of a gateway that asks agents for nothing."""
    tunnel = config.tunnel
    return (
        f"NO CREDENTIAL: whoever reaches port {tunnel.listen_port} on "
        f"{tunnel.bind or _ADDRESSES_OF_ALL} can act as an agent and receive the "
        "visitors' traffic; set tunnel.auth_token, or give each agent a key by "
        "`gotunnel agent-key create`"
    )


def gateway_warnings(config: GatewayConfig) -> list[str]:
    """Return what is allowed and yet dangerous; to be logged loudly at start."""
    found: list[str] = []
    tunnel, api = config.tunnel, config.security.api
    if tunnel.enabled and not config.asks_credential:
        found.append(open_warning(config))
    for key, enabled, files in _tls_ports(config):
        if not enabled and (files.cert_file or files.client_ca):
            found.append(f"NOT SEALED: {key} names files, and yet TLS is off there")
    if "readable_keys" in config.security.allow_unsafe:
        found.append(
            "UNSAFE: security.allow_unsafe accepts private keys and files with secrets "
            "that every user of this machine can read"
        )
    if _api_is_open(config):
        found.append(
            f"UNSAFE: the API on {config.api.bind or _ADDRESSES_OF_ALL} port "
            f"{config.api.listen_port} takes orders from ANYBODY, as "
            "security.allow_unsafe says"
        )
    elif (
        api.allowed_ips
        and not is_loopback(config.api.bind)
        and not _asks_callers(config)
    ):
        found.append(
            f"the API on {config.api.bind or _ADDRESSES_OF_ALL} port "
            f"{config.api.listen_port} is guarded by security.api.allowed_ips alone; "
            "set security.api.api_key as well"
        )
    return found


def agent_conflicts(config: AgentConfig) -> list[Conflict]:
    """Return what does not fit together in an agent's configuration."""
    reconnect, tls = config.reconnect, config.tls
    found = _water_conflicts("", config.legacy_low_water, config.legacy_high_water)
    found += _debug_conflicts(config.debug)
    token = _secret(config.token)
    if token.startswith(KEY_PREFIX) and read_key(token) is None:
        detail = (
            "begins like an agent's key and is none; it is one line, as `gotunnel "
            "agent-key create` prints it"
        )
        found.append(Conflict("token", detail))  # it would be sent as it is
    if reconnect.initial > reconnect.max:
        detail = (
            f"must not be below reconnect.initial ({reconnect.initial:g}), "
            f"but is {reconnect.max:g}"
        )
        found.append(Conflict("reconnect.max", detail, ("reconnect.initial",)))
    if not tls.enabled:
        set_keys = [key for key in _AGENT_TLS if getattr(tls, key) is not None]
        for key in set_keys:
            detail = "is of no use unless tls.enabled is true; set that as well"
            found.append(Conflict(f"tls.{key}", detail, ("tls.enabled",)))
    elif tls.cert_file is None:
        detail = "there is no tls.cert_file for the key"
        set_keys = [key for key in _KEY_FILES if getattr(tls, key) is not None]
        found += [Conflict(f"tls.{key}", detail) for key in set_keys]
    names: set[str] = set()
    ports: set[int] = set()
    rules = TargetRules.parse(config.allow_targets)
    for number, wish in enumerate(config.expose):
        key = f"expose.{number}"
        if wish.name in names:
            found.append(
                Conflict(f"{key}.name", f"{wish.name} is taken by an entry above")
            )
        if wish.port in ports:
            found.append(
                Conflict(f"{key}.port", f"{wish.port} is taken by an entry above")
            )
        if not _may_be_dialled(wish.local, rules):
            detail = f"{wish.local} is not among allow_targets; add it there"
            found.append(Conflict(f"{key}.local", detail, ("allow_targets",)))
        names.add(wish.name)
        ports |= {wish.port} - {0}
    return found


def _may_be_dialled(place: HostPort, rules: TargetRules) -> bool:
    """Tell whether the rules cover a place; names are judged when dialled."""
    if parse_address(place.host) is None:
        return True
    return rules.check(place.host, place.host, place.port) is None


def agent_warnings(config: AgentConfig) -> list[str]:
    """Return what is allowed and yet dangerous; to be logged loudly at start."""
    found = []
    if config.tls.allow_readable_key:
        found.append(
            "UNSAFE: tls.allow_readable_key accepts a private key that every user of "
            "this machine can read"
        )
    if config.token or config.tls.cert_file:
        return found
    return [
        *found,
        "NO CREDENTIAL: this agent has no token, so its gateway admits anybody; "
        "set token here and tunnel.auth_token there",
    ]
