"""`gotunnel demo`: gateway, agent and a web site behind it, seen at work."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console

from gateway.cli.children import Children
from gateway.cli.client import ApiClient
from gateway.cli.demo_site import site_files, write_site
from gateway.cli.exits import FailedError, UnreachableError
from gateway.cli.streams import end_with_output

_HOST: Final = "127.0.0.1"
_READY_SECONDS: Final = 60.0  # a slow machine that starts three processes at once
_FETCH_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.1
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ports(NamedTuple):
    """The ports of a run; `public` is 0 if the gateway picks it."""

    link: int
    api: int
    site: int
    public: int


class StoppedError(FailedError):
    """A signal came before the demonstration was over."""


@click.command()
@click.option("--once", is_flag=True, help="End when the page has been fetched.")
@click.option(
    "--port-base",
    type=click.IntRange(1024, 65532),
    metavar="N",
    help="Use the ports N to N+3 (link, API, web site, public); else free ones.",
)
def demo(once: bool, port_base: int | None) -> None:
    """Show a page that is served behind an agent, through a public port.

    Starts a gateway, an agent and a small web site as processes of their own, maps
    a public port by the API, fetches the page there, and stays up until Ctrl-C.
    Nothing is left behind.
    """
    stop = threading.Event()
    end_with_output()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a script's "&"
            signal.signal(number, lambda *_: stop.set())
    folder = Path(tempfile.mkdtemp(prefix="gotunnel-demo-"))
    children = Children(folder)
    try:
        Demonstration(folder, children, _choose_ports(port_base), stop).run(once)
    finally:
        children.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _choose_ports(base: int | None) -> Ports:
    if base is not None:
        return Ports(base, base + 1, base + 2, base + 3)
    sockets = [socket.socket() for _ in range(3)]
    try:
        for probe in sockets:
            probe.bind((_HOST, 0))
        link, api, site = (int(probe.getsockname()[1]) for probe in sockets)
    finally:
        for probe in sockets:
            probe.close()
    return Ports(link, api, site, 0)


class Demonstration:
    """One run: each step says what it does and checks that it worked."""

    def __init__(
        self, folder: Path, children: Children, ports: Ports, stop: threading.Event
    ) -> None:
        """Remember the collaborators.

        Args:
            folder: for everything that is written.
            children: start the processes; the caller stops them.
            ports: where everything listens.
            stop: set when a signal has come.
        """
        self._folder = folder
        self._children = children
        self._ports = ports
        self._stop = stop
        self._console = Console(highlight=False, soft_wrap=True, emoji=False)
        self._steps = 0
        self._api = ApiClient(
            f"http://{_HOST}:{ports.api}",
            api_key=None,
            timeout_seconds=_FETCH_SECONDS,
            language="en",
        )

    def run(self, once: bool) -> None:
        """Go through the steps, and stay up unless `once`.

        Raises:
            FailedError: a step did not work, or a signal came too early.
        """
        self._write_files()
        self._start_site()
        self._start_gateway()
        self._start_agent()
        port = self._map_port()
        self._fetch(port)
        if once:
            self._console.print("[green]it works[/]; everything is stopped again")
            return
        self._console.print(f"\nopen        [bold]http://{_HOST}:{port}/[/]")
        self._console.print(f"live view   {self._api.url}/")
        self._console.print(f"the API     {self._api.url}/api/mapping/list")
        self._console.print(f"the command gotunnel status --url {self._api.url}")
        self._console.print("\nCtrl-C stops everything")
        while not self._stop.wait(_POLL_SECONDS):
            self._children.check()
        self._console.print("stopped")

    def _say(self, text: str) -> None:
        """Print the next step, unless a signal has ended the whole."""
        if self._stop.is_set():
            raise StoppedError("stopped before the demonstration was over")
        self._steps += 1
        self._console.print(f"[cyan]{self._steps}.[/] {text}")

    def _until(self, check: Callable[[], bool], what: str) -> None:
        """Wait until `check` is true while all the processes live."""
        tries = int(_READY_SECONDS / _POLL_SECONDS)
        for _ in range(tries):
            self._children.check()
            if check():
                return
            if self._stop.wait(_POLL_SECONDS):
                raise StoppedError("stopped before the demonstration was over")
        raise FailedError(
            f"not within {_READY_SECONDS:g} seconds: {what}\n"
            f"{self._children.last_words()}"
        )

    def _write_files(self) -> None:
        self._say("an agent and a gateway share a token, in a file of mode 0600")
        token = self._folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_urlsafe(32) + "\n", "ascii")
        ports = self._ports
        settings: dict[str, object] = {
            "tunnel": {
                "bind": _HOST,
                "listen_port": ports.link,
                "auth_token_file": str(token),
            },
            "api": {"bind": _HOST, "listen_port": ports.api},
            "database": {"path": str(self._folder / "mappings.db")},
        }
        if ports.public:
            settings["port_range"] = {"from": ports.public, "end": ports.public}
        # JSON is a form that configuration files may have
        (self._folder / "gw.json").write_text(json.dumps(settings, indent=2), "utf-8")
        write_site(self._folder / "site")

    def _start_site(self) -> None:
        port = self._ports.site
        self._say(f"a web site is served at {_HOST}:{port}, for the agent's machine")
        place = f"tcp:{port}:interface={_HOST}"
        self._children.start("web site", "web", "--path=site", f"--listen={place}")
        self._until(lambda: _answers(port), "the web site answers")

    def _start_gateway(self) -> None:
        self._say(
            f"the gateway starts: agents at {_HOST}:{self._ports.link}, "
            f"API at {self._api.url}"
        )
        self._children.start("gateway", "gotunnel", "--config=gw.json")
        self._until(lambda: self._is_fit(needs_agent=False), "the gateway is fit")

    def _start_agent(self) -> None:
        self._say(f"the agent connects to {_HOST}:{self._ports.link}")
        self._children.start(
            "agent",
            "gotunnel-agent",
            f"--server={_HOST}:{self._ports.link}",
            "--name=demo",
            "--token-file=token",
        )
        self._until(lambda: self._is_fit(needs_agent=True), "the agent is connected")

    def _is_fit(self, *, needs_agent: bool) -> bool:
        try:
            health = self._api.health()
        except UnreachableError:
            return False
        if health.status == "unhealthy":
            return False
        return health.tunnel_connected or not needs_agent

    def _map_port(self) -> int:
        body = {
            "port": self._ports.public,
            "target_port": self._ports.site,
            "use_tunnel": True,
            "listen": _HOST,
            "name": "demo",
        }
        self._say(f"a mapping is made: POST /api/mapping/create {json.dumps(body)}")
        row = self._api.create(body)
        self._say(
            f"public port {row.port} now leads to port {row.target_port} of the "
            "agent's machine"
        )
        return row.port

    def _fetch(self, port: int) -> None:
        for name, expected in site_files().items():
            path = "/" if name == "index.html" else f"/{name}"
            content = _get(port, path)
            if content != expected:
                raise FailedError(
                    f"http://{_HOST}:{port}{path} gave {len(content)} bytes that are "
                    f"not the {len(expected)} of {name}"
                )
            self._say(
                f"GET http://{_HOST}:{port}{path}: {len(content)} bytes, the very "
                f"bytes of {name}"
            )


def _answers(port: int) -> bool:
    try:
        _get(port, "/")
    except FailedError:
        return False
    return True


def _get(port: int, path: str) -> bytes:
    connection = HTTPConnection(_HOST, port, timeout=_FETCH_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        content = response.read()
    except (OSError, HTTPException) as fault:
        raise FailedError(f"http://{_HOST}:{port}{path}: {fault!r}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise FailedError(f"http://{_HOST}:{port}{path}: status {response.status}")
    return content
