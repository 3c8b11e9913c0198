"""The processes of a benchmark: load workers, and the far end if it is here.

Each is in a process group of its own, so Ctrl-C reaches the command alone, and ends
when its standard input does, so none outlives the command.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final

from gateway.bench.loads import Load, Tally
from gateway.bench.watch import PATIENCE_SECONDS
from gateway.errors import BenchError

_READY_SECONDS: Final = 120.0  # ten thousand connections over a slow path
_POLL_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 5.0
_PIECE: Final = 1 << 16


@contextmanager
def _process(
    module: str, *words: str, fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the `main` of a module for as long as the context lasts.

    It imports from where this process does, and from nowhere else.
    """
    program = f"from {module} import main; main()"
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-P", "-c", program, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=fds,
        process_group=0,
        bufsize=0,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def far_process(listener: socket.socket) -> Iterator[None]:
    """Serve a listening socket as a far end while the context lasts."""
    fd = listener.fileno()
    with _process("gateway.bench.far", str(fd), fds=(fd,)):
        listener.close()
        yield


class _Worker:
    """One load worker, seen from outside."""

    def __init__(self, process: subprocess.Popen[bytes], load: Load) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        self.output = process.stdout
        self._unread = b""
        self.ready: int | None = None
        self.arrived_bytes = 0
        self.tally: Tally | None = None
        self.say(load.line())

    def say(self, line: bytes) -> None:
        """Tell it something; one that has ended is noticed where it is read."""
        try:
            self._input.write(line)
        except BrokenPipeError:
            return

    def hear(self) -> None:
        """Take what it has written; there must be something.

        Raises:
            BenchError: it has ended without a result.
        """
        piece = os.read(self.output.fileno(), _PIECE)
        if not piece:
            raise BenchError("a load worker has ended by itself")
        *lines, self._unread = (self._unread + piece).split(b"\n")
        for line in lines:
            self._understand(json.loads(line))

    def _understand(self, said: dict[str, Any]) -> None:
        if "ready" in said:
            self.ready = said["ready"]
        elif "bytes" in said:
            self.arrived_bytes = said["bytes"]
        else:
            self.tally = Tally.of_content(said["tally"])


class Crew:
    """The workers of one load, which share its connections."""

    def __init__(
        self,
        load: Load,
        workers: int,
        *,
        is_stopped: Callable[[], bool],
        on_progress: Callable[[float, int], None],
    ) -> None:
        """Remember the task.

        Args:
            load: of all workers together.
            workers: how many; never more than connections.
            is_stopped: whether the user wants an end.
            on_progress: is told the seconds and the bytes so far.
        """
        self._load = load
        self._count = min(workers, load.connections)
        self._is_stopped = is_stopped
        self._on_progress = on_progress
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def run(self, at_start: Callable[[], None]) -> Tally:
        """Return what was counted.

        Args:
            at_start: is called when all connections are made, before the first byte.

        Raises:
            BenchError: no connection could be made, or a worker failed.
        """
        with ExitStack() as stack:
            stack.callback(self._selector.close)
            for load in self._shares():
                process = stack.enter_context(_process("gateway.bench.worker"))
                worker = _Worker(process, load)
                self._selector.register(worker.output, selectors.EVENT_READ, worker)
                self._workers.append(worker)
            self._until(self._all_ready, _READY_SECONDS)
            if self._is_stopped():
                return Tally()
            at_start()
            self._tell(b"go\n")
            self._measure()
        return Tally.together([one.tally for one in self._workers if one.tally])

    def _shares(self) -> list[Load]:
        each, more = divmod(self._load.connections, self._count)
        return [
            replace(self._load, connections=each + (place < more))
            for place in range(self._count)
        ]

    def _measure(self) -> None:
        started = time.monotonic()

        def is_done() -> bool:
            arrived = sum(one.arrived_bytes for one in self._workers)
            self._on_progress(time.monotonic() - started, arrived)
            return self._all_done()

        self._until(is_done, self._load.seconds + PATIENCE_SECONDS + _STOP_SECONDS)
        if not self._all_done():
            self._tell(b"stop\n")
            self._until(self._all_done, _STOP_SECONDS, heeds_stop=False)

    def _until(
        self, check: Callable[[], bool], seconds: float, *, heeds_stop: bool = True
    ) -> None:
        """Listen to the workers until `check`, or until the user wants an end."""
        deadline = time.monotonic() + seconds
        while not check():
            if heeds_stop and self._is_stopped():
                return
            if time.monotonic() > deadline:
                raise BenchError(f"the load workers took longer than {seconds:g} s")
            for key, _events in self._selector.select(_POLL_SECONDS):
                worker: _Worker = key.data
                worker.hear()
                if worker.tally is not None:
                    self._selector.unregister(worker.output)

    def _all_ready(self) -> bool:
        return all(one.ready is not None for one in self._workers)

    def _all_done(self) -> bool:
        return all(one.tally is not None for one in self._workers)

    def _tell(self, line: bytes) -> None:
        for worker in self._workers:
            worker.say(line)
