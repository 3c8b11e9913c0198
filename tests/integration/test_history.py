"""Counters and the past survive what becomes of the process."""

from __future__ import annotations

from tests.integration.processes import until
from tests.integration.rig import RigCase
from tests.integration.traffic import Plan, Target

BYTES = 100_000
PLAN = Plan(1, BYTES, BYTES)


class RestartTests(RigCase):
    """A record each second."""

    async def lifetime(self):
        """Return what passed ever."""
        stats = await self.api("GET", "/api/stats")
        return stats.body["data"]["lifetime"]

    async def recorded(self, port: int, count: int) -> None:
        """Wait until so many bytes of a port are in the history."""

        async def enough() -> bool:
            answer = await self.api("GET", f"/api/stats/history?port={port}&limit=1000")
            points = answer.body["data"]["points"]
            return bool(sum(point["bytes_sent"] for point in points) >= count)

        await until(enough, f"{count} bytes of port {port} are recorded")

    async def test_a_kill_loses_no_more_than_an_interval(self):
        gateway = await self.start_gateway(stats={"record_interval": 1})
        port = await self.map(
            self.serve(Target()), target_ip="127.0.0.1", use_tunnel=False
        )
        await self.exchange(port, PLAN)
        await self.recorded(port, BYTES)
        await gateway.kill()
        gateway = self.launch_gateway()
        await self.gateway_up(gateway)
        before = await self.lifetime()
        self.assertEqual(before["connections"], 1)
        self.assertGreaterEqual(before["bytes_sent"], BYTES)
        await self.exchange(port, PLAN)
        gateway.signal()  # what is left is written at the stop
        self.assertEqual(await gateway.ended(), 0, gateway.tail())
        gateway = self.launch_gateway()
        await self.gateway_up(gateway)
        after = await self.lifetime()
        self.assertEqual(after["connections"], 2)
        self.assertGreaterEqual(after["bytes_received"], 2 * BYTES)
        await self.recorded(port, 2 * BYTES)
        stats = (await self.api("GET", "/api/stats")).body["data"]
        self.assertEqual(stats["connections"]["total"], 0)
