"""What every link of an agent begins with: HELLO, and the proof of a key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gateway.agent.identity import Identity
from gateway.errors import ProtocolError
from gateway.link.proof import AgentProof, ProofError
from gateway.link.protocol import LinkProtocol
from gateway.wire.hello import Hello, Register

NONCE_BYTES: Final = 16


class Greeter:
    """The part of a link's owner that greets, and never acts as a gateway."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        """Prepare.

        Args:
            random_bytes: for nonces.
        """
        self._random_bytes = random_bytes
        # several gateways may be tried at one time
        self._identities: dict[LinkProtocol, Identity] = {}
        self._proofs: dict[LinkProtocol, AgentProof] = {}

    def greet(
        self,
        link: LinkProtocol,
        identity: Identity,
        number: int,
        probe: int | None = None,
    ) -> None:
        """Send HELLO, and begin the proof if there is a key.

        Args:
            link: was just connected.
            identity: as whom.
            number: of the link among the agent's.
            probe: not None = only ask whether the link would be taken.
        """
        link.session.greet(replace(identity.greeting, link=number, probe=probe))
        self._identities[link] = identity
        if identity.key is not None:
            nonce = self._random_bytes(NONCE_BYTES).hex()
            proof = AgentProof(identity.proof_name, identity.key, nonce)
            self._proofs[link] = proof
            link.authenticate(proof.first())

    def identity_of(self, link: LinkProtocol) -> Identity:
        """Return as whom a link has greeted."""
        return self._identities[link]

    def forget(self, link: LinkProtocol) -> None:
        """Forget a link that is closed."""
        self._identities.pop(link, None)
        self._proofs.pop(link, None)

    def link_auth(self, link: LinkProtocol, message: str) -> None:
        """The gateway goes on with the proof."""
        try:
            answer = self._proofs[link].answer(message)
        except ProofError as fault:
            raise ProtocolError(str(fault), "unproven") from None
        if answer is None:
            link.session.proven = True
        else:
            link.authenticate(answer)

    def link_hello(self, link: LinkProtocol, hello: Hello) -> None:
        """Agents are not greeted: the session refuses the frame."""

    def link_spoke(self, link: LinkProtocol) -> None:
        """Agents do not wait for words."""

    def link_register(self, link: LinkProtocol, wish: Register) -> None:
        """Agents are not asked for ports: the session refuses the frame."""
