"""A gateway, an agent and a plain relay, side by side before one far end."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from gateway.bench.bench import Place
from gateway.bench.compare import ROUNDS, STOCK, Ratio, compared
from gateway.bench.crew import far_process
from gateway.bench.dialling import find
from gateway.bench.greeting import Part
from gateway.cli.children import Children
from gateway.errors import BenchError

_HOST: Final = "127.0.0.1"
_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_WAYS: Final = ("direct", "tunnel")
_PORTS: Final = ("link", "api", *_WAYS, STOCK)


def compare_with_stock(is_stopped: Callable[[], bool]) -> list[Ratio]:
    """Compare the gateway's ways with Twisted's own port forwarder.

    Raises:
        BenchError: something did not start, or failed while it was measured.
        FailedError: one of the processes ended.
    """
    folder = Path(tempfile.mkdtemp(prefix="gotunnel-bench-"))
    children = Children(folder)
    listener = socket.create_server((_HOST, 0), backlog=1024)
    far = int(listener.getsockname()[1])
    try:
        with far_process(listener):
            ports = _free_ports()
            _start(folder, children, ports, far, is_stopped)
            places = {way: Place(_HOST, ports[way]) for way in (STOCK, *_WAYS)}
            for place in places.values():
                _await(place, children, is_stopped)
            return compared(places, is_stopped=is_stopped, on_round=_say_round)
    finally:
        children.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _say_round(number: int) -> None:
    click.echo(f"round {number} of {ROUNDS}", err=True)


def _free_ports() -> dict[str, int]:
    probes = {name: socket.create_server((_HOST, 0)) for name in _PORTS}
    try:
        return {name: probe.getsockname()[1] for name, probe in probes.items()}
    finally:
        for probe in probes.values():
            probe.close()


def _start(
    folder: Path,
    children: Children,
    ports: dict[str, int],
    far: int,
    is_stopped: Callable[[], bool],
) -> None:
    """Start everything; both ways are configured, so nobody need ask the API."""
    target = f"{_HOST}:{far}"
    (folder / "gw.json").write_text(
        json.dumps(
            {
                "log_level": "warn",
                "tunnel": {"bind": _HOST, "listen_port": ports["link"]},
                "api": {"listen_port": ports["api"]},
                "port_range": {"from": ports["tunnel"], "end": ports["tunnel"]},
                "database": {"path": str(folder / "mappings.db")},
                "protocols": [
                    {"listen": f"{_HOST}:{ports['direct']}", "target": target}
                ],
            }
        ),
        "utf-8",
    )
    (folder / "agent.json").write_text(
        json.dumps(
            {
                "server": f"{_HOST}:{ports['link']}",
                "log_level": "warn",
                "expose": [{"local": target, "port": ports["tunnel"]}],
            }
        ),
        "utf-8",
    )
    children.start("gateway", "gotunnel", "--config=gw.json")
    _await(Place(_HOST, ports["direct"]), children, is_stopped)
    children.start("agent", "gotunnel-agent", "--config=agent.json")
    place = f"tcp:{ports[STOCK]}:interface={_HOST}:backlog=1024"
    children.start(
        STOCK, "portforward", f"--port={place}", f"--host={_HOST}", f"--dest_port={far}"
    )


def _await(place: Place, children: Children, is_stopped: Callable[[], bool]) -> None:
    """Wait until the far end answers behind a way."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        children.check()
        try:
            find(place.host, place.port, Part.SOURCE)
        except BenchError as fault:
            if is_stopped():
                raise BenchError("stopped before the comparison was over") from None
            if time.monotonic() > deadline:
                raise BenchError(f"{fault}\n{children.last_words()}") from None
        else:
            return
        time.sleep(_POLL_SECONDS)
