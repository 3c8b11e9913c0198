"""Peers that flood the link port: `attackers PORT COUNT KIND ADDRESS`, as a module.

They say `attacking` once all have begun, and go on until they are killed: whoever is
closed comes again at once.  With names and keys of agents in the environment variable
`KEYS`, `NAME KEY` each, those prove themselves first.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Callable
from typing import Final

from gateway.wire import frames
from tests.integration.handmade import HandmadeAgent, frame

CHUNK: Final = 1 << 18  # bytes sent at once
_STRAY: Final = struct.pack("!I", 4_000_000_000)
KINDS: Final[dict[str, bytes]] = {
    "unknown": frame(0x7F),
    "auth": frame(frames.AUTH),
    "keep_alive": frame(frames.KEEP_ALIVE),
    "stray": frame(frames.DATA, _STRAY + b"x"),
    "ping": frame(frames.PING, bytes(9)),
    "register": frame(frames.REGISTER, b'{"id":"x","local":80,"port":1}'),
    "window": frame(frames.WINDOW, _STRAY + bytes(4)),
}


def attack(
    port: int, flood: bytes, address: str, key: str, begun: Callable[[], object]
) -> None:
    """Flood the port for ever, as an agent if there is a key."""
    while True:
        try:
            agent = HandmadeAgent(port, address=address)
        except OSError:
            begun()
            continue
        try:
            if key:
                name, secret = key.split()
                agent.join(name, secret)
            begun()
            while True:
                agent.says(flood)
        except (OSError, EOFError, TimeoutError):
            begun()
        finally:
            agent.close()


def main() -> None:
    """Start as many threads as there are attackers."""
    port, count, kind, address = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5]
    keys = [line for line in os.environ.get("KEYS", "").split(",") if line]
    flood = KINDS[kind] * (CHUNK // len(KINDS[kind]))
    barrier = [threading.Event() for _ in range(count)]
    for number, event in enumerate(barrier):
        key = keys[number % len(keys)] if keys else ""
        threading.Thread(
            target=attack, args=(port, flood, address, key, event.set), daemon=True
        ).start()
    for event in barrier:
        event.wait()
    sys.stdout.write("attacking\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
