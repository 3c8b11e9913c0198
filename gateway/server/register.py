"""Public ports that agents ask for: they live with the agent's name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.errors import (
    CallerError,
    NoFreePortError,
    PortForbiddenError,
    PortInUseError,
    PortMappedError,
    TooManyMappingsError,
)
from gateway.ops.refusals import RefusalLog
from gateway.policy.addresses import check_host
from gateway.policy.credentials import AgentScope
from gateway.policy.mapping import Mapping, MappingWish
from gateway.policy.reservations import MOST_PER_AGENT
from gateway.server.kept_ports import KeptPorts
from gateway.server.mappings import Mappings
from gateway.texts import Texts
from gateway.wire.hello import Register, RegisterAck

RESERVED_SECONDS: Final = 30.0  # that a port stays open without its agent
_NOTHING_FREE: Final = (NoFreePortError, PortInUseError, PortMappedError)


class _Granted:
    """One port of one agent."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.release: IDelayedCall | None = None


class Registrations:
    """Grant, keep and take back the ports that agents ask for.

    A port that its agent does not ask for again within 30 seconds, after the agent
    was gone or another process took its name, is closed.  If the agent had left the
    choice to us, the number is kept for it for longer; see `KeptPorts`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        texts: Texts,
        public_url: Callable[[Mapping], str],
        kept: KeptPorts,
    ) -> None:
        """Remember the collaborators.

        Args:
            clock: for the 30 seconds.
            texts: for the refusals.
            public_url: what an agent is told about its mapping.
            kept: ports of agents that are away.
        """
        self._clock = clock
        self._texts = texts
        self._public_url = public_url
        self._kept = kept
        self._granted: dict[str, dict[str, _Granted]] = {}
        self._refusals = RefusalLog(clock, "request", "Denied")
        self._stopped = False
        self.mappings: Mappings | None = None

    def agent_arrived(self, name: str) -> None:
        """Give the agent time to ask for its ports again."""
        self._plan_release(name)

    def agent_left(self, name: str) -> None:
        """Keep the agent's ports for a while."""
        self._plan_release(name)

    def _plan_release(self, name: str) -> None:
        if self._stopped:
            return
        for word, granted in self._granted.get(name, {}).items():
            if granted.release is None:
                granted.release = self._clock.callLater(
                    RESERVED_SECONDS, self._release, name, word
                )

    def _release(self, name: str, word: str) -> None:
        granted = self._granted[name].pop(word)
        if not self._granted[name]:
            del self._granted[name]
        if granted.release is not None and granted.release.active():
            granted.release.cancel()
        self._kept.leave(name, word)
        if self.mappings is not None:
            self.mappings.close_for_agent(granted.mapping)

    def agent_registers(
        self, name: str, wish: Register, scope: AgentScope | None
    ) -> Deferred[RegisterAck]:
        """Answer a wish, with the port that the agent had if it had one.

        Args:
            name: the agent's.
            wish: what it wants.
            scope: what it may have; None = all.
        """
        if wish.remove:
            if wish.id in self._granted.get(name, {}):
                self._release(name, wish.id)
            self._kept.forget(name, wish.id)
            return succeed(RegisterAck(id=wish.id))
        try:
            mapping = self._grant(name, wish, scope)
        except (CallerError, ValueError) as fault:
            error = self._words(fault)
            self._refusals.note(
                f"agent {name}", f"no public port for {wish.id}: {error}"
            )
            return succeed(RegisterAck(id=wish.id, error=error))
        if wish.port:
            self._kept.forget(name, wish.id)  # it says itself which one it wants
        else:
            self._kept.use(name, wish.id, mapping.port)
        url = self._public_url(mapping)
        return succeed(RegisterAck(id=wish.id, public_url=url, port=mapping.port))

    def agent_limited(self, name: str, scope: AgentScope) -> list[RegisterAck]:
        """Take back what a changed key forbids; return what to tell the agent."""
        answers = []
        for word, granted in list(self._granted.get(name, {}).items()):
            mapping = granted.mapping
            try:
                _check_scope(
                    scope, mapping.port, mapping.target_host, mapping.target_port
                )
            except (CallerError, ValueError) as fault:
                self._refusals.note(
                    f"agent {name}", f"port {mapping.port} is taken back: {fault}"
                )
                self._release(name, word)
                answers.append(RegisterAck(id=word, error=str(fault)))
        return answers

    def _words(self, fault: CallerError | ValueError) -> str:
        """Return the documented words where there are some."""
        if isinstance(fault, _NOTHING_FREE):
            return f"{self._texts('no_available_port')}: {fault}"
        if isinstance(fault, TooManyMappingsError):
            return f"{self._texts('max_tunnels')}: {fault}"
        return str(fault)

    def _grant(self, name: str, wish: Register, scope: AgentScope | None) -> Mapping:
        if wish.protocol != "tcp":
            raise ValueError(self._texts("invalid_protocol", protocol=wish.protocol))
        host = check_host(wish.host) if wish.host else ""
        if scope is not None:
            _check_scope(scope, wish.port, host, wish.local)
        had = self._granted.get(name, {})
        known = had.get(wish.id)
        if known is not None and scope and not scope.has_port(known.mapping.port):
            self._release(name, wish.id)  # the key was narrowed since
            known = None
        port = wish.port
        if known is not None:
            if self._same(known.mapping, wish, host):
                if known.release is not None:
                    known.release.cancel()
                    known.release = None
                return known.mapping
            port = port or known.mapping.port  # the same door to another room
            self._release(name, wish.id)
        if len(had) >= MOST_PER_AGENT:
            raise TooManyMappingsError(limit=MOST_PER_AGENT)
        mapping = self._open(name, wish, host, port, scope)
        self._granted.setdefault(name, {})[wish.id] = _Granted(mapping)
        return mapping

    def _open(
        self, name: str, wish: Register, host: str, port: int, scope: AgentScope | None
    ) -> Mapping:
        """Open a port: the one asked for, else the one that is kept, else a free one.

        Raises:
            CallerError: it cannot be had.
        """
        assert self.mappings is not None
        asked = MappingWish(
            port=port,
            target_host=host,
            target_port=wish.local,
            use_tunnel=True,
            agent=name,
            name=wish.id,
        )
        kept = None if port else self._kept.port_of(name, wish.id)
        if kept is not None:
            with suppress(CallerError):  # somebody else has it, or the rules changed
                return self.mappings.open_for_agent(replace(asked, port=kept), scope)
        return self.mappings.open_for_agent(asked, scope)

    def _same(self, mapping: Mapping, wish: Register, host: str) -> bool:
        return (
            wish.port in (0, mapping.port)
            and mapping.target_host == host
            and mapping.target_port == wish.local
        )

    def stop(self) -> None:
        """Cancel what is planned and plan no more; may be called twice."""
        self._stopped = True
        self._refusals.close()
        for of_agent in self._granted.values():
            for granted in of_agent.values():
                if granted.release is not None:
                    granted.release.cancel()
                    granted.release = None


def _check_scope(scope: AgentScope, port: int, host: str, local: int) -> None:
    """Return if an agent may have a public port and a target.

    Args:
        scope: what its key allows.
        port: public port; 0 = any.
        host: target; empty = the agent's own machine.
        local: port of the target.

    Raises:
        ValueError: why not.
    """
    if port and not scope.has_port(port):
        raise PortForbiddenError(port=port, ports=scope.ports)
    refusal = scope.refusal(host, local)
    if refusal is not None:
        raise ValueError(f"denied: {refusal}")
