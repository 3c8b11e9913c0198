"""A process that makes load.

Its standard input brings the load, then `go`, then perhaps `stop`, a line each;
when it ends, so does the process.  Standard output takes a JSON object a line:

    {"ready": CONNECTIONS}      all are made that can be
    {"bytes": N}                so much has arrived so far
    {"tally": {...}}            the result
"""

from __future__ import annotations

import gc
import json
import os
import select
import time
from collections.abc import Callable
from typing import Final

from gateway.bench.dialling import Dialled, dial
from gateway.bench.greeting import Command, Part
from gateway.bench.loads import Kind, Load, Tally
from gateway.bench.oneway import Download, Upload
from gateway.bench.pingpong import PingPong
from gateway.bench.usage import used
from gateway.bench.watch import Watch

PARTS: Final = {
    Kind.ECHO: Part.ECHO,
    Kind.CHECKED: Part.ECHO,
    Kind.DOWNLOAD: Part.SOURCE,
    Kind.UPLOAD: Part.SINK,
}
_INPUT: Final = 0
_OUTPUT: Final = 1


def _say(content: dict[str, object]) -> None:
    line = json.dumps(content).encode("ascii") + b"\n"
    try:
        while line:
            line = line[os.write(_OUTPUT, line) :]
    except BrokenPipeError:  # the command is gone
        raise SystemExit(1) from None


def _next_line() -> bytes:
    """Return the next line of standard input; without one there is nothing to do."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(_INPUT, 1)
        if not piece:
            raise SystemExit(1)
        line += piece
    return line


def _asked_to_stop() -> bool:
    return bool(select.select([_INPUT], [], [], 0)[0]) and _next_line() == b"stop\n"


def perform(load: Load, dialled: Dialled, on_progress: Callable[[int], bool]) -> Tally:
    """Put the load on connections that are made, and return what was counted.

    Args:
        load: what to do.
        dialled: the connections; they are closed at the end.
        on_progress: is told the bytes so far, ten times a second; True = stop now.
    """
    tally = Tally(lost=dialled.lost, fault=dialled.fault)
    watch = Watch(load.seconds, lambda: on_progress(tally.size_bytes))
    course: PingPong | Download | Upload
    if load.kind is Kind.DOWNLOAD:
        course = Download(dialled.sockets, tally, watch)
    elif load.kind is Kind.UPLOAD:
        course = Upload(dialled.sockets, load.size, tally, watch)
    else:
        course = PingPong(
            dialled.sockets,
            size=load.size,
            checked=load.kind is Kind.CHECKED,
            tally=tally,
            watch=watch,
        )
    before, began = used(), time.monotonic()
    course.run()
    tally.usage = used().share_since(before, time.monotonic() - began)
    return tally


def connect(load: Load) -> Dialled:
    """Make the connections of a load."""
    command = Command(PARTS[load.kind], load.size)
    return dial(load.host, load.port, command, load.connections)


def _say_progress(arrived: int) -> bool:
    _say({"bytes": arrived})
    return _asked_to_stop()


def main() -> None:
    """Run as a program of its own."""
    load = Load.of_line(_next_line())
    dialled = connect(load)
    _say({"ready": len(dialled.sockets)})
    _next_line()
    gc.freeze()  # a collection in the middle would be taken for a slow echo
    _say({"tally": perform(load, dialled, _say_progress).content()})
