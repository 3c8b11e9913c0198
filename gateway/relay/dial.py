"""Connect to a target that the rules allow, within a time limit."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import (
    DeniedError,
    DialError,
    DialTimeoutError,
    LimitError,
    RefusedError,
    UnresolvableError,
)
from gateway.interfaces import Dialled, IAttempt, INetwork
from gateway.policy.access import TargetRules
from gateway.policy.addresses import (
    LOCALHOST,
    LOOPBACK,
    join_host_port,
    parse_address,
)

HEAD_START_SECONDS: Final = 0.25  # of one address before the next one is tried too
MOST_ADDRESSES: Final = 16  # of one name; a name server may send any number
_EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}
)

OwnPortCheck = Callable[[str, int], str | None]


class Dialer:
    """Reach targets by name or address.

    A name is resolved for each connection, by an answer that is at most a few seconds
    old, and the rules are asked about the very address that is then dialled.

    Attributes:
        network: looks up and connects.
    """

    __slots__ = ("_clock", "_own_ports", "_rules", "_timeout_seconds", "network")

    def __init__(
        self,
        network: INetwork,
        clock: IReactorTime,
        rules: TargetRules,
        *,
        own_ports: OwnPortCheck | None,
        timeout_seconds: float,
    ) -> None:
        """Remember the collaborators.

        Args:
            network: looks up and connects.
            clock: for the time limit and head starts.
            rules: what may be dialled.
            own_ports: tells why an address and port is one of this process's own,
                None if it is not; None = it has none.
            timeout_seconds: for look-up and dial together.
        """
        self.network = network
        self._clock = clock
        self._rules = rules
        self._own_ports = own_ports
        self._timeout_seconds = timeout_seconds

    def configure(self, rules: TargetRules, timeout_seconds: float) -> None:
        """Judge and time the dials that begin from now on by other settings."""
        self._rules = rules
        self._timeout_seconds = timeout_seconds

    def dial(
        self,
        host: str,
        port: int,
        factory: IProtocolFactory,
        timeout_seconds: float | None = None,
        dialled: Dialled | None = None,
    ) -> Deferred[IProtocol]:
        """Connect to a target.

        Args:
            host: name or literal address.
            port: 1..65535.
            factory: builds the protocol of the connection that is used.
            timeout_seconds: other than the usual limit.
            dialled: told of each connection that is begun, see `INetwork.attempt`.

        Returns:
            A Deferred of the protocol.  It fails with `DialError`, whose message
            says where it led and what went wrong.  Cancelling it leaves nothing
            behind.
        """
        limit = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        if parse_address(host) is None:
            race = _Race(self.network, self._clock, self.refusal, factory, dialled)
            race.start(host, port, limit)
            return race.outcome
        refusal = self.refusal(host, host, port)
        if refusal is not None:
            return fail(_denied(host, port, refusal))
        attempt = self.network.connect(host, port, factory, limit, dialled=dialled)
        attempt.addErrback(_explain, host, port, host)
        return attempt

    def reach(
        self,
        host: str,
        port: int,
        factory: IProtocolFactory,
        failed: Callable[[Failure], None],
        timeout_seconds: float | None = None,
        dialled: Dialled | None = None,
    ) -> IAttempt:
        """Connect to a target on behalf of one visitor.

        The protocol that `factory` builds learns of its connection.  `localhost` is
        not looked up: it is this machine, by IPv4 and then by IPv6.

        Args:
            host: name or literal address.
            port: 1..65535.
            factory: builds the protocol of the connection that is used.
            failed: called once with a `DialError` if there is none, perhaps before
                this returns; any other exception is a bug.
            timeout_seconds: other than the usual limit.
            dialled: told of each connection that is begun, see `INetwork.attempt`.

        Returns:
            What gives it up.
        """
        limit = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        if host == LOCALHOST:
            return _Loopback(
                self.network, self.refusal, host, port, factory, failed, limit, dialled
            ).start()
        if parse_address(host) is None or self.refusal(host, host, port) is not None:
            outcome = self.dial(host, port, factory, timeout_seconds, dialled)
            outcome.addErrback(_unless_cancelled, failed)
            return cast(IAttempt, outcome)  # it has what gives it up
        return self.network.attempt(
            host,
            port,
            factory,
            limit,
            lambda failure: failed(_explain(failure, host, port, host)),
            dialled,
        )

    def refusal(self, host: str, address: str, port: int) -> str | None:
        """Return None if the target may be dialled, else why not.

        Args:
            host: what was asked for.
            address: literal address it stands for.
            port: 1..65535.
        """
        if self._own_ports is not None:
            reason = self._own_ports(address, port)
            if reason is not None:
                return reason
        return self._rules.check(host, address, port)


def _denied(host: str, port: int, reason: str) -> DeniedError:
    return DeniedError(f"{join_host_port(host, port)}: {reason}")


def _dial_error(fault: OSError, host: str, port: int, address: str) -> DialError:
    where = join_host_port(host, port)
    if address != host:
        where += f" ({address})"
    reason = fault.strerror or str(fault)
    if isinstance(fault, ConnectionRefusedError):
        return RefusedError(f"{where}: connection refused")
    if isinstance(fault, TimeoutError):
        return DialTimeoutError(f"{where}: no answer in time")
    if fault.errno in _EXHAUSTED:
        return LimitError(f"{where}: {reason}")
    return DialError(f"{where}: {reason}")


def _explain(failure: Failure, host: str, port: int, address: str) -> Failure:
    """Return what the system said as a `DialError`; other failures as they are."""
    if isinstance(failure.value, OSError):
        return Failure(_dial_error(failure.value, host, port, address))
    return failure


def _unless_cancelled(failure: Failure, failed: Callable[[Failure], None]) -> None:
    if not failure.check(CancelledError):
        failed(failure)


@implementer(IAttempt)
class _Loopback:
    """`localhost` by IPv4, and by IPv6 if nothing listens there.

    Unlike a race it has no Deferred and no timer of its own, because most targets of
    an agent are on its own machine.
    """

    __slots__ = (
        "_addresses",
        "_attempt",
        "_dialled",
        "_factory",
        "_failed",
        "_fault",
        "_host",
        "_network",
        "_port",
        "_refusal",
        "_seconds",
    )

    def __init__(
        self,
        network: INetwork,
        refusal: Callable[[str, str, int], str | None],
        host: str,
        port: int,
        factory: IProtocolFactory,
        failed: Callable[[Failure], None],
        seconds: float,
        dialled: Dialled | None,
    ) -> None:
        self._network = network
        self._refusal = refusal
        self._host = host
        self._port = port
        self._factory = factory
        self._failed = failed
        self._seconds = seconds
        self._dialled = dialled
        self._addresses = deque(LOOPBACK)
        self._attempt: IAttempt | None = None
        self._fault: DialError | None = None

    def start(self) -> _Loopback:
        """Connect by the first address that may be dialled."""
        self._try_next()
        return self

    def _try_next(self) -> None:
        reason = ""
        while self._addresses:
            address = self._addresses.popleft()
            refusal = self._refusal(self._host, address, self._port)
            if refusal is None:
                self._dial(address)
                return
            reason = reason or refusal
        fault = self._fault or _denied(self._host, self._port, reason)
        self._failed(Failure(fault))

    def _dial(self, address: str) -> None:
        left = len(self._addresses)
        attempt = self._network.attempt(
            address,
            self._port,
            self._factory,
            self._seconds,
            lambda failure: self._not_reached(failure, address),
            self._dialled,
        )
        if left == len(self._addresses):  # it has not failed at once
            self._attempt = attempt

    def _not_reached(self, failure: Failure, address: str) -> None:
        explained = _explain(failure, self._host, self._port, address)
        if not isinstance(explained.value, RefusedError):
            # an address that this machine does not have says less than a refusal
            if self._fault is not None and isinstance(explained.value, DialError):
                explained = Failure(self._fault)
            self._addresses.clear()
            self._failed(explained)
            return
        self._fault = self._fault or explained.value
        self._try_next()

    def cancel(self) -> None:
        """Give it up: nobody is told anything more."""
        self._addresses.clear()
        if self._attempt is not None:
            self._attempt.cancel()


class _Race:
    """The addresses of one name, tried one after another but not in single file.

    An address that has not answered when its head start is over competes with the
    next one; the first that connects wins.
    """

    __slots__ = (
        "_attempts",
        "_clock",
        "_deadline",
        "_dialled",
        "_factory",
        "_faults",
        "_head_start",
        "_host",
        "_lookup",
        "_network",
        "_port",
        "_refusal",
        "_waiting",
        "outcome",
    )

    def __init__(
        self,
        network: INetwork,
        clock: IReactorTime,
        refusal: Callable[[str, str, int], str | None],
        factory: IProtocolFactory,
        dialled: Dialled | None,
    ) -> None:
        self._dialled = dialled
        self._network = network
        self._clock = clock
        self._refusal = refusal
        self._factory = factory
        self._lookup: Deferred[list[str]] | None = None
        self._waiting: deque[str] = deque()
        self._attempts: set[Deferred[IProtocol]] = set()
        self._faults: list[DialError] = []
        self._head_start: IDelayedCall | None = None
        self.outcome: Deferred[IProtocol] = Deferred(lambda _outcome: self._stop())

    def start(self, host: str, port: int, timeout_seconds: float) -> None:
        """Look the name up."""
        self._host = host
        self._port = port
        self._deadline = self._clock.callLater(
            timeout_seconds, self._timed_out, timeout_seconds
        )
        lookup = self._lookup = self._network.resolve(host)
        lookup.addCallbacks(self._resolved, self._unresolved)
        lookup.addErrback(self._fail_with)

    def _resolved(self, addresses: list[str]) -> None:
        self._lookup = None
        reason = "it has no address"
        for address in addresses[:MOST_ADDRESSES]:
            refusal = self._refusal(self._host, address, self._port)
            if refusal is None:
                self._waiting.append(address)
            else:
                reason = refusal
        if not self._waiting:
            self._fail(_denied(self._host, self._port, reason))
            return
        self._try_next()

    def _unresolved(self, failure: Failure) -> None:
        self._lookup = None
        if failure.check(CancelledError):
            return
        if failure.check(UnresolvableError):
            where = join_host_port(self._host, self._port)
            self._fail(UnresolvableError(f"{where}: {failure.getErrorMessage()}"))
        else:
            self._fail_with(failure)

    def _try_next(self) -> None:
        if self._head_start is not None and self._head_start.active():
            self._head_start.cancel()
        address = self._waiting.popleft()
        left = max(0.0, self._deadline.getTime() - self._clock.seconds())
        self._head_start = None
        if self._waiting:
            self._head_start = self._clock.callLater(HEAD_START_SECONDS, self._try_next)
        attempt = self._network.connect(
            address, self._port, self._factory, left, dialled=self._dialled
        )
        self._attempts.add(attempt)
        attempt.addCallbacks(
            self._connected,
            self._not_connected,
            callbackArgs=(attempt,),
            errbackArgs=(attempt, address),
        )
        attempt.addErrback(self._fail_with)

    def _connected(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._attempts.discard(attempt)
        self._stop()
        self.outcome.callback(protocol)

    def _not_connected(
        self, failure: Failure, attempt: Deferred[IProtocol], address: str
    ) -> None:
        self._attempts.discard(attempt)
        if failure.check(CancelledError):
            return
        failure.trap(OSError)
        fault = failure.value
        assert isinstance(fault, OSError)
        self._faults.append(_dial_error(fault, self._host, self._port, address))
        if self._waiting:
            self._try_next()
        elif not self._attempts:
            # a higher status says more than "it failed"
            self._fail(max(self._faults, key=lambda fault: fault.wire_status))

    def _timed_out(self, timeout_seconds: float) -> None:
        what = "no answer" if self._lookup is None else "the name was not looked up"
        where = join_host_port(self._host, self._port)
        self._fail(DialTimeoutError(f"{where}: {what} within {timeout_seconds:g} s"))

    def _fail(self, fault: DialError) -> None:
        self._fail_with(Failure(fault))

    def _fail_with(self, failure: Failure) -> None:
        self._stop()
        self.outcome.errback(failure)

    def _stop(self) -> None:
        """Release everything; may be called twice."""
        self._waiting.clear()
        for call in (self._deadline, self._head_start):
            if call is not None and call.active():
                call.cancel()
        if self._lookup is not None:
            self._lookup.cancel()
        attempts, self._attempts = self._attempts, set()
        for attempt in attempts:
            attempt.cancel()
