"""JSON web tokens: who the bearer is, and what they may do.

Sources: RFC 7519 (claims), RFC 7518 (algorithms).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.errors import ExpiredTokenError, InvalidTokenError, OperatorError

READER: Final = "reader"
ADMIN: Final = "admin"
ANYBODY: Final = "anybody"  # the name of who showed no credential
ROLES: Final = (READER, ADMIN)
LEEWAY_SECONDS: Final = 30.0  # of `nbf`, for clocks differ
LONGEST_TOKEN: Final = 8192  # characters
LONGEST_NAME: Final = 100
FEWEST_RSA_BITS: Final = 2048
_HMAC: Final = "HS256"

SigningKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Caller(NamedTuple):
    """Who sent a request.

    Attributes:
        name: for logs and limits: `token alice`, `API key`, `certificate ops`, or
            `anybody`.
        role: `reader` or `admin`.
        address: where the request came from.
    """

    name: str
    role: str
    address: str

    @property
    def is_known(self) -> bool:
        """Whether more than the address spoke for the request.

        Where the API asks for no credential, whoever may change things is known.
        """
        return self.name != ANYBODY or self.role == ADMIN


class PublicKeyError(OperatorError):
    """A public key cannot be used to check tokens."""


class TokenJudge:
    """Tells good tokens from bad ones."""

    def __init__(
        self,
        secret: str | None,
        public_key: bytes | None,
        audience: str | None,
        wall_clock: Callable[[], float],
    ) -> None:
        """Remember what signatures are checked by; at least one of the two keys.

        Args:
            secret: for HS256.
            public_key: PEM; an RSA key for RS256, one of curve P-256 for ES256.
            audience: what `aud` must name; None = it is not looked at.
            wall_clock: Unix seconds.

        Raises:
            PublicKeyError: it is no such key.
        """
        # each key works for its own algorithm only: a public key is no secret
        self._keys: dict[str, Any] = {}
        if secret is not None:
            self._keys[_HMAC] = secret
        if public_key is not None:
            self._keys.update([_public(public_key)])
        self._audience = audience
        self._wall_clock = wall_clock

    def judge(self, token: str, address: str) -> Caller:
        """Return whose token it is.

        Raises:
            InvalidTokenError: it is malformed, forged, of another time or audience,
                or of an unknown role.
            ExpiredTokenError: its time is over, and nothing else is wrong so far.
        """
        claims = self._claims(token)
        self._check_times(claims)
        self._check_audience(claims)
        role = claims.get("role", READER)
        subject = claims.get("sub", "")
        if role not in ROLES or not isinstance(subject, str):
            raise InvalidTokenError()
        if len(subject) > LONGEST_NAME or not subject.isprintable():
            raise InvalidTokenError()
        return Caller(f"token {subject}".strip(), role, address)

    def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise InvalidTokenError()
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm not in self._keys:
                raise InvalidTokenError()
            # the times are judged by our own clock
            found: dict[str, Any] = jwt.decode(
                token,
                self._keys[algorithm],
                algorithms=[algorithm],
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "verify_sub": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise InvalidTokenError() from None
        return found

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._wall_clock()
        begins, expires = _moment(claims.get("nbf", 0)), _moment(claims.get("exp"))
        if now < begins - LEEWAY_SECONDS:
            raise InvalidTokenError()
        if now >= expires:
            raise ExpiredTokenError(at=_date(expires))

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        if self._audience is None:
            return
        found = claims.get("aud")
        if self._audience not in (found if isinstance(found, list) else [found]):
            raise InvalidTokenError()


def _date(moment: float) -> str:
    """Return a time for people; what no calendar has counts as the first day."""
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "1970-01-01 00:00:00"


def _moment(value: object) -> float:
    if type(value) is int or type(value) is float:
        return value
    raise InvalidTokenError()


def _public(pem: bytes) -> tuple[str, Any]:
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise PublicKeyError("it holds no public key in PEM form") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= FEWEST_RSA_BITS:
        return "RS256", key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return "ES256", key
    raise PublicKeyError(
        f"it is neither an RSA key of {FEWEST_RSA_BITS} bits or more nor one of curve "
        "P-256"
    )


def issue(
    key: str | SigningKey,
    algorithm: str,
    *,
    subject: str,
    role: str,
    now: float,
    seconds: float,
    audience: str | None,
) -> str:
    """Return a token.

    Args:
        key: the secret, or a private key.
        algorithm: HS256, RS256 or ES256.
        subject: name of the bearer.
        role: `reader` or `admin`.
        now: Unix seconds.
        seconds: how long it is good for.
        audience: for whom; None = not said.

    Raises:
        ValueError: the key is none for the algorithm.
    """
    claims: dict[str, Any] = {
        "sub": subject,
        "role": role,
        "iat": int(now),
        "exp": int(now + seconds),
    }
    if audience is not None:
        claims["aud"] = audience
    try:
        return jwt.encode(claims, key, algorithm=algorithm)
    except (jwt.PyJWTError, TypeError) as fault:
        raise ValueError(str(fault)) from None
