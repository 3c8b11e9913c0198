"""A path with a delay and a rate, between two TCP connections.

    python -m tests.integration.delaying DELAY_MS RATE LISTEN:TARGET [LISTEN:TARGET ...]

What arrives on port LISTEN goes to port TARGET, and back, DELAY_MS milliseconds later
each way and at RATE bytes a second at most each way.
"""

import asyncio
import contextlib
import socket
import sys
from collections import deque

PIECE = 65536


class Lane:
    """One direction of one connection."""

    def __init__(self, reader, writer, delay, rate):
        self.reader = reader
        self.writer = writer
        self.delay = delay
        self.rate = rate
        self.most = int(rate * (delay + 0.05)) + PIECE  # bytes on their way
        self.queue: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.changed = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    async def take(self):
        """Read while there is room on the way."""
        while True:
            while self.size > self.most:
                self.changed.clear()
                await self.changed.wait()
            data = await self.reader.read(PIECE)
            self.queue.append((self.loop.time() + self.delay, data))
            self.size += len(data)
            self.changed.set()
            if not data:
                return

    async def give(self):
        """Write what is due."""
        free = 0.0
        while True:
            while not self.queue:
                self.changed.clear()
                await self.changed.wait()
            due, data = self.queue.popleft()
            free = max(free, due) + len(data) / self.rate
            wait = free - self.loop.time()
            if wait > 0.001:
                await asyncio.sleep(wait)
            if not data:
                self.writer.write_eof()
                return
            self.writer.write(data)
            await self.writer.drain()
            self.size -= len(data)
            self.changed.set()


async def carry(near, target, delay, rate):
    """Join one connection with its target."""
    with contextlib.suppress(OSError):
        far = await asyncio.open_connection("127.0.0.1", target, limit=2 * PIECE)
        lanes = [
            Lane(near[0], far[1], delay, rate),
            Lane(far[0], near[1], delay, rate),
        ]
        for _, writer in (near, far):
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(lane.take())
                    group.create_task(lane.give())
        except* OSError:
            pass  # one end is gone, and so is the other
        finally:
            far[1].close()
    near[1].close()


async def main(delay, rate, ways):
    """Serve all ways."""
    for listen, target in ways:

        async def begin(reader, writer, target=target):
            await carry((reader, writer), target, delay, rate)

        await asyncio.start_server(begin, "127.0.0.1", listen, limit=2 * PIECE)
    print("ready", flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(
        main(
            float(sys.argv[1]) / 1000,
            float(sys.argv[2]),
            [tuple(map(int, way.split(":"))) for way in sys.argv[3:]],
        )
    )
