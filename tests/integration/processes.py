"""Start real programs, watch them and be sure of their end."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast
from unittest import TestResult

from twisted.internet import reactor as installed_reactor  # noqa: TID251
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorProcess,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase


class Reactor(IReactorCore, IReactorTCP, IReactorTime, IReactorProcess):
    """What the tests ask of the reactor they run on."""


reactor = cast(Reactor, installed_reactor)

TAIL = 60  # lines of each log that a failed test shows


def require(*programs: str) -> dict[str, str]:
    """Return the paths of programs; skip the test if one is missing."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = {program: shutil.which(program, path=path) for program in programs}
    missing = sorted(program for program, where in found.items() if where is None)
    if missing:
        raise SkipTest(f"not installed: {', '.join(missing)}")
    return {program: where for program, where in found.items() if where is not None}


def plain_environment() -> dict[str, str]:
    """Return our variables less those that would change what the programs do."""
    foreign = ("GOTUNNEL_", "PG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "LC_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(foreign)
    }
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def raise_descriptor_limit() -> int:
    """Allow this process and its children what the system allows; return it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


async def pause(seconds: float) -> None:
    """Let the reactor run for a while."""
    await deferLater(reactor, seconds)


async def until(check: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait until `check`, a function or an async one, gives something true.

    Raises:
        AssertionError: it did not within `seconds`; says `what` was waited for.
    """
    deadline = reactor.seconds() + seconds
    while True:
        seen = check()
        if await seen if isinstance(seen, Awaitable) else seen:
            return
        if reactor.seconds() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await pause(0.02)


class Program(ProcessProtocol):
    """A child process that leads a process group of its own.

    Its output goes to a file, so that nobody has to read it for the child to go on.

    Attributes:
        name: what messages call it.
        output: the file with everything it wrote.
        exit_code: None while it runs; minus the signal if one ended it.
    """

    def __init__(self, name: str, output: Path) -> None:
        self.name = name
        self.output = output
        self.exit_code: int | None = None
        self.pid = 0
        self._waiting: list[Deferred[None]] = []

    def processEnded(self, reason: Failure) -> None:
        """Note the end and tell who waits for it."""
        value = reason.value
        self.exit_code = 0
        if isinstance(value, ProcessTerminated):
            self.exit_code = -value.signal if value.signal else value.exitCode
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    async def ended(self, seconds: float = 20.0) -> int:
        """Wait for the end and return the exit code.

        Raises:
            AssertionError: it still runs after `seconds`.
        """
        if self.exit_code is None:
            deferred: Deferred[None] = Deferred()
            self._waiting.append(deferred)
            deferred.addTimeout(seconds, reactor)
            with contextlib.suppress(Exception):
                await deferred
        if self.exit_code is None:
            raise AssertionError(f"{self.name} still runs after {seconds:g} s")
        return self.exit_code

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the process alone."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it and its children at once, without a chance to say goodbye."""
        assert self.pid > 1, "group 0 is that of the tests themselves"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.ended()

    def text(self) -> str:
        """Return what it wrote up to now."""
        return self.output.read_text(errors="replace")

    def tail(self) -> str:
        """Return the end of what it wrote, for people."""
        lines = self.text().splitlines()[-TAIL:]
        state = "running" if self.exit_code is None else f"exit code {self.exit_code}"
        return "\n".join([f"---- {self.name} ({state})", *lines])

    async def says(self, words: str, seconds: float = 20.0, *, times: int = 1) -> None:
        """Wait until `words` were written so many times."""

        def heard() -> bool:
            return self.text().count(words) >= times or self.exit_code is not None

        await until(heard, f"{self.name} says {words!r}", seconds)
        if self.text().count(words) < times:
            raise AssertionError(f"{self.name} ended without saying {words!r}")

    def descriptors(self) -> int:
        """Return the number of its open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used, to the nanosecond."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        times = (int((task / "schedstat").read_text().split()[0]) for task in tasks)
        return sum(times) / 1e9

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


class ProgramsCase(TestCase):
    """A test that starts programs, none of which outlives it.

    Attributes:
        folder: a fresh folder of this test.
    """

    timeout = 110

    def run(self, result: TestResult | None = None) -> TestResult | None:
        """Run the test, and know whether it failed when it is cleaned up."""
        self._result = result
        self._complaints_before = self._complaints()
        return cast("TestResult | None", super().run(result))

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = Path(os.path.abspath(self.mktemp()))
        self.folder.mkdir(parents=True)
        self._programs: list[Program] = []
        self.addCleanup(self._finish)

    def start(
        self,
        *argv: str | os.PathLike[str],
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        descriptors: int | None = None,
        user_ids: tuple[int, int] | None = None,
        typed: bytes | None = None,
    ) -> Program:
        """Start a program and return it; it ends with the test at the latest.

        Args:
            *argv: the command.
            name: what messages call it; None = its file name.
            env: variables on top of those of the tests.
            folder: where it runs; None = the folder of the test.
            descriptors: its limit of open descriptors.
            user_ids: user and group to run as, for root only.
            typed: what it reads from its standard input.
        """
        name = name or Path(argv[0]).name
        program = Program(name, self.folder / f"{len(self._programs)}-{name}.out")
        command = ["setsid", *(os.fspath(part) for part in argv)]
        if descriptors is not None:
            limit = f'ulimit -n {descriptors} && exec "$@"'
            command = ["sh", "-c", limit, "sh", *command]
        given = self.folder / f"{program.output.name}.in"
        given.write_bytes(typed or b"")
        with program.output.open("wb") as output, given.open("rb") as source:
            self._spawn(program, command, source, output, env, folder, user_ids)
        self._programs.append(program)
        return program

    def _spawn(
        self,
        program: Program,
        command: list[str],
        source: IO[bytes],
        output: IO[bytes],
        env: Mapping[str, str] | None,
        folder: Path | None,
        user_ids: tuple[int, int] | None,
    ) -> None:
        uid, gid = user_ids if user_ids is not None else (None, None)
        process = reactor.spawnProcess(
            program,
            shutil.which(command[0]) or command[0],
            command,
            env={**plain_environment(), **(env or {})},
            path=os.fspath(folder or self.folder),
            uid=uid,
            gid=gid,
            childFDs={0: source.fileno(), 1: output.fileno(), 2: output.fileno()},
        )
        program.pid = cast(int, process.pid)

    async def run_program(
        self,
        *argv: str | os.PathLike[str],
        seconds: float = 60.0,
        expect: int | None = 0,
        **started: Any,
    ) -> Program:
        """Run a program to its end and check its exit code.

        Args:
            *argv: the command.
            seconds: how long it may take.
            expect: the exit code; None = any.
            **started: as for `start`.
        """
        program = self.start(*argv, **started)
        code = await program.ended(seconds)
        if expect is not None:
            self.assertEqual(code, expect, f"{argv}\n{program.tail()}")
        return program

    async def _finish(self) -> None:
        """Kill what is left, and show the logs if anything went wrong."""
        for program in self._programs:
            if program.exit_code is None:
                await program.kill()
        faulty = [p.name for p in self._programs if "Traceback" in p.text()]
        if faulty or self._complaints() > self._complaints_before:
            for program in self._programs:
                print(program.tail(), file=sys.stderr)  # noqa: T201
        self.assertEqual(faulty, [], "these programs logged a traceback")

    def _complaints(self) -> int:
        """Return how many tests of this run have failed until now."""
        if self._result is None:
            return 0
        return len(self._result.failures) + len(self._result.errors)
