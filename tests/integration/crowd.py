"""Many sockets in a process of their own, for tests whose own would not suffice.

    python -m tests.integration.crowd echo PORT
    python -m tests.integration.crowd source PORT
    python -m tests.integration.crowd sink PORT
    python -m tests.integration.crowd visit PORT COUNT

`echo` sends back what it hears, `source` sends for ever, `sink` takes everything.
`visit` opens COUNT connections, exchanges one byte on each and says "here"; at each
SIGUSR1 it does so again.
"""

import contextlib
import resource
import selectors
import signal
import socket
import sys
import threading
from typing import Any

BATCH = 200
PATIENCE_SECONDS = 60
PIECE = bytes(1 << 18)


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


def visit(port, count):
    """Come, talk, and stay."""
    visitors: list[socket.socket] = []
    while len(visitors) < count:
        batch = [
            socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
            for _ in range(min(BATCH, count - len(visitors)))
        ]
        talk(batch)
        visitors += batch
    say("here")
    while True:
        signal.sigwait({signal.SIGUSR1})
        talk(visitors)
        say("here")


if __name__ == "__main__":
    raise_limit()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    name, *numbers = sys.argv[1:]
    modes: dict[str, Any] = {
        "echo": echo,
        "source": source,
        "sink": sink,
        "visit": visit,
    }
    modes[name](*map(int, numbers))
