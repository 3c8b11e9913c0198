"""The log of one process: where it goes, and how it is changed while it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import IO, Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, globalLogPublisher

from gateway.errors import GatewayError, OperatorError
from gateway.ops.access_log import AccessLog
from gateway.ops.levels import Levels
from gateway.ops.log_files import open_log
from gateway.ops.log_lines import JsonLines, format_line
from gateway.ops.log_settings import LogSettings
from gateway.ops.logs import LineObserver
from gateway.ops.recent import RecentLines
from gateway.policy.redaction import Redaction

DEBUG_SECONDS: Final = 900.0  # that a signal turns everything on for
_LOG: Final = Logger()


class ProcessLog:
    """Everything that a process needs to log.

    Attributes:
        observer: what twistd is to log by; None = twistd has one of its own.
        levels: decide what is written.
        recent: the last lines.
        access: takes connections that are over; None = nobody wants them.
    """

    def __init__(
        self,
        settings: LogSettings,
        levels: Levels,
        file: IO[str] | None,
        access_file: IO[str] | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            settings: how lines look.
            levels: decide what is written.
            file: takes the lines; None = twistd has an observer of its own.
            access_file: takes those of connections; None = they go with all others.
        """
        self._secrets = set(settings.secrets)
        self._redact = redact = Redaction(self._secrets)
        self.levels = levels
        self.recent = RecentLines(settings.service, os.urandom(4).hex(), redact)
        form = format_line if settings.form == "text" else JsonLines(settings.service)
        self._lines = LineObserver(
            file, levels, form, redact=redact, keep=self.recent.keep
        )
        self.observer = None if file is None else self._lines
        self.access = (
            None
            if settings.access is None
            else AccessLog(settings.access, access_file, redact)
        )

    def hide(self, secrets: set[str]) -> None:
        """Hide the secrets of a changed configuration, and those of the start."""
        self._redact.hide(self._secrets | secrets)

    def start(self, clock: IReactorTime) -> None:
        """Let lines wait for each other a moment from now on."""
        if self.observer is None:
            globalLogPublisher.addObserver(self._lines)
        self._lines.gather(clock)
        if self.access is not None:
            self.access.gather(clock)

    def release(self) -> None:
        """Write what waits, and each line at once; may be called twice."""
        if self.access is not None:
            self.access.release()
        self._lines.release()
        self.levels.stop()
        if self.observer is None:
            globalLogPublisher.removeObserver(self._lines)

    def reopen(self) -> None:
        """Open the files anew, which another program may have put aside."""
        self._lines.reopen()
        if self.access is not None:
            self.access.reopen()

    def configure(self, read: Callable[[], tuple[str, Mapping[str, str]]]) -> bool:
        """Read the levels anew; wrong ones are told of and change nothing.

        Args:
            read: returns the usual level and those of components.

        Returns:
            Whether they are others than before.
        """
        try:
            usual, components = read()
        except (GatewayError, OSError) as fault:
            _LOG.error("levels of the log stay as they are: {fault}", fault=fault)
            return False
        changed = self.levels.configure(usual, components)
        if changed:
            _LOG.info("levels of the log read anew")
        return changed

    def toggle_debug(self) -> None:
        """Write everything for a while, or stop doing so."""
        if self.levels.is_raised:
            self.levels.lower_all()
            _LOG.info("the log level is as configured again")
        else:
            self.levels.raise_all(DEBUG_SECONDS)
            _LOG.info(
                "everything is logged for {minutes:.0f} minutes",
                minutes=DEBUG_SECONDS / 60,
            )


def open_process_log(
    twistd: Mapping[str, Any], settings: LogSettings, clock: IReactorTime
) -> ProcessLog:
    """Return the log of this process.

    Args:
        twistd: twistd's options; `--logger` and `--syslog` stand above the file, and
            `--logfile` stands in for it.
        settings: how it logs.
        clock: for levels that are set for a while.

    Raises:
        OperatorError: a file cannot be written.
    """
    levels = Levels(settings.level, settings.levels, clock)
    access = None
    if settings.access is not None and settings.access_file is not None:
        access = _open(settings.access_file, settings, "access log")
    if twistd.get("logger") or twistd.get("syslog"):
        return ProcessLog(settings, levels, None, access)
    path = settings.file or twistd.get("logfile") or None
    if path == "-":
        path = None
    if path is None and not twistd.get("nodaemon"):
        path = "twistd.log"
    if path is not None:
        path = os.path.abspath(path)  # for when it is opened again, after --rundir
    return ProcessLog(settings, levels, _open(path, settings, "log file"), access)


def _open(path: str | None, settings: LogSettings, what: str) -> IO[str]:
    try:
        return open_log(path, settings.max_bytes, settings.keep)
    except OSError as fault:
        raise OperatorError(f"{what} {path}: {fault.strerror}") from fault
