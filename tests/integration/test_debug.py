"""The debug site and `monitor.sh`, with real processes."""

from __future__ import annotations

import json
import pstats
import re
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.integration.ports import take_ports
from tests.integration.processes import require, until
from tests.integration.rig import RigCase
from tests.integration.traffic import Plan, RawVisitor, Target

MONITOR = Path(__file__).parents[2] / "etc" / "monitor.sh"
VISITORS = 10


class DebugCase(RigCase):
    """A gateway and an agent, both with the debug site."""

    def setUp(self) -> None:
        """Choose two more ports."""
        super().setUp()
        self.curl = require("curl")["curl"]
        self.sites = {"gateway": take_ports(), "agent": take_ports()}

    async def start_shown(self):
        """Start both; return the gateway and the agent."""
        debug = {name: {"enabled": True, "listen_port": p} for name, p in
                 self.sites.items()}  # fmt: skip
        gateway = await self.start_gateway(debug=debug["gateway"])
        return gateway, await self.start_agent(debug=debug["agent"])

    async def fetch(self, path: str, *options: str, end: str = "gateway") -> bytes:
        """Return a page, as curl gets it."""
        done = await self.run_program(
            *(self.curl, "-sS", "--max-time", "20", *options),
            f"http://127.0.0.1:{self.sites[end]}{path}",
        )
        return done.output.read_bytes()

    async def total(self, end: str) -> int:
        """Return what an end waits for."""
        page = (await self.fetch("/debug/pprof/goroutine?debug=2", end=end)).decode()
        [number] = re.findall(r"\Agoroutine profile: total (\d+)\n", page)
        return int(number)


def visitor_gone(visitor: RawVisitor) -> Callable[[], bool]:
    """Return what tells whether a visitor was turned away."""
    return lambda: not visitor.connected


class PageTests(DebugCase):
    """Every page while bytes pass."""

    async def test_every_page_under_traffic(self):
        await self.start_shown()
        port = await self.map(self.serve(Target()))
        self.passing = True
        traffic = Deferred.fromCoroutine(self.keep_passing(port))
        for end in self.sites:
            await self.look_at_all(end)
        self.passing = False
        await traffic

    async def keep_passing(self, port: int) -> None:
        """Exchange bytes until told to stop."""
        while self.passing:
            await self.exchange(port, Plan(1, 400_000, 400_000))

    async def look_at_all(self, end: str) -> None:
        """Fetch each page of one end."""

        async def page(path: str) -> str:
            return (await self.fetch(path, end=end)).decode()

        index = await page("/debug/pprof/")
        for path in ("goroutine", "profile", "heap", "allocs", "trace", "cmdline"):
            self.assertIn(f'"/debug/pprof/{path}"', index)
        full = await page("/debug/pprof/goroutine?debug=2")
        self.assertIn("TCPTransport", full)
        self.assertIn("LinkProtocol._tick", full)
        self.assertIn("thread MainThread:\n  File", full)
        profile = self.folder / "profile"
        profile.write_bytes(
            await self.fetch("/debug/pprof/profile?seconds=0.7", end=end)
        )
        stats = pstats.Stats(str(profile))
        names = {name for _, _, name in stats.stats}  # type: ignore[attr-defined]
        self.assertIn("EPollReactor.doPoll", names)
        drawn = await page("/debug/pprof/profile?seconds=0.7&format=flame")
        self.assertTrue(drawn.startswith("<svg"), drawn[:80])
        self.assertIn(
            ";", await page("/debug/pprof/profile?seconds=0.7&format=collapsed")
        )
        self.assertIn(
            "heap profile: what 0.5 s", await page("/debug/pprof/heap?seconds=0.5")
        )
        self.assertIn(" blocks, ", await page("/debug/pprof/allocs?seconds=0.5"))
        turns = await page("/debug/pprof/trace?seconds=0.5")
        self.assertRegex(turns, r"trace: \d+ turns in 0\.[5-9]")
        self.assertRegex(turns, r"\d  Poller")
        words = (await page("/debug/pprof/cmdline")).split("\0")
        self.assertIn("gotunnel" if end == "gateway" else "gotunnel-agent", words)
        [link] = json.loads(await page("/debug/links"))["links"]
        self.assertEqual((link["agent"], link["protocol"]), ("default", "negotiated"))
        self.assertIn("default/0", await page("/debug/links?format=text"))

    async def test_who_is_refused(self):
        await self.start_shown()
        url = "/debug/pprof/goroutine"
        for status, options in (
            (403, ("-H", "Host: rebound.example")),
            (403, ("-H", "Sec-Fetch-Site: cross-site")),
            (405, ("-X", "POST")),
            (200, ("-H", f"Host: localhost:{self.sites['gateway']}")),
        ):
            said = await self.fetch(
                url, "-o", "/dev/null", "-w", "%{http_code}", *options
            )
            self.assertEqual(said.decode(), str(status), options)
        for path, words in (
            ("/debug/pprof/profile?seconds=1e9", "give a number from 0.1 to 120"),
            ("/debug/pprof/profile?format=x", "format: give pstats or"),
            ("/etc/passwd", "there is no such page"),
        ):
            self.assertIn(words, (await self.fetch(path)).decode())
        # not through a tunnel, either
        for end, by_agent in (("agent", True), ("gateway", False)):
            answer = await self.api(
                "POST",
                "/api/mapping/create",
                {
                    "port": self.first_port + by_agent,
                    "target_host": "127.0.0.1",
                    "target_port": self.sites[end],
                    "use_tunnel": by_agent,
                },
            )
            if by_agent:
                visitor = await self.connect(RawVisitor(), self.first_port + 1)
                visitor.transport.write(b"GET /debug/pprof/ HTTP/1.0\r\n\r\n")
                await until(visitor_gone(visitor), "the visitor is refused")
            else:
                self.assertIn("port of this program itself", str(answer.body))

    async def test_another_address_than_loopback_is_refused(self):
        self.gateway_config(debug={"enabled": True, "bind": "0.0.0.0"})
        gateway = self.launch_gateway()
        self.assertEqual(await gateway.ended(), 1)
        self.assertIn("debug.bind: 0.0.0.0: the debug site shows", gateway.text())

    async def test_it_is_off_by_default(self):
        for process in await self.start_both():
            self.assertNotIn("debug site", process.text())


