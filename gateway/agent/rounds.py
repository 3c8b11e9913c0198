"""Try several gateways until one of them accepts a link."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.errors import DialError
from gateway.link.protocol import LinkProtocol

HEAD_START_SECONDS: Final = 3.0  # of one gateway before the next is tried, too
Server = tuple[str, int]


class Trial:
    """An attempt at one gateway.

    Attributes:
        server: its host and port.
        connecting: the connection that is being made, or None.
        built: the protocol of the connection, or None.
        link: the same once it is connected and waits for the gateway's decision.
    """

    __slots__ = ("built", "connecting", "link", "server")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.connecting: Deferred[IProtocol] | None = None
        self.built: LinkProtocol | None = None
        self.link: LinkProtocol | None = None


class Round:
    """One pass over the gateways, in their order.

    The next gateway is tried when the one before has failed, or has not decided
    within 3 seconds; the first that accepts the link wins.  There are never more
    connections than gateways.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        servers: Sequence[Server],
        connect: Callable[[Server, IProtocolFactory], Deferred[IProtocol]],
        build: Callable[[], LinkProtocol],
        failed: Callable[[Server, str], None],
        name: str,
    ) -> None:
        """Prepare; nothing happens before `start`.

        Args:
            clock: for the head starts.
            servers: host and port of each gateway, at least one.
            connect: connects to one of them.
            build: returns the protocol of a new connection.
            failed: called once when no gateway is left, with the last one that
                failed and why.
            name: of the link, for the log.
        """
        self._clock = clock
        self._waiting = deque(servers)
        self._connect = connect
        self._build = build
        self._failed = failed
        self._name = name
        self._trials: list[Trial] = []
        self._head_start: IDelayedCall | None = None

    def start(self) -> None:
        """Try the first gateway."""
        self._try_next()

    @property
    def links(self) -> list[LinkProtocol]:
        """The connections that wait for a decision."""
        return [trial.link for trial in self._trials if trial.link is not None]

    def made(self, link: LinkProtocol) -> Trial:
        """Note that a connection is up, and return its trial."""
        trial = next(trial for trial in self._trials if trial.built is link)
        trial.connecting = None
        trial.link = link
        return trial

    def trial_of(self, link: LinkProtocol) -> Trial | None:
        """Return the trial that a connection belongs to, or None if it is over."""
        return next((trial for trial in self._trials if trial.link is link), None)

    def _try_next(self) -> None:
        self._stop_waiting()
        trial = Trial(self._waiting.popleft())
        self._trials.append(trial)
        if self._waiting:
            self._head_start = self._clock.callLater(HEAD_START_SECONDS, self._try_next)
        connecting = self._connect(trial.server, _LinkFactory(self._build, trial))
        if not connecting.called:
            trial.connecting = connecting
        connecting.addErrback(self._unreachable, trial)

    def _stop_waiting(self) -> None:
        call, self._head_start = self._head_start, None
        if call is not None and call.active():
            call.cancel()

    def _unreachable(self, failure: Failure, trial: Trial) -> None:
        if failure.check(CancelledError):
            return
        if not failure.check(DialError):
            self.log.failure("connecting to the gateway failed", failure=failure)
        self._end(trial, failure.getErrorMessage())

    def lost(self, link: LinkProtocol, why: str) -> None:
        """Go on without a connection that was not accepted."""
        trial = self.trial_of(link)
        if trial is not None:
            self._end(trial, why)

    def _end(self, trial: Trial, why: str) -> None:
        self._trials.remove(trial)
        if not self._trials and not self._waiting:
            self._failed(trial.server, why)
            return
        host, port = trial.server
        self.log.warn(
            "{link} to {host}:{port}: {why}; the next gateway is tried",
            link=self._name,
            host=host,
            port=port,
            why=why,
            log_same=("next gateway", trial.server, why),
        )
        if self._waiting:
            self._try_next()

    def won(self, link: LinkProtocol) -> Trial:
        """Drop all trials but that of an accepted link, and return it."""
        winner = self.trial_of(link)
        assert winner is not None
        self._trials.remove(winner)
        self.stop()
        return winner

    def stop(self) -> None:
        """Give up what is left; may be called twice."""
        self._stop_waiting()
        self._waiting.clear()
        trials, self._trials = self._trials, []
        for trial in trials:
            if trial.connecting is not None:
                trial.connecting.cancel()
            if trial.link is not None:
                trial.link.abort("not needed now")

    def leave(self, reason: int, text: str) -> None:
        """Make no more connections, and say goodbye on those that there are."""
        self._stop_waiting()
        self._waiting.clear()
        for trial in self._trials.copy():
            if trial.link is not None:
                trial.link.leave(reason, text)
            elif trial.connecting is not None:
                self._trials.remove(trial)
                trial.connecting.cancel()


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], LinkProtocol], trial: Trial) -> None:
        self._build = build
        self._trial = trial

    def buildProtocol(self, addr: object) -> LinkProtocol:
        """Return the protocol of the new link."""
        self._trial.built = link = self._build()
        return link
