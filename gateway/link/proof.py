"""Prove to know a key, and that the other end knows it, too: SCRAM-SHA-256.

Sources: RFC 5802 (the exchange), RFC 7677 (with SHA-256).  A recorded exchange is worth
nothing; without TLS whoever sits on the way can take the link over once it is open.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from scramp import ScramClient, ScramException, ScramMechanism

from gateway.policy.credentials import ITERATIONS, MOST_ITERATIONS, AgentKey, Verifier
from gateway.wire.plain import cleaned

SCRAM: Final = "scram-sha-256"
_MECHANISM: Final = "SCRAM-SHA-256"
_SALT_BYTES: Final = 16
LONGEST_FAULT: Final = 200  # characters of what is wrong with a peer's proof


class ProofError(Exception):
    """The other end does not know the key, or does not keep to the exchange."""


def make_verifier(key: AgentKey, random_bytes: Callable[[int], bytes]) -> Verifier:
    """Return what a gateway keeps of a key."""
    salt, stored, server, iterations = ScramMechanism(_MECHANISM).make_auth_info(
        key.secret, iteration_count=ITERATIONS, salt=random_bytes(_SALT_BYTES)
    )
    return Verifier(key.key_id, salt, stored, server, iterations)


class AgentProof:
    """An agent's side: three messages, of which the last proves the gateway."""

    def __init__(self, name: str, key: AgentKey, nonce: str) -> None:
        """Begin.

        Args:
            name: the agent's; empty = whatever name the key has.
            key: what it proves to know.
            nonce: random letters and digits.
        """
        self._client = ScramClient(
            [_MECHANISM], f"{name}/{key.key_id}", key.secret, c_nonce=nonce
        )
        self._asked = False
        self.proven = False

    def first(self) -> str:
        """Return what is said first."""
        return str(self._client.get_client_first())

    def answer(self, message: str) -> str | None:
        """Take a message; return the answer, or None when the gateway is proven.

        Raises:
            ProofError: it does not know the key.
        """
        try:
            if not self._asked:
                self._asked = True
                self._client.set_server_first(message)
                self._check_iterations()
                return str(self._client.get_client_final())
            self._client.set_server_final(message)
        except (ScramException, ValueError, KeyError, IndexError) as fault:
            words = cleaned(str(fault), LONGEST_FAULT)
            raise ProofError(f"the gateway did not prove itself: {words}") from None
        self.proven = True
        return None

    def _check_iterations(self) -> None:
        count = int(self._client.iterations)
        if count > MOST_ITERATIONS:
            raise ProofError(
                f"the gateway asks for {count} iterations, {MOST_ITERATIONS} at most"
            )


class _Claim:
    """Who an agent says it is; apart from its proof, so that nothing is in a cycle."""

    def __init__(
        self, find: Callable[[str, str], Verifier | None], pepper: bytes
    ) -> None:
        self._find = find
        self._pepper = pepper
        self.known = False
        self.name = self.key_id = ""

    def verifier(self, user: str) -> tuple[bytes, bytes, bytes, int]:
        self.name, _, self.key_id = user.rpartition("/")
        found = self._find(self.name, self.key_id)
        self.known = found is not None
        if found is None:
            salt, stored, server = (
                hmac.digest(self._pepper, f"{part}{user}".encode(), hashlib.sha256)
                for part in (1, 2, 3)
            )
            return salt[:_SALT_BYTES], stored, server, ITERATIONS
        return found.salt, found.stored_key, found.server_key, found.iterations


class GatewayProof:
    """A gateway's side.

    Attributes:
        proven: the agent knows a key of its name.
    """

    def __init__(
        self,
        find: Callable[[str, str], Verifier | None],
        pepper: bytes,
        nonce: str,
    ) -> None:
        """Wait for the first message.

        Args:
            find: returns the verifier of an agent's key by name and id, or None.
            pepper: random bytes of this process; names that nobody has get salts by
                it which look like any other's, and stay the same.
            nonce: random letters and digits.
        """
        self.proven = False
        self._claim = _Claim(find, pepper)
        self._server = ScramMechanism(_MECHANISM).make_server(
            self._claim.verifier, s_nonce=nonce
        )
        self._asked = False

    @property
    def name(self) -> str:
        """The agent's name, once it has said it; empty before."""
        return self._claim.name

    @property
    def key_id(self) -> str:
        """Id of the key that the agent claims to know; empty before it has said it."""
        return self._claim.key_id

    def answer(self, message: str) -> str:
        """Take a message; return the answer, after which `proven` may be true.

        Raises:
            ProofError: the agent does not know the key.
        """
        try:
            if not self._asked:
                self._asked = True
                self._server.set_client_first(message)
                return str(self._server.get_server_first())
            self._server.set_client_final(message)
            final = str(self._server.get_server_final())
        except (ScramException, ValueError, KeyError, IndexError) as fault:
            if self._claim.known or not self._claim.key_id:
                words = str(fault)
            else:
                words = "no agent of this name has this key, or it has expired"
            if self._claim.known and "invalid-proof" in words:
                words = "it is not the key that has this id"
            raise ProofError(cleaned(words, LONGEST_FAULT)) from None
        if not self._claim.known:
            raise ProofError("no agent of this name has this key, or it has expired")
        self.proven = True
        return final
