"""What an agent is known by, and what it may do.

An agent's key is `gtk_ID_SECRET`: eight hex digits that say which of an agent's keys
it is, and 256 random bits.  The gateway keeps verifiers alone (RFC 5802, section 3), in
the form of PostgreSQL's with the key's id in front.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from gateway.policy.access import TargetRules, parse_ports
from gateway.policy.addresses import LOCALHOST, LOOPBACK

MOST_KEYS: Final = 2  # of one agent: the old one and the new one of a rotation
ITERATIONS: Final = 4096  # the secret is random, so more would guard nothing
MOST_ITERATIONS: Final = 100_000  # an agent computes them while its streams wait
_SECRET_BYTES: Final = 32
_FEWEST_SALT_BYTES: Final = 12  # those who prove take no shorter one
KEY_PREFIX: Final = "gtk_"
_KEY: Final = re.compile(r"gtk_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_VERIFIER: Final = re.compile(
    r"([0-9a-f]{8}):SCRAM-SHA-256\$([1-9][0-9]{3,6}):([A-Za-z0-9+/=]{8,200})"
    r"\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})"
)


class AgentKey(NamedTuple):
    """A key that an agent holds.

    Attributes:
        key_id: eight hex digits.
        secret: what it proves to know; the whole key.
    """

    key_id: str
    secret: str


def make_key(random_bytes: Callable[[int], bytes]) -> AgentKey:
    """Return a new key."""
    key_id = random_bytes(4).hex()
    secret = base64.urlsafe_b64encode(random_bytes(_SECRET_BYTES)).rstrip(b"=")
    return AgentKey(key_id, f"gtk_{key_id}_{secret.decode('ascii')}")


def read_key(text: str) -> AgentKey | None:
    """Return the key that a token is, or None if it is a plain shared secret."""
    found = _KEY.fullmatch(text)
    return None if found is None else AgentKey(found[1], text)


class Verifier(NamedTuple):
    """What a key is checked by.

    Attributes:
        key_id: eight hex digits.
        salt: random bytes.
        stored_key: 32 bytes, RFC 5802's StoredKey.
        server_key: 32 bytes, RFC 5802's ServerKey.
        iterations: of PBKDF2.
    """

    key_id: str
    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Return the verifier that `str` wrote.

        Raises:
            ValueError: it is none.
        """
        found = _VERIFIER.fullmatch(text)
        if found is None:
            raise ValueError("no verifier ID:SCRAM-SHA-256$COUNT:SALT$KEY:KEY")
        try:
            salt, stored, server = (
                base64.b64decode(part, validate=True) for part in found.groups()[2:]
            )
        except binascii.Error:
            raise ValueError("a part of the verifier is not base64") from None
        if not ITERATIONS <= int(found[2]) <= MOST_ITERATIONS:
            raise ValueError(
                f"{found[2]} iterations; {ITERATIONS} to {MOST_ITERATIONS} are accepted"
            )
        if len(salt) < _FEWEST_SALT_BYTES:
            raise ValueError(
                f"a salt of {len(salt)} bytes; it needs {_FEWEST_SALT_BYTES} or more"
            )
        return cls(found[1], salt, stored, server, int(found[2]))

    def __str__(self) -> str:
        salt, stored, server = (
            base64.b64encode(part).decode("ascii")
            for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{self.key_id}:SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


@dataclass(frozen=True, kw_only=True)
class AgentScope:
    """What an agent may do.

    Its rules are parsed once, when they are first asked: every connection asks them.

    Attributes:
        ports: public ports that it may ask for, and whose visitors it gets, as
            `10000-10100,10443`; empty = all.
        targets: what it may be asked to dial, in the form of `TargetRules.parse`;
            None = whatever the agent itself allows.
        max_links: links at one time; 0 = as many as any agent.
        max_streams: visitors at one time; 0 = unlimited.
        bandwidth_limit: bytes a second each way, of all its visitors; 0 = unlimited.
    """

    ports: str = ""
    targets: tuple[str, ...] | None = None
    max_links: int = 0
    max_streams: int = 0
    bandwidth_limit: int = 0

    def has_port(self, port: int) -> bool:
        """Tell whether a public port is one of its own."""
        return not self.ports or any(port in ports for ports in self._port_ranges)

    @cached_property
    def _port_ranges(self) -> tuple[range, ...]:
        return parse_ports(self.ports)

    @cached_property
    def _target_rules(self) -> TargetRules:
        return TargetRules.parse(self.targets)

    def refusal(self, host: str, port: int) -> str | None:
        """Return None if a target may be asked for, else why not.

        Args:
            host: as the agent is told; a name is judged as a name.
            port: 1..65535.
        """
        named = host or LOCALHOST
        rules = self._target_rules
        if named != LOCALHOST:
            return rules.check(named, named, port)
        refusals = [rules.check(named, address, port) for address in LOOPBACK]
        return None if None in refusals else refusals[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCredential:
    """What one agent is known by.

    Attributes:
        name: the agent's.
        verifiers: one, or two while a key is replaced; the newest comes last.
        scope: what it may do.
        expires_at: Unix seconds from which on it is not good; None = never.
        created_at: Unix seconds.
        updated_at: Unix seconds.
        used: ids of the keys that the agent has proved at least once.
    """

    name: str
    verifiers: tuple[Verifier, ...]
    scope: AgentScope = AgentScope()
    expires_at: int | None = None
    created_at: int = 0
    updated_at: int = 0
    used: tuple[str, ...] = ()

    @property
    def newest_unused(self) -> bool:
        """Whether the newest of two keys was never proved by the agent."""
        return len(self.verifiers) > 1 and self.verifiers[-1].key_id not in self.used

    def verifier(self, key_id: str) -> Verifier | None:
        """Return what a key is checked by, or None."""
        return next((one for one in self.verifiers if one.key_id == key_id), None)


def credential_document(credential: AgentCredential) -> dict[str, Any]:
    """Return a credential as JSON can hold it."""
    scope = credential.scope
    return {
        "verifiers": [str(one) for one in credential.verifiers],
        "ports": scope.ports,
        "targets": None if scope.targets is None else list(scope.targets),
        "max_links": scope.max_links,
        "max_streams": scope.max_streams,
        "bandwidth_limit": scope.bandwidth_limit,
        "expires_at": credential.expires_at,
        "created_at": credential.created_at,
        "updated_at": credential.updated_at,
        "used": list(credential.used),
    }


def credential_of_document(name: str, found: Mapping[str, Any]) -> AgentCredential:
    """Return the credential that `credential_document` wrote.

    Raises:
        ValueError: it is malformed.
    """
    try:
        targets = found["targets"]
        scope = AgentScope(
            ports=found["ports"],
            targets=None if targets is None else tuple(targets),
            max_links=int(found["max_links"]),
            max_streams=int(found["max_streams"]),
            bandwidth_limit=int(found["bandwidth_limit"]),
        )
        check_scope(scope)
        return AgentCredential(
            name=name,
            verifiers=tuple(Verifier.parse(text) for text in found["verifiers"]),
            scope=scope,
            expires_at=found["expires_at"],
            created_at=int(found["created_at"]),
            updated_at=int(found["updated_at"]),
            used=tuple(found.get("used", ())),  # older stores do not have it
        )
    except (KeyError, TypeError) as fault:
        raise ValueError(f"malformed: {fault}") from None


def check_scope(scope: AgentScope) -> None:
    """Return if the texts of a scope have their form.

    Raises:
        ValueError: says which, and why.
    """
    if scope.ports:
        parse_ports(scope.ports)
    if scope.targets is not None:
        TargetRules.parse(scope.targets)
