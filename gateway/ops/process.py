"""What both twistd processes do around their service: signals, ends, logging."""

from __future__ import annotations

import atexit
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final

from twisted.application.service import IServiceCollection, Service
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFromThreads,
    IReactorTime,
)
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from gateway.errors import OperatorError
from gateway.ops.early import EARLY, EarlySignals
from gateway.ops.process_log import ProcessLog

_LOG: Final = Logger()
OTHER_DESCRIPTORS: Final = 64  # links, listeners, store, log
GARBAGE_THRESHOLDS: Final = (20000, 10, 10)  # objects, then young and middle rounds
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class IProcessReactor(IReactorCore, IReactorFromThreads, IReactorTime):
    """What a process needs of the reactor."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def spare_the_collector() -> None:
    """Let the garbage collector pass over what lives as long as the process.

    Called once the process is complete.  What visitors leave behind is mostly gone
    by its reference count; the rest is looked for after thousands of objects, not
    after the hundreds that one visitor is made of.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def fitting_limit(key: str, wanted: int, descriptors: int) -> tuple[int, list[str]]:
    """Return how many visitors the open files suffice for, and what to say of it.

    Args:
        key: the setting, for the warning.
        wanted: visitors at once as configured; 0 = unlimited.
        descriptors: files that this process may open.

    Returns:
        `wanted`, or fewer and one warning.
    """
    spare = max(descriptors - OTHER_DESCRIPTORS, descriptors // 4, 1)
    if 0 < wanted <= spare:
        return wanted, []
    return spare, [
        f"{key} is {wanted or 'unlimited'}, but this process may open {descriptors} "
        f"files: clamped to {spare}, of which a direct visitor needs two; raise "
        "LimitNOFILE (ulimit -n) or lower the limit"
    ]


def say_operator_errors_plainly() -> None:
    """Print what an operator must act on as one line, not as a traceback."""

    def say(
        kind: type[BaseException], fault: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(fault, OperatorError):
            sys.stderr.write(f"gotunnel: {fault}\n")
        else:
            sys.__excepthook__(kind, fault, trace)

    sys.excepthook = say


class ProcessEnd:
    """What signals do, and how this process ends when it cannot go on."""

    def __init__(
        self,
        reactor: IProcessReactor,
        force: Callable[[], None],
        reload: Callable[[], None] | None = None,
        log: ProcessLog | None = None,
        early: EarlySignals = EARLY,
    ) -> None:
        """Remember the collaborators.

        Args:
            reactor: is stopped.
            force: makes a stop under way wait for nobody.
            reload: called on SIGHUP; None = nothing can be read anew, and the signal
                is passed over.
            log: its files are opened anew on SIGHUP and SIGUSR1, and it says
                everything, or no more, on SIGUSR2; None = these two do nothing.
            early: what came before the signals were taken over.
        """
        self._reactor = reactor
        self._force = force
        self._reload = reload
        self._log = log
        self._early = early
        self._hung_up_before = False
        self._signals = 0
        self._failed = False

    def watch(self) -> None:
        """Take the signals over once the reactor has installed its own."""
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        for number in _STOP_SIGNALS:
            signal.signal(number, self._signalled)
        log = self._log
        calls: dict[int, Callable[[], None]] = {
            signal.SIGHUP: self._hung_up,
            signal.SIGUSR1: _do_nothing if log is None else log.reopen,
            signal.SIGUSR2: _do_nothing if log is None else log.toggle_debug,
        }
        for handled, call in calls.items():
            signal.signal(handled, self._calling(call))
        for noted in self._early.release():
            calls[noted]()

    def _calling(
        self, call: Callable[[], None]
    ) -> Callable[[int, FrameType | None], None]:
        def signalled(number: int, frame: FrameType | None) -> None:
            self._reactor.callFromThread(call)

        return signalled

    def _hung_up(self) -> None:
        """Reload, unless the signal says that our terminal was closed."""
        if self._hung_up_before or not self._early.terminal.is_gone():
            self._read_anew()
        elif self._early.hang_ups_ignored:
            self._hung_up_before = True
            _LOG.info("SIGHUP: the terminal was closed; running on, as under nohup")
        elif not self._signals:
            self._signals = 1
            self._stop("SIGHUP: the terminal was closed", first=True)

    def _read_anew(self) -> None:
        if self._log is not None:
            self._log.reopen()
        if self._reload is None:
            _LOG.info("SIGHUP: there is nothing to read anew")
        else:
            _LOG.info("SIGHUP: reading anew what has changed")
            self._reload()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 2:
            os._exit(128 + number)
        name = signal.Signals(number).name
        # two may come before the reactor looks
        self._reactor.callFromThread(self._stop, name, first=self._signals == 1)

    def _stop(self, name: str, *, first: bool) -> None:
        if first:
            _LOG.info("{name}: stopping; once more forces it", name=name)
            self._reactor.stop()
        else:
            _LOG.warn("{name} again: stopping at once", name=name)
            self._force()

    def fail(self, why: str) -> None:
        """Say why, and end the process with status 1."""
        if self._failed:
            return
        self._failed = True
        _LOG.critical("{why}", why=why)
        atexit.register(_exit_with_failure)
        self._reactor.callWhenRunning(self._stop_once)

    def _stop_once(self) -> None:
        if not self._signals:
            self._signals = 1
            self._reactor.stop()


def _do_nothing() -> None:
    """Take a signal whose default action ends the process."""


def _exit_with_failure() -> None:
    """End with status 1; twistd itself knows no other end than success."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class LoggedService(Service):
    """A service that brings its own log observer to the application.

    Wraps the process's real service, so that twistd logs where and how the
    configuration says.
    """

    def __init__(
        self, service: Service, log: ProcessLog, reactor: IProcessReactor
    ) -> None:
        self._service = service
        self._log = log
        self._reactor = reactor

    def setServiceParent(self, parent: Any) -> None:  # noqa: N802, ANN401
        """Add the observer to the application, then join it."""
        if self._log.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log.observer)
        super().setServiceParent(IServiceCollection(parent))

    def privilegedStartService(self) -> None:
        """Pass on."""
        super().privilegedStartService()
        self._service.privilegedStartService()

    def startService(self) -> None:
        """Pass on."""
        super().startService()
        self._log.start(self._reactor)
        # what the last services have said on their way out
        self._reactor.addSystemEventTrigger("after", "shutdown", self._log.release)
        self._service.startService()

    def stopService(self) -> Any:  # noqa: ANN401 - a Deferred or None
        """Pass on."""
        super().stopService()
        return self._service.stopService()
