"""Either end is killed in the middle of transfers, and everything comes back."""

from __future__ import annotations

from http.client import HTTPException

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.error import ConnectionDone

from tests.integration.processes import until
from tests.integration.rig import RigCase
from tests.integration.traffic import (
    BrokenTransferError,
    Plan,
    RawVisitor,
    Target,
    VisitorProtocol,
)

ENDLESS = 1 << 40
RECOVERY_SECONDS = 15.0


class OutageTests(RigCase):
    """`kill -9`, then a restart."""

    async def transfers(self, port: int) -> list[VisitorProtocol]:
        """Begin two downloads and two uploads, and wait until all are under way."""
        downloads = [Plan(1, 0, ENDLESS), Plan(2, 1000, ENDLESS)]
        uploads = [Plan(3, ENDLESS, 0), Plan(4, ENDLESS, 1000)]
        before = self.target.received
        visitors = [
            await self.connect(VisitorProtocol(plan), port)
            for plan in downloads + uploads
        ]
        await until(
            lambda: all(visitor.got > 1 << 20 for visitor in visitors[:2]),
            "the downloads are under way",
        )
        await until(
            lambda: self.target.received - before > 1 << 21,
            "the uploads are under way",
        )
        return visitors

    async def start_all(self) -> int:
        """Start everything; return the public port of a target."""
        self.target = Target()
        self.gateway, self.agent = await self.start_both()
        return await self.map(self.serve(self.target))

    async def assert_broken(self, visitors: list[VisitorProtocol]) -> None:
        """Check that each transfer has ended, as a failure and without a wrong byte."""
        for visitor in visitors:
            with self.assertRaises(BrokenTransferError):
                await visitor.done

    async def assert_served(self, port: int) -> None:
        """Check that new visitors are served within seconds."""

        async def served() -> bool:
            try:
                await self.exchange(port, Plan(9, 100_000, 100_000))
            except BrokenTransferError:
                return False
            return True

        await until(served, "a new transfer works", RECOVERY_SECONDS)

    async def test_agent_is_killed(self):
        """Visitors see a reset, not an end that a whole answer could have."""
        port = await self.start_all()
        visitors = await self.transfers(port)
        await self.agent.kill()
        await self.assert_broken(visitors)
        for visitor in visitors:
            assert visitor.end is not None
            self.assertIsNone(visitor.end.check(ConnectionDone), visitor.end)
        await self.agent_gone()
        await self.agent_up(self.launch_agent())
        await self.assert_served(port)
        [row] = await self.mappings()
        await until(lambda: not self.target.connections, "the target is left alone")
        self.assertEqual((row["port"], row["state"]), (port, "listening"))

    async def test_gateway_is_killed(self):
        """The agent leaves its targets, comes back by itself, and is used again.

        A target that had heard its visitor out is closed in order, the others are
        reset; the simulation tells them apart.
        """
        port = await self.start_all()
        visitors = await self.transfers(port)
        await self.gateway.kill()
        await self.assert_broken(visitors)
        await until(lambda: not self.target.connections, "the target is left alone")
        await self.gateway_up(self.launch_gateway())
        await self.agent_up(self.agent, RECOVERY_SECONDS)
        await self.assert_served(port)

    async def test_both_are_killed(self):
        port = await self.start_all()
        visitors = await self.transfers(port)
        await gatherResults(
            ensureDeferred(end.kill()) for end in (self.gateway, self.agent)
        )
        await self.assert_broken(visitors)
        await self.gateway_up(self.launch_gateway())
        await self.agent_up(self.launch_agent())
        await self.assert_served(port)

    async def test_restart_restores_every_mapping(self):
        """All of them are listened on again, as they were, and lead somewhere."""
        port = await self.start_all()
        target_port = self.serve(Target())
        for number in range(8):
            await self.map(
                target_port, name=f"number {number}", labels={"n": str(number)}
            )
        direct = await self.map(target_port, target_host="127.0.0.1", use_tunnel=False)
        before = await self.mappings()
        await self.gateway.kill()
        self.assertTrue(await self.refused(port))
        await self.gateway_up(self.launch_gateway())
        after = await self.mappings()
        self.assertEqual(len(after), 10)
        for row in (*before, *after):  # its agent may not be back yet
            for key in ("state", "error", "unreachable_cause"):
                self.assertIn(key, row)
                del row[key]
            row.pop("unreachable_since_unix")
        self.assertEqual(after, before)
        await self.exchange(direct, Plan(1, 10, 10))
        await self.agent_up(self.agent, RECOVERY_SECONDS)
        for row in after:
            await self.exchange(row["port"], Plan(row["port"], 1000, 1000))

    async def test_killed_while_mappings_are_made(self):
        """What was acknowledged is there; the rest is there or not, never half."""
        await self.start_all()
        acknowledged: list[int] = []
        wanted = range(self.first_port + 1, self.first_port + 20)

        async def create(port: int) -> None:
            try:
                await self.map(22, port=port)
            except (OSError, HTTPException):  # also an answer that is cut off
                return
            acknowledged.append(port)

        creating = [ensureDeferred(create(port)) for port in wanted]
        await until(lambda: len(acknowledged) >= 3, "some mappings are made")
        await self.gateway.kill()
        await gatherResults(creating)
        await self.gateway_up(self.launch_gateway())
        rows = await self.mappings()
        ports = {row["port"] for row in rows}
        self.assertLessEqual(set(acknowledged), ports)
        self.assertLessEqual(ports - {self.first_port}, set(wanted))
        for row in rows:
            self.assertIn(row["state"], ("listening", "unreachable"))  # by its agent

    async def test_agent_is_killed_while_a_visitor_waits(self):
        """A visitor that comes between two links is turned away, not kept."""
        port = await self.start_all()
        await self.agent.kill()
        await self.agent_gone()
        visitor = await self.connect(RawVisitor(b"hello"), port)
        end = await visitor.ends(5)
        self.assertIsNone(end.check(ConnectionDone), end)
