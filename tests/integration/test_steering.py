"""An operator sees who is connected, and steers, with real processes."""

from __future__ import annotations

from tests.integration.processes import until
from tests.integration.rig import RigCase
from tests.integration.traffic import Echo, Plan, RawVisitor, Target

SMALL = Plan(1, 1000, 1000)


class SteeringTests(RigCase):
    """Numbers, connections and agents over the API."""

    async def listed(self, query=""):
        answer = await self.api("GET", f"/api/connections?{query}")
        self.assertEqual(200, answer.status, answer.body)
        return answer.body["data"]["connections"]

    async def test_one_connection_is_seen_and_ended_and_the_other_goes_on(self):
        gateway, _ = await self.start_both()
        port = await self.map(self.serve(Echo(b"hello")), name="echo")
        first = await self.connect(RawVisitor(b"abc"), port)
        second = await self.connect(RawVisitor(b"defg"), port)
        await first.hears(8)
        await second.hears(9)
        rows = await self.listed(f"port={port}&sort=received&order=asc")
        self.assertEqual(
            [(3, 8), (4, 9)], [(r["bytes_sent"], r["bytes_received"]) for r in rows]
        )
        self.assertEqual(
            {"state": "active", "mapping_name": "echo", "agent": "default"},
            {key: rows[0][key] for key in ("state", "mapping_name", "agent")},
        )
        ended = await self.api("DELETE", f"/api/connections/{rows[0]['id']}")
        self.assertEqual(200, ended.status, ended.body)
        await first.ends()
        self.assertTrue(second.connected)
        await gateway.says(f"{rows[0]['id']}: ended by the operator")
        again = await self.api("DELETE", f"/api/connections/{rows[0]['id']}")
        self.assertEqual(404, again.status)
        stats = (await self.api("GET", "/api/stats")).body["data"]
        self.assertEqual({"sent": 7, "received": 17}, stats["bytes"])
        self.assertEqual(1, stats["connections"]["active"])

    async def test_an_agent_is_sent_away_and_comes_again(self):
        await self.start_both()
        port = await self.map(self.serve(Target()))
        answer = await self.api("POST", "/api/agents/default/disconnect", {})
        self.assertEqual((200, 1), (answer.status, answer.body["data"]["links"]))

        async def back():
            stats = (await self.api("GET", "/api/stats")).body["data"]
            return stats["links_total"] == 2 and stats["tunnel_connected"]

        await until(back, "the agent is back", 30)
        await self.exchange(port, SMALL)

    async def test_a_disabled_mapping_lets_nobody_in(self):
        await self.start_both()
        port = await self.map(self.serve(Target()))
        await self.order("/api/mapping/disable", {"port": port})
        self.assertTrue(await self.refused(port))
        await self.order("/api/mapping/enable", {"port": port})
        await self.exchange(port, SMALL)

    async def test_traffic_is_counted_by_port_and_on_the_wire(self):
        await self.start_both()
        port = await self.map(self.serve(Target()))
        await self.exchange(port, SMALL)
        data = (await self.api("GET", "/api/stats/traffic")).body["data"]
        [row] = data["mappings"]
        self.assertEqual(port, row["port"])
        self.assertGreaterEqual(min(row["bytes_sent"], row["bytes_received"]), 1000)
        self.assertGreater(data["tunnel"]["bytes_sent"], row["bytes_sent"])
        self.assertEqual(row["bytes_sent"], data["payload_sent"])
