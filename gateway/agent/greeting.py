"""What an agent says of itself, and whom it takes for its gateway."""

from __future__ import annotations

from typing import Final

from gateway import SOFTWARE
from gateway.agent.identity import Identity
from gateway.config.agent import AgentConfig, AgentTLS
from gateway.link.proof import SCRAM
from gateway.net.certificates import CertificateFiles
from gateway.net.tls import ClientTLS
from gateway.policy.credentials import AgentKey, read_key
from gateway.wire.hello import Hello

_UNNAMED: Final = "default"  # the name of an agent that was given none


def key_of(config: AgentConfig) -> AgentKey | None:
    """Return the agent's own key; None = it has a shared secret, or nothing."""
    return read_key(config.token.get_secret_value()) if config.token else None


def identity_of(config: AgentConfig, instance: str) -> Identity:
    """Return as whom links greet; `instance` as for `greeting_of`."""
    named = config.name != _UNNAMED
    return Identity(greeting_of(config, instance), key_of(config), named)


def greeting_of(config: AgentConfig, instance: str) -> Hello:
    """Return HELLO of link 0.

    Args:
        config: the agent's.
        instance: 16 hex digits of its process.
    """
    key = key_of(config)
    token = config.token.get_secret_value() if config.token and key is None else None
    return Hello(
        agent=config.name,
        instance=instance,
        token=token,
        auth=None if key is None else SCRAM,
        features=frozenset({"register"}),
        window=config.window,
        max_frame=config.max_frame,
        software=SOFTWARE,
    )


def files_of(settings: AgentTLS) -> CertificateFiles:
    """Return the files by which an agent proves itself and trusts others."""
    return CertificateFiles(
        cert_file=settings.cert_file,
        key_file=settings.key_file,
        key_password_file=settings.key_password_file,
        ca_file=settings.ca_file,
        allow_readable_key=settings.allow_readable_key,
    )


def client_tls(settings: AgentTLS, host: str) -> ClientTLS:
    """Return how links to a gateway are sealed."""
    return ClientTLS(
        files_of(settings),
        settings.server_name or host,
        fingerprint=settings.fingerprint,
    )
