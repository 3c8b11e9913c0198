"""The stream of events of a real gateway, read by curl and by the command."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.certificates import Authority
from tests.integration.ports import take_ports
from tests.integration.processes import Program, require
from tests.integration.rig import RigCase, script
from tests.integration.traffic import Plan, Target

KEY = "a-key-for-those-who-follow"
SMALL = Plan(1, 1000, 1000)


def told(program: Program) -> list[tuple[str, dict[str, Any]]]:
    """Return topic and content of each event that curl has written."""
    found = []
    for block in program.text().split("\n\n"):
        lines = dict(
            line.split(": ", 1) for line in block.split("\n") if ": " in line[1:]
        )
        if "data" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


class StreamTests(RigCase):
    """curl -N."""

    async def follow(self, query: str = "", *options: str) -> Program:
        """Start curl on the stream and wait until it has caught up."""
        curl = require("curl")["curl"]
        url = f"{self.scheme}://127.0.0.1:{self.api_port}/api/events{query}"
        reader = self.start(curl, "-sSN", *options, url, name="curl")
        await reader.says(": now")
        return reader

    scheme = "http"

    async def test_a_visit_from_the_mapping_to_the_stop(self):
        gateway = await self.start_gateway()
        reader = await self.follow()
        agent = await self.start_agent()
        port = await self.map(self.serve(Target()))
        await self.exchange(port, SMALL)
        await reader.says("event: connection", times=2)
        await self.order("/api/ban/add", {"network": "192.0.2.0/24"})
        await reader.says("event: ban")
        agent.signal()
        await agent.ended()
        await reader.says('"left"')
        gateway.signal()
        self.assertEqual(await gateway.ended(), 0)
        self.assertEqual(await reader.ended(), 0, reader.tail())
        found = told(reader)
        self.assertEqual(
            [f"{topic} {fields['action']}" for topic, fields in found],
            [
                *("link arrived", "link up", "mapping created"),
                *("connection opened", "connection closed", "ban added"),
                *("link down", "link left", "gateway draining", "gateway stopped"),
            ],
        )
        closed = found[4][1]
        self.assertEqual(
            (closed["port"], closed["agent"], closed["outcome"]),
            (port, "default", "finished"),
        )
        for way in ("bytes_sent", "bytes_received"):
            self.assertIn(closed[way], range(1000, 1100))  # with the plan's own

    async def test_over_tls_with_a_key(self):
        self.scheme = "https"
        authority = Authority(self.folder / "certs")
        cert_file, key_file = authority.issue("gateway", "127.0.0.1")
        files = {"enabled": True, "cert_file": cert_file, "key_file": key_file}
        self.gateway_config(
            api={"tls": files}, security={"api": {"api_key": KEY}}, tunnel={}
        )
        gateway = self.launch_gateway()
        await gateway.says("gateway ready")
        trust = ("--cacert", authority.ca_file)
        reader = await self.follow("?recent=9", *trust, "-H", f"X-API-Key: {KEY}")
        await reader.says('"started"')
        curl = require("curl")["curl"]
        url = f"https://127.0.0.1:{self.api_port}/api/events"
        refused = await self.run_program(curl, "-s", *trust, url)
        self.assertIn("Unauthorized", refused.text())
        await reader.says("event: refusal")
        gateway.signal()
        self.assertEqual(await reader.ended(), 0, reader.tail())
        self.assertEqual(await gateway.ended(), 0)

    async def test_the_command_goes_on_after_a_restart(self):
        gateway = await self.start_gateway()
        follower = self.start(
            script("gotunnel"),
            *("events", "-f", "--recent", "1", "--topics", "mapping,gateway"),
            *("--url", f"http://127.0.0.1:{self.api_port}"),
        )
        await follower.says("gateway started mappings=0", 40)
        port = await self.map(80)
        last = self.start(
            script("gotunnel"),
            *("events", "--json", "--topics", "mapping"),
            *("--url", f"http://127.0.0.1:{self.api_port}"),
        )
        self.assertEqual(await last.ended(), 0)
        self.assertEqual(json.loads(last.text())["action"], "created")
        await gateway.kill()
        gateway = self.launch_gateway()
        await follower.says("gateway started mappings=1", 40)
        self.assertIn("events were lost before what follows", follower.text())
        await self.unmap(port)
        await follower.says(f"mapping removed port={port}")
        follower.signal(signal.SIGINT)
        self.assertEqual(await follower.ended(), 0)

    async def test_the_port_for_probes(self):
        port = take_ports()
        gateway = await self.start_gateway(health={"listen_port": port})
        curl = require("curl")["curl"]
        ask = (curl, "-s", "-w", " %{http_code}")
        for path, words in (
            ("/livez", '{"status":"alive"} 200'),
            ("/readyz", '"status":"ready"'),
            ("/health", '"name":"loop","status":"healthy"'),
            ("/api/mapping/list", "404"),
        ):
            found = await self.run_program(*ask, f"http://127.0.0.1:{port}{path}")
            self.assertIn(words, found.text())
        gateway.signal()
        self.assertEqual(await gateway.ended(), 0)
