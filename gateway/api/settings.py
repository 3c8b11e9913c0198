"""What the API is told about its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal, TypeAlias

from pydantic import SecretStr

from gateway.api.tokens import TokenJudge
from gateway.texts import Language

OpenTo: TypeAlias = Literal["nobody", "local", "all"]
USUAL_BODY_LIMIT_BYTES: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The API's own settings.

    Attributes:
        api_key: what callers must show; None = nothing, and then only requests
            that name this machine by a local name or by its address are served.
        api_key_in_query: whether the key may also come as query parameter `api_key`.
        tokens: judges tokens; None = there are none.
        allowed_ips: networks that callers may come from; empty = any.
        trusted_proxies: networks whose `X-Forwarded-For` is believed.
        rate_limit: requests in so many seconds, of an address and of a caller; None =
            any number.
        open_metrics: who may read `/metrics` without a credential: nobody, callers on
            this machine, or all whose address is allowed.
        language: of messages, unless the caller asks for another.
        tunnel_enabled: whether the tunnel service is on.
        request_timeout_seconds: for a request to arrive, and again for its answer.
        body_limit_bytes: longest body accepted.
    """

    api_key: SecretStr | None = None
    api_key_in_query: bool = False
    tokens: TokenJudge | None = None
    allowed_ips: tuple[IPv4Network | IPv6Network, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    rate_limit: tuple[int, float] | None = None
    open_metrics: OpenTo = "nobody"
    language: Language = "en"
    tunnel_enabled: bool = True
    request_timeout_seconds: float = 10.0
    body_limit_bytes: int = USUAL_BODY_LIMIT_BYTES
