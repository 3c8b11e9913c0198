"""Every deliberate exception, with its wire status and HTTP code.

The tree says who must act: the peer (`ProtocolError`, `DialError`), the caller of
the API (`CallerError`) or the operator (`OperatorError`).
"""

from __future__ import annotations

from typing import ClassVar

from gateway.texts import Language, text


class GatewayError(Exception):
    """Root of all expected failures; anything else is a bug."""


class ProtocolError(GatewayError):
    """The peer broke the frame protocol; its link must be dropped.

    Attributes:
        kind: short stable word for counters.
    """

    def __init__(self, detail: str, kind: str = "protocol") -> None:
        super().__init__(detail)
        self.kind = kind

    def text(self, language: Language) -> str:
        """Return the message; most of them are English in every language."""
        return str(self)


class VersionError(ProtocolError):
    """The peer speaks another version of the protocol.

    Attributes:
        version: the version byte received, 0 for a v1.x frame.
    """

    def __init__(self, version: int) -> None:
        detail = (
            "v1.x frame (no version byte); v1.x is not supported, upgrade the peer"
            if version == 0
            else text("bad_version", "en", version=version)
        )
        super().__init__(detail, "version")
        self.version = version

    def text(self, language: Language) -> str:
        """Return the message in the documented words of `language`."""
        if self.version == 0:
            return str(self)
        return text("bad_version", language, version=self.version)


class FrameTooLargeError(ProtocolError):
    """Announced payload is longer than the limit.

    Attributes:
        length: payload length announced by the peer, bytes.
        limit: largest payload accepted, bytes.
    """

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"payload of {length} bytes, limit is {limit}", "too_large")
        self.length = length
        self.limit = limit


class PayloadError(ProtocolError):
    """A payload does not have the form that its frame kind asks for."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "payload")


class CreditError(ProtocolError):
    """The peer sent more than it was granted, or granted more than can be."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "credit")


class RefusedLinkError(GatewayError):
    """The gateway refused this agent's link by HELLO_ACK or GOAWAY.

    Attributes:
        replaced: True if another agent of the same name is the reason.
    """

    def __init__(self, detail: str, *, replaced: bool = False) -> None:
        super().__init__(detail)
        self.replaced = replaced


class DialError(GatewayError):
    """A target could not be reached.

    Attributes:
        wire_status: byte put into ConnectResponse on negotiated links.
    """

    wire_status: ClassVar[int] = 0x01


class RefusedError(DialError):
    """Nothing listens on the target port."""

    wire_status = 0x02


class DialTimeoutError(DialError):
    """The look-up and the dial together took too long."""

    wire_status = 0x03


class UnresolvableError(DialError):
    """The target's host name has no address."""

    wire_status = 0x04


class DeniedError(DialError):
    """The target is not among the allowed ones."""

    wire_status = 0x05


class LimitError(DialError):
    """A limit is reached; nothing more is opened now."""

    wire_status = 0x06


class OperatorError(GatewayError):
    """The operator must act: configuration, store or ports."""


class ConfigError(OperatorError):
    """The configuration is wrong.

    Attributes:
        problems: one sentence for each fault found, never empty.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreError(OperatorError):
    """The store cannot be read or written.

    The message says which file, what was wrong and what to do.
    """


class SchemaVersionError(StoreError):
    """The store was written by a newer release."""


class BenchError(OperatorError):
    """A benchmark cannot be run as it is asked for."""


class CallerError(GatewayError):
    """A request that cannot be fulfilled, with a text in every language.

    Attributes:
        key: key in the catalogue of texts.
        http_code: status code of the API's answer.
        fields: values of the text's fields.
    """

    key: ClassVar[str] = "internal"
    http_code: ClassVar[int] = 500

    def __init__(self, **fields: object) -> None:
        super().__init__(text(self.key, "en", **fields))
        self.fields = fields

    def text(self, language: Language) -> str:
        """Return the message in `language`."""
        return text(self.key, language, **self.fields)


class BadRequestError(CallerError):
    """The body or a parameter is malformed; field `detail`."""

    key = "bad_request"
    http_code = 400


class NegativeBandwidthError(CallerError):
    """A bandwidth limit is below 0."""

    key = "negative_bandwidth"
    http_code = 400


class PortRangeError(CallerError):
    """The public port is outside the range; `port`, `first`, `last`."""

    key = "port_range"
    http_code = 400


class PortBlacklistedError(CallerError):
    """The public port is on the blacklist; `port`."""

    key = "port_blacklisted"
    http_code = 403


class PortForbiddenError(CallerError):
    """The agent's key excludes the public port; `port`, `ports`."""

    key = "port_forbidden"
    http_code = 403


class PortMappedError(CallerError):
    """A mapping for the public port exists; `port`."""

    key = "port_mapped"
    http_code = 409


class PortInUseError(CallerError):
    """Another program holds the public port; `port`, `detail`."""

    key = "port_in_use"
    http_code = 409


class PortPrivilegedError(CallerError):
    """The process may not open a port this low; `port`."""

    key = "port_privileged"
    http_code = 403


