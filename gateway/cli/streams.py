"""Standard output and error of every command: names they lack, readers who leave."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import stat
import sys
from threading import Lock, Thread
from typing import Final, TextIO

from typing_extensions import Buffer, override

from gateway.cli.exits import Exit
from gateway.wire.plain import ESCAPING

_NOBODY: Final = frozenset({errno.EPIPE, errno.EIO})  # a closed terminal says EIO
_ENDED: Final = Lock()  # never released: this process is told once to end


class _Output(io.FileIO):
    """A standard stream that ends the process when nobody reads it any more."""

    @override
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as fault:
            if fault.errno not in _NOBODY:
                raise
            # what is still buffered must find a place when the interpreter ends
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if _stop():
                return memoryview(data).nbytes
            # no error that a command would catch and report
            raise SystemExit(Exit.FAILED) from None


def prepare_streams() -> None:
    """Make standard output and error fit for any name, and for `| head -1`."""
    sys.stdout = _prepared(sys.stdout)
    sys.stderr = _prepared(sys.stderr)


def _prepared(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # closed at the start, or a test's own
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False)),
        stream.encoding,
        ESCAPING,
        line_buffering=stream.line_buffering,
    )


def keep_serving_without_reader() -> None:
    """Leave it to the log what happens when nobody reads it, unless it is a pipe.

    The service manager's socket may be closed and opened again; a pipe belongs to a
    person's command line.
    """
    original = sys.__stdout__
    if original is not None and not stat.S_ISFIFO(os.fstat(original.fileno()).st_mode):
        sys.stdout = original


def end_with_output() -> None:
    """End this process when nobody reads its output any more, also while it waits."""
    if isinstance(getattr(getattr(sys.stdout, "buffer", None), "raw", None), _Output):
        Thread(target=_watch, args=(sys.stdout.fileno(),), daemon=True).start()


def _watch(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)  # the end is reported without being asked for
    poll.poll()
    if not _stop():
        os._exit(Exit.FAILED)


def _stop() -> bool:
    """Stop this process in order, if it has a way; return whether it has."""
    if not callable(signal.getsignal(signal.SIGTERM)):
        return False
    if _ENDED.acquire(blocking=False):
        os.kill(os.getpid(), signal.SIGTERM)
    return True
