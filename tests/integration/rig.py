"""A gateway and its agents as real `twistd` processes, and the API to drive them."""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, cast

import yaml
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThread

from tests.integration.ports import take_ports
from tests.integration.processes import Program, ProgramsCase, reactor, until
from tests.integration.traffic import (
    BrokenTransferError,
    ISocket,
    Plan,
    RawVisitor,
    Target,
    VisitorFactory,
    VisitorProtocol,
)

_Visitor = TypeVar("_Visitor", bound=Protocol)

TOKEN: Final = "an-integration-test-token"
PUBLIC_PORTS: Final = 20  # length of the port range of each gateway
HEADERS: Final = {"Content-Type": "application/json", "Accept-Language": "en"}


class Answer(NamedTuple):
    """What the API said.

    Attributes:
        status: HTTP status code.
        body: the parsed JSON.
    """

    status: int
    body: Any


def _ask(
    port: int, method: str, path: str, body: object, more: dict[str, str]
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {**HEADERS, **more})
        response = connection.getresponse()
        return Answer(response.status, json.loads(response.read()))
    finally:
        connection.close()


def merge(into: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Lay `changes` over a configuration, block by block, and return it."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


def script(name: str) -> str:
    """Return the path of a command that was installed with the project."""
    return os.path.join(os.path.dirname(sys.executable), name)


def twistd(plugin: str, config: Path) -> list[str]:
    """Return the command that runs a plugin in the foreground."""
    return [script("twistd"), "-n", "--pidfile=", plugin, "--config", str(config)]


class RigCase(ProgramsCase):
    """Tests over a gateway and an agent that run as they do in earnest.

    Attributes:
        link_port: where the gateway takes agents.
        api_port: where it takes orders.
        first_port: first public port it may open.
    """

    def setUp(self) -> None:
        """Choose the ports and write the token."""
        self._credential: dict[str, str] = {}
        self._visitors: list[Protocol] = []
        self._targets: list[tuple[IListeningPort, Target]] = []
        # cleanups run last to first: the sockets go after the programs
        self.addCleanup(self._close_sockets)
        super().setUp()
        self.choose_ports()
        self.token_file = self.folder / "token"
        self.token_file.write_text(TOKEN)
        self.token_file.chmod(0o600)

    def choose_ports(self) -> None:
        """Choose ports that nothing uses for the next gateway."""
        self.link_port, self.api_port = take_ports(), take_ports()
        self.first_port = take_ports(PUBLIC_PORTS)
        self._next_port = self.first_port

    def write_config(self, name: str, config: dict[str, Any]) -> Path:
        """Write a configuration file and return its path."""
        path = self.folder / name
        path.touch(0o600)  # it may hold a secret
        path.write_text(yaml.safe_dump(config))
        return path

    def gateway_config(self, **changes: Any) -> Path:
        """Write the configuration of the gateway, with changes by block."""
        config = {
            "port_range": {
                "from": self.first_port,
                "end": self.first_port + PUBLIC_PORTS - 1,
            },
            "tunnel": {
                "listen_port": self.link_port,
                "auth_token_file": str(self.token_file),
            },
            "api": {"listen_port": self.api_port},
            "database": {"path": str(self.folder / "mappings.db")},
            "language": "en",
        }
        return self.write_config("gateway.yaml", merge(config, changes))

    def agent_config(self, called: str = "default", /, **changes: Any) -> Path:
        """Write the configuration of an agent, with changes by block."""
        config = {
            "server": f"127.0.0.1:{self.link_port}",
            "name": called,
            "token_file": str(self.token_file),
            "reconnect": {"initial": 0.2, "max": 1, "jitter": 0},
        }
        return self.write_config(f"agent-{called}.yaml", merge(config, changes))

    def launch_gateway(self, *options: str, **started: Any) -> Program:
        """Start the gateway from its file; do not wait for anything."""
        return self.start(
            *twistd("gotunnel", self.folder / "gateway.yaml"),
            *options,
            name="gateway",
            **started,
        )

    def launch_agent(
        self, *options: str, called: str = "default", **started: Any
    ) -> Program:
        """Start an agent from its file; do not wait for anything."""
        return self.start(
            *twistd("gotunnel-agent", self.folder / f"agent-{called}.yaml"),
            *options,
            name=f"agent-{called}",
            **started,
        )

    async def start_gateway(self, **changes: Any) -> Program:
        """Write the configuration, start the gateway and wait until it answers."""
        self.gateway_config(**changes)
        gateway = self.launch_gateway()
        await self.gateway_up(gateway)
        return gateway

    async def start_agent(self, name: str = "default", **changes: Any) -> Program:
        """Write the configuration, start the agent and wait for its link."""
        self.agent_config(name, **changes)
        agent = self.launch_agent(called=name)
        await self.agent_up(agent)
        return agent

    async def start_both(self, **changes: Any) -> tuple[Program, Program]:
        """Start a gateway, with changes by block, and an agent; wait for both."""
        self.gateway_config(**changes)
        self.agent_config()
        gateway, agent = self.launch_gateway(), self.launch_agent()
        await self.gateway_up(gateway)
        await self.agent_up(agent)
        return gateway, agent

    async def start_crowd(self, mode: str, *numbers: int) -> Program:
        """Start many sockets in a process of their own; see `crowd.py`."""
        crowd = self.start(
            sys.executable,
            "-m",
            "tests.integration.crowd",
            mode,
            *map(str, numbers),
            name=mode,
            folder=Path(__file__).parents[2],
        )
        await crowd.says("here" if mode == "visit" else "ready", 90.0)
        return crowd

    async def serve_crowd(self, mode: str, **wish: Any) -> int:
        """Start a crowd as the target of a mapping; return its public port."""
        target_port = take_ports()
        await self.start_crowd(mode, target_port)
        return await self.map(target_port, **wish)

    async def gateway_up(self, gateway: Program, seconds: float = 30.0) -> None:
        """Wait until the gateway answers."""

        async def answers() -> bool:
            self.assertIsNone(gateway.exit_code, gateway.tail())
            return await self.health() is not None

        await until(answers, "the gateway answers", seconds)

    async def agent_up(self, agent: Program, seconds: float = 30.0) -> None:
        """Wait until an agent's link is there."""

        async def connected() -> bool:
            self.assertIsNone(agent.exit_code, agent.tail())
            health = await self.health()
            return health is not None and health["tunnel_connected"]

        await until(connected, "the agent's link is up", seconds)

    async def agent_gone(self, seconds: float = 20.0) -> None:
        """Wait until no agent's link is there."""

        async def apart() -> bool:
            health = await self.health()
            return health is not None and not health["tunnel_connected"]

        await until(apart, "the agent's link is gone", seconds)

    async def health(self) -> Any:
        """Return the answer of `/health`, or None without one."""
        try:
            return (await self.api("GET", "/health")).body
        except (OSError, http.client.HTTPException):
            return None

    async def api(self, method: str, path: str, body: object = None) -> Answer:
        """Ask the API."""
        return await deferToThread(
            _ask, self.api_port, method, path, body, self._credential
        )

    def use_key(self, api_key: str) -> None:
        """Show a key to the API from now on."""
        self._credential = {"X-API-Key": api_key}

    async def order(self, path: str, body: object) -> Any:
        """Post to the API, expect success and return the answer's data."""
        answer = await self.api("POST", path, body)
        self.assertEqual((answer.status, answer.body["success"]), (200, True), answer)
        return answer.body["data"]

    async def map(self, target_port: int | None = None, **wish: Any) -> int:
        """Map the next public port and return it.

        Args:
            target_port: where it leads; None = as the rules decide.
            **wish: further keys of the request.
        """
        if "port" not in wish:
            wish["port"] = self._next_port
            self._next_port += 1
        if target_port is not None:
            wish["target_port"] = target_port
        created = await self.order("/api/mapping/create", wish)
        return int(created["port"])

    async def unmap(self, port: int, **more: Any) -> None:
        """Remove a mapping."""
        await self.order("/api/mapping/remove", {"port": port, **more})

    async def mappings(self) -> list[dict[str, Any]]:
        """Return the rows of the list of mappings."""
        answer = await self.api("GET", "/api/mapping/list")
        self.assertEqual(answer.status, 200, answer)
        rows: list[dict[str, Any]] = answer.body["data"]["mappings"]
        return rows

    def serve(self, target: Target, port: int = 0, address: str = "127.0.0.1") -> int:
        """Serve a target on this machine and return its port."""
        listening = reactor.listenTCP(port, target, backlog=4096, interface=address)
        self._targets.append((listening, target))
        return cast(IPv4Address, listening.getHost()).port

    async def connect(
        self, visitor: _Visitor, port: int, address: str = "127.0.0.1"
    ) -> _Visitor:
        """Connect a visitor to a port of this machine and return it.

        Raises:
            BrokenTransferError: nothing listens there.
        """
        factory = VisitorFactory(visitor)
        reactor.connectTCP(address, port, factory, timeout=10)
        await factory.met
        self._visitors.append(visitor)
        return visitor

    async def exchange(self, port: int, plan: Plan, seconds: float = 30.0) -> None:
        """Make a whole exchange through a public port.

        Raises:
            BrokenTransferError: it was refused or cut off.
            WrongBytesError: it was falsified.
            TimeoutError: it did not end in time.
        """
        visitor = await self.connect(VisitorProtocol(plan), port)
        await visitor.done.addTimeout(seconds, reactor)

    async def refused(self, port: int) -> bool:
        """Tell whether nothing listens on a port."""
        try:
            visitor = await self.connect(RawVisitor(), port)
        except BrokenTransferError:
            return True
        if visitor.connected:
            visitor.transport.abortConnection()
        return False

    async def _close_sockets(self) -> None:
        for listening, target in self._targets:
            await maybeDeferred(listening.stopListening)
            self._visitors += target.connections
        for protocol in self._visitors:
            if protocol.connected:
                cast(ISocket, protocol.transport).abortConnection()
            if isinstance(protocol, VisitorProtocol):
                protocol.done.addErrback(lambda _: None)
        await until(
            lambda: not any(protocol.connected for protocol in self._visitors),
            "the test's own sockets are closed",
        )
