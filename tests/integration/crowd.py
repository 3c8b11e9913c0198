"""Many sockets in a process of their own, for tests whose own would not suffice.

    python -m tests.integration.crowd echo PORT
    python -m tests.integration.crowd source PORT
    python -m tests.integration.crowd sink PORT
    python -m tests.integration.crowd visit PORT COUNT
    python -m tests.integration.crowd flood PORT RATE

`echo` sends back what it hears, `source` sends for ever, `sink` takes everything.
`visit` opens COUNT connections, exchanges one byte on each and says "here"; at each
SIGUSR1 it does so again.
`flood` opens RATE connections a second from an address of its own, says nothing on them
and keeps the last FLOOD_OPEN; it says "ready" after a second, and then each second
"opened COUNT".
"""

import contextlib
import resource
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from typing import Any

BATCH = 200
PATIENCE_SECONDS = 60
PIECE = bytes(1 << 18)
FLOODER = "127.0.0.2"
FLOOD_OPEN = 15000
FLOOD_TICK_SECONDS = 0.005


def raise_limit():
    """Open as many files as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def say(word):
    """Tell the test."""
    print(word, flush=True)  # noqa: T201


def echo(port):
    """Serve for ever."""
    listening = socket.create_server(("127.0.0.1", port), backlog=4096)
    listening.setblocking(False)
    chosen = selectors.DefaultSelector()
    chosen.register(listening, selectors.EVENT_READ)
    say("ready")
    while True:
        for key, _ in chosen.select():
            sock: Any = key.fileobj
            if sock is listening:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        chosen.register(listening.accept()[0], selectors.EVENT_READ)
                continue
            try:
                data = sock.recv(65536)
                if data:
                    sock.sendall(data)
            except OSError:
                data = b""
            if not data:
                chosen.unregister(sock)
                sock.close()


def each(port, serve):
    """Serve every connection in a thread of its own."""

    def run(sock):
        with contextlib.suppress(OSError), sock:
            serve(sock)

    listening = socket.create_server(("127.0.0.1", port))
    say("ready")
    while True:
        threading.Thread(target=run, args=listening.accept()[:1], daemon=True).start()


def source(port):
    """Say much to everybody."""

    def serve(sock):
        while True:
            sock.sendall(PIECE)

    each(port, serve)


def sink(port):
    """Take everything."""

    def serve(sock):
        while sock.recv(len(PIECE)):
            pass

    each(port, serve)


def talk(visitors):
    """Exchange a byte on each connection."""
    for start in range(0, len(visitors), BATCH):
        batch = visitors[start : start + BATCH]
        for sock in batch:
            sock.sendall(b"?")
        for sock in batch:
            if sock.recv(1) != b"?":
                raise SystemExit("an echo is missing")


def address_of(number):
    """Return the address of one visitor: few may have most of the places."""
    return f"127.0.1.{number % 16 + 1}"


def visit(port, count):
    """Come, talk, and stay."""
    visitors: list[socket.socket] = []
    while len(visitors) < count:
        first = len(visitors)
        batch = [
            socket.create_connection(
                ("127.0.0.1", port), PATIENCE_SECONDS, (address_of(number), 0)
            )
            for number in range(first, min(first + BATCH, count))
        ]
        talk(batch)
        visitors += batch
    say("here")
    while True:
        signal.sigwait({signal.SIGUSR1})
        talk(visitors)
        say("here")


def intrude(port):
    """Return a connection that is being made from `FLOODER`."""
    sock = socket.socket()
    sock.setblocking(False)
    reset = struct.pack("ii", 1, 0)  # leaves no port behind that waits
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    sock.bind((FLOODER, 0))
    sock.connect_ex(("127.0.0.1", port))
    return sock


def flood(port, rate):
    """Come, say nothing, and come again."""
    kept: deque[socket.socket] = deque()
    made, begun = 0, time.monotonic()
    said, never = begun, threading.Event()
    while True:
        now = time.monotonic()
        # what could not be opened in time is not made up for
        due = min(int((now - begun) * rate) - made, int(rate * FLOOD_TICK_SECONDS * 4))
        for _ in range(due):
            kept.append(intrude(port))
            if len(kept) > FLOOD_OPEN:
                kept.popleft().close()
        made += due
        if now - said >= 1.0:
            say("ready" if said == begun else f"opened {made}")
            said = now
        never.wait(FLOOD_TICK_SECONDS)


if __name__ == "__main__":
    raise_limit()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    name, *numbers = sys.argv[1:]
    modes: dict[str, Any] = {
        "echo": echo,
        "source": source,
        "sink": sink,
        "visit": visit,
        "flood": flood,
    }
    modes[name](*map(int, numbers))