class IdleTests(DebugCase):
    """What must not grow."""

    async def test_nothing_is_left_of_visitors(self):
        await self.start_shown()
        port = await self.map(self.serve(Target()))
        await self.exchange(port, Plan(1, 1000, 1000))  # what is made once
        before = {end: await self.total(end) for end in self.sites}
        visitors = [await self.connect(RawVisitor(), port) for _ in range(VISITORS)]
        for end in self.sites:

            async def grown(end: str = end) -> bool:
                return await self.total(end) >= before[end] + VISITORS

            await until(grown, f"the {end} has {VISITORS} visitors more")
        for visitor in visitors:
            visitor.transport.loseConnection()
        for number in range(VISITORS):
            await self.exchange(port, Plan(number, 5000, 5000))
        for end in self.sites:

            async def back(end: str = end) -> bool:
                return await self.total(end) <= before[end]

            await until(back, f"the {end} is back at {before[end]}", 40)

    async def test_the_monitor(self):
        require("pgrep", "awk")
        gateway, agent = await self.start_shown()
        urls = {end: f"http://127.0.0.1:{port}" for end, port in self.sites.items()}

        async def look(pid: int) -> str:
            done = await self.run_program(
                *(MONITOR, "-n", "1", "-i", "1", "-s", urls["gateway"]),
                *("-c", urls["agent"], "-p", str(pid)),
            )
            return done.text()

        shown = await look(gateway.pid)
        form = r"\d\d:\d\d:\d\d  Server: \x1b\[3\dm\d+\x1b\[0m  Client: "
        self.assertRegex(shown, form + r"\x1b\[3\dm\d+\x1b\[0m  CPU: \x1b\[3\dm[\d.]+%")
        await agent.kill()
        gateway.signal()
        await gateway.ended()
        shown = await look(gateway.pid)
        self.assertEqual((shown.count("离线"), shown.count("未运行")), (2, 1), shown)