class ListenError(CallerError):
    """Listening failed for another reason; `address`, `port`, `detail`."""

    key = "listen_failed"
    http_code = 500


class NoFreePortError(CallerError):
    """`port: 0` found nothing free; `first`, `last`."""

    key = "no_free_port"
    http_code = 409


class MappingMissingError(CallerError):
    """There is no such mapping; `port`."""

    key = "mapping_missing"
    http_code = 404


class ConnectionMissingError(CallerError):
    """There is no such connection; `id`."""

    key = "connection_missing"
    http_code = 404


class AgentMissingError(CallerError):
    """No such agent is connected; `name`."""

    key = "agent_missing"
    http_code = 404


class AgentMappingError(CallerError):
    """Only the agent that registered this changes it; `port`, `agent`."""

    key = "mapping_of_agent"
    http_code = 409


class ConfiguredMappingError(CallerError):
    """The configuration file made this mapping; `port`."""

    key = "mapping_of_config"
    http_code = 409


class BadTargetError(CallerError):
    """The target is malformed or does not resolve; `detail`."""

    key = "bad_target"
    http_code = 400


class TargetDeniedError(CallerError):
    """The target is not allowed; `host`, `port`, `detail`."""

    key = "target_denied"
    http_code = 403

    def __init__(self, *, host: str, port: int, detail: object) -> None:
        place = f"[{host}]" if ":" in host else host
        super().__init__(host=place, port=port, detail=detail)


class TunnelDisabledError(CallerError):
    """A tunnel mapping was asked for and the tunnel service is off."""

    key = "tunnel_disabled"
    http_code = 503


class TooManyMappingsError(CallerError):
    """The number of mappings is limited; `limit`."""

    key = "too_many_mappings"
    http_code = 409


class AgentKeyExistsError(CallerError):
    """The agent has a key; `name`."""

    key = "agent_key_exists"
    http_code = 409


class AgentKeyMissingError(CallerError):
    """The agent has no key; `name`."""

    key = "agent_key_missing"
    http_code = 404


class AgentKeyUnusedError(CallerError):
    """The agent has never used the key that would be its only one.

    `name`, `key_id`.
    """

    key = "agent_key_unused"
    http_code = 409


class ReloadFailedError(CallerError):
    """The configuration cannot be used as it is now; `detail`."""

    key = "reload_failed"
    http_code = 409


class ConfiguredKeyError(CallerError):
    """The configuration file holds this key; `name`."""

    key = "agent_key_of_config"
    http_code = 409


class LegacyAllowedError(CallerError):
    """Agents without any credential are to be served."""

    key = "legacy_allowed"
    http_code = 409


class BanMissingError(CallerError):
    """The network is not kept out; `network`."""

    key = "ban_missing"
    http_code = 404


class StoppingError(CallerError):
    """The gateway stops: no port is opened any more."""

    key = "stopping"
    http_code = 503


class StoreFailedError(CallerError):
    """The store refused a change, and the change was undone; `detail`."""

    key = "store_failed"
    http_code = 500


class NotAvailableError(CallerError):
    """A known feature that this release does not have; `feature`."""

    key = "not_available"
    http_code = 400


class BodyTooLargeError(CallerError):
    """The request's body is longer than accepted; `limit`."""

    key = "body_too_large"
    http_code = 413


class ContentTypeError(CallerError):
    """The body is not declared as JSON; `value`."""

    key = "content_type"
    http_code = 415


class NoRouteError(CallerError):
    """The API has no such path; `path`."""

    key = "not_found"
    http_code = 404


class OnlyPostError(CallerError):
    """The path is there for POST alone."""

    key = "only_post"
    http_code = 405


class OnlyGetError(CallerError):
    """The path is there for GET and HEAD alone."""

    key = "only_get"
    http_code = 405


class UnauthorizedError(CallerError):
    """The request carries no credential."""

    key = "unauthorized"
    http_code = 401


class BadApiKeyError(CallerError):
    """The request carries a wrong API key."""

    key = "bad_api_key"
    http_code = 401


class InvalidTokenError(CallerError):
    """The request carries a token that is not good."""

    key = "invalid_token"
    http_code = 401


class ExpiredTokenError(InvalidTokenError):
    """The token is genuine and its time is over; `at`, in UTC."""

    key = "token_expired"


class TooManyRequestsError(CallerError):
    """The caller asks too often; `seconds` until it may ask again."""

    key = "too_many_requests"
    http_code = 429


class TooManyStreamsError(CallerError):
    """So many event streams are open that there is no room; `limit`."""

    key = "too_many_streams"
    http_code = 503


class AccessDeniedError(CallerError):
    """The caller's address or role, or the host it names, is not an allowed one."""

    key = "access_denied"
    http_code = 403


class RoleDeniedError(AccessDeniedError):
    """The caller's role may only look; `role`."""

    key = "role_denied"


class SlowRequestError(CallerError):
    """The request did not arrive in time; `seconds`."""

    key = "request_timeout"
    http_code = 408


class SlowAnswerError(CallerError):
    """The answer was not ready in time; `seconds`."""

    key = "request_timeout"
    http_code = 503


class InternalError(CallerError):
    """A bug; the caller is told no more than that."""
