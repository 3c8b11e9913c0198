"""What it costs to be watched: scraped each second, with the live view open."""

from __future__ import annotations

import contextlib
import http.client
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from twisted.internet.threads import deferToThread

from tests.integration.processes import Program, pause
from tests.integration.rig import RigCase
from tests.integration.talking import connect, cpu_seconds, exchange

PAIRS: Final = 9
ATTEMPTS: Final = 3
HALF_SECONDS: Final = 1.0  # in which everything is asked once or twice
TALKERS: Final = 20
MOST: Final = 1.05  # of a ratio, which varies by as much by itself
SHARE: Final = 0.03  # of one core, whatever the gateway does besides
IDLE_SECONDS: Final = 6.0
GB: Final = 1e9
ASKED: Final = {  # seconds between two requests
    "/metrics": 1.0,
    # the overview of the live view
    "/api/stats": 1.0,
    "/api/stats/traffic": 3.0,
    "/api/agents": 3.0,
    "/health": 5.0,
    # its table of connections, in another window
    "/api/connections?sort=rate&order=desc&count=50": 2.0,
}


def talk(talkers: list[socket.socket]) -> float:
    """Exchange messages on all connections for a while; return how many."""
    messages = 0
    ends = time.monotonic() + HALF_SECONDS
    while time.monotonic() < ends:
        exchange(talkers)
        messages += len(talkers)
    return messages


def draw(sock: socket.socket) -> float:
    """Read what comes for a while; return how many GB."""
    buffer = bytearray(1 << 20)
    received = 0
    ends = time.monotonic() + HALF_SECONDS
    while time.monotonic() < ends:
        received += sock.recv_into(buffer)
    return received / GB


class Watchers:
    """Whoever looks at a gateway, each in a thread and on a connection of its own."""

    def __init__(self, port: int) -> None:
        """Begin to watch the gateway whose API is at `port`."""
        self.answers = dict.fromkeys(ASKED, 0)
        self._port = port
        self._ended = threading.Event()
        self._stream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._threads = [threading.Thread(target=self._listen)]
        self._threads += [
            threading.Thread(target=self._ask, args=(path, seconds))
            for path, seconds in ASKED.items()
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, path: str, seconds: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with contextlib.closing(connection):
            while not self._ended.is_set():
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
                self.answers[path] += response.status == http.HTTPStatus.OK
                self._ended.wait(seconds)

    def _listen(self) -> None:
        self._stream.request("GET", "/api/events")
        response = self._stream.getresponse()
        with contextlib.suppress(OSError, http.client.HTTPException):
            while response.read1():
                pass

    def leave(self) -> None:
        """Look away."""
        self._ended.set()
        if self._stream.sock is not None:
            with contextlib.suppress(OSError):
                self._stream.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._stream.close()


class ObservingTests(RigCase):
    """A gateway and an agent, both as processes."""

    timeout = 300

    async def cost(
        self, programs: tuple[Program, ...], work: Callable[[], float]
    ) -> float:
        """Return the processor time of both processes for a unit of work."""
        before = cpu_seconds(programs)
        done = await deferToThread(work)
        return (cpu_seconds(programs) - before) / done

    async def judge(
        self, unit: str, programs: tuple[Program, ...], work: Callable[[], float]
    ) -> None:
        """Do work with watchers and without, in turns, and compare the costs."""
        await deferToThread(work)
        medians: list[float] = []
        while len(medians) < ATTEMPTS and min(medians, default=2.0) > MOST:
            ratios = []
            for _ in range(PAIRS):
                alone = await self.cost(programs, work)
                watchers = await deferToThread(Watchers, self.api_port)
                try:
                    watched = await self.cost(programs, work)
                finally:
                    await deferToThread(watchers.leave)
                self.assertNotIn(0, watchers.answers.values(), watchers.answers)
                ratios.append(watched / alone)
            medians.append(statistics.median(ratios))
        line = ", ".join(f"{median:.3f}" for median in medians)
        print(f"watched, a {unit} costs {line} of its time", file=sys.stderr)  # noqa: T201
        self.assertLessEqual(min(medians), MOST)

    async def test_to_be_watched_costs_little_of_a_core(self):
        programs = await self.start_both()
        shares = []
        for watched in (False, True):
            watchers = Watchers(self.api_port) if watched else None
            before = cpu_seconds(programs)
            await pause(IDLE_SECONDS)
            shares.append((cpu_seconds(programs) - before) / IDLE_SECONDS)
            if watchers is not None:
                await deferToThread(watchers.leave)
                self.assertNotIn(0, watchers.answers.values(), watchers.answers)
        idle, share = shares
        print(f"watched {share:.2%} of a core, else {idle:.2%}", file=sys.stderr)  # noqa: T201
        self.assertLessEqual(share - idle, SHARE)

    async def test_to_be_watched_costs_hardly_more_for_each_message(self):
        programs = await self.start_both()
        port = await self.serve_crowd("echo")
        talkers = [connect(port) for _ in range(TALKERS)]
        for sock in talkers:
            self.addCleanup(sock.close)
        await self.judge("message", programs, lambda: talk(talkers))

    async def test_to_be_watched_costs_hardly_more_for_each_gb(self):
        programs = await self.start_both()
        sock = connect(await self.serve_crowd("source"))
        self.addCleanup(sock.close)
        await self.judge("GB", programs, lambda: draw(sock))
