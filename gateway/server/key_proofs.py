"""The proofs that agents give of their keys, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from gateway.interfaces import IArrivingLink
from gateway.link.proof import GatewayProof, ProofError
from gateway.policy.credentials import AgentCredential
from gateway.server.credentials import Credentials
from gateway.wire.hello import Hello

NONCE_BYTES: Final = 16
PEPPER_BYTES: Final = 32


class ProofStep(NamedTuple):
    """What a message of a proof has led to.

    Attributes:
        answer: what the agent must be told.
        hello: what the agent has said before.
        credential: its key; None = it is not proved yet.
    """

    answer: str
    hello: Hello
    credential: AgentCredential | None


class KeyProofs:
    """The proofs that have begun, by link."""

    def __init__(
        self, credentials: Credentials, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._credentials = credentials
        self._random = random_bytes
        self._pepper = random_bytes(PEPPER_BYTES)
        self._begun: dict[IArrivingLink, tuple[Hello, GatewayProof]] = {}

    def __len__(self) -> int:
        """Return how many have begun and are not over."""
        return len(self._begun)

    def begin(self, link: IArrivingLink, hello: Hello) -> None:
        """Wait for the proof that a HELLO announced."""
        nonce = self._random(NONCE_BYTES).hex()
        proof = GatewayProof(self._credentials.verifier, self._pepper, nonce)
        self._begun[link] = hello, proof

    def go_on(self, link: IArrivingLink, message: str) -> ProofStep:
        """Take the next message of a proof.

        Raises:
            ProofError: the agent must be rejected; the text says why.
        """
        if link not in self._begun:
            raise ProofError("a proof of a kind that is not known")
        hello, proof = self._begun[link]
        try:
            answer = proof.answer(message)
        except ProofError as fault:
            self.forget(link)
            raise ProofError(f"agent {hello.agent}: wrong key: {fault}") from None
        if not proof.proven:
            return ProofStep(answer, hello, None)
        self.forget(link)
        name = self._credentials.name_of(proof.name, proof.key_id)
        if not proof.name:
            hello = replace(hello, agent=name)
        credential = self._credentials.get(name)
        if credential is None or hello.agent != credential.name:
            raise ProofError(f"agent {hello.agent}: the key is of {name}")
        self._credentials.note_used(credential.name, proof.key_id)
        return ProofStep(answer, hello, credential)

    def forget(self, link: IArrivingLink) -> None:
        """Forget the proof of a link, if it has begun one."""
        self._begun.pop(link, None)
