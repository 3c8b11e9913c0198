"""What mappings ask of their visitors, with real processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.integration.ports import take_ports
from tests.integration.processes import reactor, require, until
from tests.integration.rig import RigCase
from tests.integration.traffic import Plan, RawVisitor, Target

SMALL = Plan(1, 1000, 1000)


class RuleTests(RigCase):
    """Rules of a mapping, changed while it is used."""

    async def test_lists_change_while_others_stay(self):
        await self.start_both()
        port = await self.map(self.serve(Target()))
        here = await self.connect(RawVisitor(), port)
        other = await self.connect(RawVisitor(), port, "127.0.0.1")
        await self.order(
            "/api/mapping/update",
            {"port": port, "access_rule": "whitelist", "access_ips": ["127.0.0.0/8"]},
        )
        await self.exchange(port, SMALL)
        self.assertTrue(here.connected and other.connected)
        await self.order(
            "/api/mapping/update", {"port": port, "access_ips": ["192.0.2.0/24"]}
        )
        await until(lambda: not (here.connected or other.connected), "they are gone")
        visitor = await self.connect(RawVisitor(), port)
        await until(lambda: not visitor.connected, "the visitor is turned away")
        [row] = await self.mappings()
        self.assertEqual(row["rejected"], {"access_rule": 1})
        await self.order(
            "/api/mapping/update", {"port": port, "access_rule": "disabled"}
        )
        await self.exchange(port, SMALL)

    async def test_rules_survive_a_restart(self):
        gateway, agent = await self.start_both()
        port = await self.map(self.serve(Target()), max_connections=1)
        gateway.signal()
        await gateway.ended()
        gateway = self.launch_gateway()
        await self.gateway_up(gateway)
        await self.agent_up(agent)
        first = await self.connect(RawVisitor(), port)
        second = await self.connect(RawVisitor(), port)
        await until(lambda: not second.connected, "the second is turned away")
        self.assertTrue(first.connected)
        await gateway.says(f"max_connections of port {port} is reached")

    async def test_a_mapping_removes_itself(self):
        gateway, _ = await self.start_both()
        port = await self.map(self.serve(Target()), expires_in=1)
        visitor = await self.connect(RawVisitor(), port)
        await gateway.says(f"mapping on port {port} has expired")
        await until(lambda: not visitor.connected, "its visitor is gone")
        self.assertEqual(await self.mappings(), [])
        self.assertTrue(await self.refused(port))

    async def test_bytes_pass_at_the_rate_both_ways(self):
        await self.start_both()
        target = self.serve(Target())
        for way in ({}, {"target_host": "127.0.0.1", "use_tunnel": False}):
            port = await self.map(target, connection_bandwidth_limit=400_000, **way)
            started = reactor.seconds()
            await self.exchange(port, Plan(2, 200_000, 600_000))
            self.assertGreater(reactor.seconds() - started, 1.3)

    async def test_who_is_silent_is_sent_away(self):
        gateway, _ = await self.start_both()
        port = await self.map(self.serve(Target()), idle_timeout=1)
        visitor = await self.connect(RawVisitor(), port)
        await until(lambda: not visitor.connected, "the silent visitor is gone")
        await gateway.says("idle for 1 seconds")


class ProxyProtocolTests(RigCase):
    """nginx and curl speak the PROXY protocol with us."""

    async def prepare(self) -> tuple[int, Path]:
        """Start all; return nginx's port and the log of whom it saw."""
        programs = require("nginx", "curl")
        port = take_ports()
        for folder in ("site", "logs", "temp"):
            (self.folder / folder).mkdir()
        (self.folder / "site" / "page").write_text("hello")
        config = self.folder / "nginx.conf"
        config.write_text(
            f"""
            {"user root;" if os.getuid() == 0 else ""}
            daemon off;
            pid {self.folder}/nginx.pid;
            error_log stderr;
            worker_processes 1;
            events {{ worker_connections 64; }}
            http {{
                log_format seen '$proxy_protocol_addr:$proxy_protocol_port';
                access_log {self.folder}/seen.log seen;
                client_body_temp_path temp/body;
                proxy_temp_path temp/proxy;
                fastcgi_temp_path temp/fastcgi;
                uwsgi_temp_path temp/uwsgi;
                scgi_temp_path temp/scgi;
                server {{
                    listen 127.0.0.1:{port} proxy_protocol;
                    root {self.folder}/site;
                }}
            }}
            """
        )
        self.start(
            *(programs["nginx"], "-p", self.folder, "-c", config),
            *("-e", self.folder / "logs" / "early"),
        )
        self.curl = programs["curl"]
        await self.start_both()
        await until((self.folder / "nginx.pid").exists, "nginx is up")
        return port, self.folder / "seen.log"

    async def test_the_target_learns_where_the_visitor_is_from(self):
        target, seen = await self.prepare()
        ways: tuple[dict[str, Any], ...] = (
            {},
            {"target_host": "127.0.0.1", "use_tunnel": False},
        )
        forms = [(form, way) for form in ("v1", "v2") for way in ways]
        for form, way in forms:
            port = await self.map(target, proxy_protocol=form, **way)
            done = await self.run_program(
                *(self.curl, "-sS", "--local-port", "20000-29999"),
                *("--interface", "127.0.0.1", f"http://127.0.0.1:{port}/page"),
            )
            self.assertEqual(done.text(), "hello")
        await until(lambda: seen.read_text().count("\n") == 4, "nginx has logged")
        for line in seen.read_text().splitlines():
            self.assertRegex(line, r"^127\.0\.0\.1:2[0-9]{4}$")

    async def test_a_balancer_in_front_says_whom_it_forwards(self):
        target, seen = await self.prepare()
        port = await self.map(
            target,
            proxy_protocol="v2",
            trusted_proxies=["127.0.0.0/8"],
            access_rule="blacklist",
            access_ips=["127.0.0.0/8"],
            use_tunnel=False,
            target_host="127.0.0.1",
        )
        url = f"http://127.0.0.1:{port}/page"
        forwarded = "PROXY TCP4 192.0.2.77 203.0.113.1 4711 80\r\n"
        request = f"{forwarded}GET /page HTTP/1.0\r\n\r\n".encode()
        visitor = await self.connect(RawVisitor(), port)
        visitor.transport.write(request)
        await until(lambda: b"hello" in visitor.heard, "nginx answers")
        await until(lambda: "192.0.2.77:4711" in seen.read_text(), "nginx has logged")
        # a balancer for its own address, which the list keeps out
        refused = await self.run_program(
            self.curl, "-sS", "--haproxy-protocol", url, expect=None
        )
        self.assertNotEqual(refused.exit_code, 0)
        [row] = [one for one in await self.mappings() if one["port"] == port]
        self.assertEqual(row["rejected"], {"access_rule": 1})
