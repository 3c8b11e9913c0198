"""As whom an agent greets; its token's file is read again while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from pydantic import SecretStr
from twisted.logger import Logger

from gateway.config.agent import AgentConfig
from gateway.config.fields import secret
from gateway.config.files import read_at_once, read_secret
from gateway.errors import ConfigError
from gateway.link.proof import SCRAM
from gateway.policy.credentials import AgentKey, read_key
from gateway.wire.hello import Hello


class Identity(NamedTuple):
    """As whom a link greets.

    Attributes:
        greeting: HELLO of link 0; the others differ in the number.
        key: what is proved to be known, in place of a token; None = nothing.
        named: whether the agent was given its name; else it takes that of its key.
    """

    greeting: Hello
    key: AgentKey | None = None
    named: bool = True

    @property
    def proof_name(self) -> str:
        """The name that the key is proved under; empty = that of the key."""
        return self.greeting.agent if self.named else ""

    def with_token(self, token: str) -> Identity:
        """Return the same agent with another token or key."""
        key = read_key(token)
        return Identity(
            replace(
                self.greeting,
                token=token if key is None else None,
                auth=None if key is None else SCRAM,
            ),
            key,
            self.named,
        )


class Identities:
    """The identity of one agent; its token changes when its file does.

    A new token is only on trial until a gateway has taken it: if it is refused, the one
    before is tried in turn with it, so that a wrong file keeps no agent out.

    Attributes:
        current: what the next link greets with.
    """

    _log: Final = Logger()

    def __init__(
        self,
        current: Identity,
        read_token: Callable[[], str] | None = None,
        where: str = "",
    ) -> None:
        """Start with what the configuration says.

        Args:
            current: of the start.
            read_token: reads the token's file, raises `ConfigError`; None = there is
                none.
            where: what the log calls the file.
        """
        self.current = current
        self._read = read_token
        self._where = where
        self._newest = current
        self._before: Identity | None = None

    def renew(self) -> bool:
        """Read the token's file again; return whether it holds another token.

        What cannot be used is logged, and the token stays as it is.
        """
        if self._read is None:
            return False
        try:
            found = self._newest.with_token(self._read())
        except ConfigError as fault:
            self._log.error(
                "token_file not read again, the token stays: {fault}",
                fault=fault,
                log_same=("token_file", str(fault)),
            )
            return False
        if found == self._newest:
            return False
        self._before = self.current
        self._newest = self.current = found
        self._log.info("the token in {where} has changed", where=self._where)
        return True

    def refused(self, identity: Identity) -> None:
        """Use the other token from now on, after a gateway has refused this one."""
        if self._before is None or identity != self.current:
            return
        is_newest = identity == self._newest
        self.current = self._before if is_newest else self._newest
        if is_newest:
            self._log.warn(
                "the gateway refused the token in {where}; the one before is tried",
                where=self._where,
            )

    def accepted(self, identity: Identity) -> None:
        """Forget the token before, once a gateway has taken the newest one."""
        if identity == self._newest:
            self._before = None


def token_reader(config: AgentConfig) -> Callable[[], str] | None:
    """Return what reads the token's file again; None = the token is in no file."""
    file = config.token_file
    if file is None:
        return None

    def read() -> str:
        text = read_secret(file, read_at_once)
        try:
            secret(SecretStr(text))
        except ValueError as fault:
            raise ConfigError([f"{file!r} {fault}"]) from None
        return text

    return read
