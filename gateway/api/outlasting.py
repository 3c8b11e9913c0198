"""Let a change run to its end whatever becomes of the request that asked for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.errors import CallerError, SlowAnswerError

T = TypeVar("T")
_log = Logger()


def outlast(
    change: Coroutine[Deferred[Any], Any, T],
    clock: IReactorTime,
    timeout_seconds: float,
    *,
    what: str,
) -> Deferred[T]:
    """Start a change and wait for it, but never stop it.

    A half-done change is worse than one whose caller has gone: cancelling the
    result, or its timeout, ends the waiting alone.  How such a change ends is
    logged.

    Args:
        change: what to run; it has not begun.
        clock: tells the time.
        timeout_seconds: longest wait for the result.
        what: the change's name in the log.

    Returns:
        A Deferred of the change's result.  It fails with `SlowAnswerError` once
        the time is over.
    """
    answer: Deferred[T] = Deferred(lambda _: deadline.cancel())

    def give_up() -> None:
        answer.errback(SlowAnswerError(seconds=f"{timeout_seconds:g}"))

    def succeeded(result: T) -> None:
        if answer.called:
            _log.info("{what} went through after its caller left", what=what)
        else:
            deadline.cancel()
            answer.callback(result)

    def failed(failure: Failure) -> None:
        if not answer.called:
            deadline.cancel()
            answer.errback(failure)
        elif isinstance(failure.value, CallerError):
            _log.warn(
                "{what} failed after its caller left: {fault}",
                what=what,
                fault=failure.value,
            )
        else:
            _log.failure("{what} failed after its caller left", failure, what=what)

    deadline = clock.callLater(timeout_seconds, give_up)
    Deferred.fromCoroutine(change).addCallbacks(succeeded, failed)
    return answer
