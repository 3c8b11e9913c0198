"""Links over a long path: what a round trip costs, and what a window lets through."""

from __future__ import annotations

import socket
import statistics
import sys
import time
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration.ports import take_ports
from tests.integration.rig import RigCase

RATE = 20_000_000  # bytes a second of the path, each way
WARM_SECONDS = 1.2  # until a connection has found its speed
MEASURED_SECONDS = 1.2
PIECE = bytes(1 << 18)


def connect(port: int) -> socket.socket:
    """Return a plain connection to a port of this machine."""
    sock = socket.create_connection(("127.0.0.1", port), 20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def first_answer(port: int) -> float:
    """Return the seconds from the visit to the first byte of its answer."""
    began = time.monotonic()
    with connect(port) as sock:
        sock.sendall(b"?")
        if sock.recv(1) != b"?":
            raise AssertionError("no echo")
        return time.monotonic() - began


def rate(port: int, *, up: bool) -> float:
    """Return the bytes a second of one connection that has found its speed."""
    with connect(port) as sock:
        buffer = bytearray(1 << 18)

        def move() -> int:
            return sock.send(PIECE) if up else sock.recv_into(buffer)

        end = time.monotonic() + WARM_SECONDS
        while time.monotonic() < end:
            move()
        began, moved = time.monotonic(), 0
        while time.monotonic() < began + MEASURED_SECONDS:
            moved += move()
        return moved / (time.monotonic() - began)


class DelayCase(RigCase):
    """A gateway and an agent with a long path between them."""

    async def start_apart(self, milliseconds: int, target_port: int) -> int:
        """Start both; return a port that leads to the target over the bare path.

        Args:
            milliseconds: delay each way.
            target_port: what the bare path leads to.
        """
        far_link, plain = take_ports(), take_ports()
        path = self.start(
            sys.executable,
            "-m",
            "tests.integration.delaying",
            str(milliseconds),
            str(RATE),
            f"{far_link}:{self.link_port}",
            f"{plain}:{target_port}",
            name="path",
            folder=Path(__file__).parents[2],
        )
        await path.says("ready")
        await self.start_gateway()
        await self.start_agent(server=f"127.0.0.1:{far_link}")
        return plain


class EarlyDataTests(DelayCase):
    """A round trip of 50 ms."""

    async def test_a_first_request_is_answered_after_one_round_trip(self):
        """As soon as on a connection that is open already; opening costs nothing."""
        target_port = take_ports()
        await self.start_crowd("echo", target_port)
        plain = await self.start_apart(25, target_port)
        port = await self.map(target_port)
        await deferToThread(first_answer, port)
        bare, mapped = [], []
        for _ in range(7):
            bare.append(await deferToThread(first_answer, plain))
            mapped.append(await deferToThread(first_answer, port))
        # the bare path opens its connection without delay, so it takes one round trip
        self.assertGreater(min(mapped), 0.05)
        self.assertLess(statistics.median(mapped), 1.5 * statistics.median(bare))


class WindowTests(DelayCase):
    """A round trip of 100 ms, and 20 MB/s."""

    async def compare(self, mode: str, *, up: bool) -> None:
        target_port = take_ports()
        await self.start_crowd(mode, target_port)
        plain = await self.start_apart(50, target_port)
        port = await self.map(target_port)
        ratios = []
        for _ in range(4):
            bare = await deferToThread(rate, plain, up=up)
            mapped = await deferToThread(rate, port, up=up)
            ratios.append(mapped / bare)
            if ratios[-1] >= 0.8:
                break
        line = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{mode}: {line} of the bare path", file=sys.stderr)  # noqa: T201
        self.assertGreaterEqual(max(ratios), 0.8)

    async def test_one_download_is_as_fast_as_the_path(self):
        await self.compare("source", up=False)

    async def test_one_upload_is_as_fast_as_the_path(self):
        await self.compare("sink", up=True)
