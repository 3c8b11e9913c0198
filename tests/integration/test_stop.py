"""How the processes end when they are asked to."""

from __future__ import annotations

import signal

from twisted.internet.error import ConnectionDone

from tests.integration.processes import Program, reactor, until
from tests.integration.rig import RigCase
from tests.integration.traffic import (
    BrokenTransferError,
    Echo,
    Plan,
    RawVisitor,
    Target,
    VisitorProtocol,
)

MIB = 1 << 20
SOON = 3.0  # seconds that an end without open streams may take


class StopTests(RigCase):
    """Signals."""

    async def assert_orderly(self, program: Program, seconds: float = SOON) -> None:
        """Check that a process ends soon, with exit code 0 and nothing forgotten."""
        self.assertEqual(await program.ended(seconds), 0, program.tail())
        self.assertNotIn("Unhandled", program.text())

    async def test_sigterm_ends_the_gateway(self):
        """The agent stays, and finds the next gateway."""
        gateway, agent = await self.start_both()
        await self.exchange(await self.map(self.serve(Target())), Plan(1, 10, 10))
        gateway.signal(signal.SIGTERM)
        await self.assert_orderly(gateway)
        self.assertTrue(await self.refused(self.link_port))
        self.assertIsNone(agent.exit_code)
        await self.gateway_up(self.launch_gateway())
        await self.agent_up(agent)

    async def test_sigterm_ends_the_agent(self):
        _gateway, agent = await self.start_both()
        await self.exchange(await self.map(self.serve(Target())), Plan(1, 10, 10))
        agent.signal(signal.SIGTERM)
        await self.assert_orderly(agent)
        await self.agent_gone()

    async def test_sigint_ends_both(self):
        gateway, agent = await self.start_both()
        agent.signal(signal.SIGINT)
        gateway.signal(signal.SIGINT)
        await self.assert_orderly(agent)
        await self.assert_orderly(gateway)

    async def test_sigterm_ends_an_agent_without_gateway(self):
        self.agent_config()
        agent = self.launch_agent()
        await agent.says(str(self.link_port))
        agent.signal()
        await self.assert_orderly(agent)

    async def test_running_transfers_are_finished(self):
        """The gateway takes no new visitor and serves those it has to their end."""
        gateway, agent = await self.start_both()
        target = Target()
        target_port = self.serve(target)
        port = await self.map(target_port)
        direct = await self.map(target_port, target_host="127.0.0.1", use_tunnel=False)
        visitor, other = [
            await self.connect(
                VisitorProtocol(Plan(1, 0, 64 * MIB), reading=False), mapped
            )
            for mapped in (port, direct)
        ]
        await until(lambda: len(target.connections) == 2, "both are served")
        gateway.signal()

        async def closed() -> bool:
            return await self.refused(port) and await self.refused(direct)

        await until(closed, "no new visitor is taken")
        self.assertIsNone(gateway.exit_code)
        for waiting in (visitor, other):
            waiting.resume()
            await waiting.done.addTimeout(30, reactor)
        await self.assert_orderly(gateway)
        self.assertIsNone(agent.exit_code)

    async def test_agent_finishes_running_transfers(self):
        _gateway, agent = await self.start_both()
        target = Target()
        port = await self.map(self.serve(target))
        visitor = await self.connect(
            VisitorProtocol(Plan(1, 0, 64 * MIB), reading=False), port
        )
        await until(lambda: target.connections, "the visitor is served")
        agent.signal()
        await self.agent_gone_or_leaving(port)
        self.assertIsNone(agent.exit_code)
        visitor.resume()
        await visitor.done.addTimeout(30, reactor)
        await self.assert_orderly(agent)

    async def agent_gone_or_leaving(self, port: int) -> None:
        """Wait until new visitors are turned away."""

        async def turned_away() -> bool:
            try:
                await self.exchange(port, Plan(1, 1, 1))
            except BrokenTransferError:
                return True
            return False

        await until(turned_away, "new visitors are turned away")

    async def test_drain_ends_in_time(self):
        """A stream that never ends is reset when the time to finish has passed."""
        gateway = await self.start_gateway(shutdown_timeout=1)
        await self.start_agent()
        visitor = await self.connect(
            RawVisitor(b"a"), await self.map(self.serve(Echo()))
        )
        await visitor.hears(1)
        gateway.signal()
        end = await visitor.ends(SOON)
        self.assertIsNone(end.check(ConnectionDone), end)
        await self.assert_orderly(gateway)

    async def test_second_signal_forces(self):
        """It does not wait for the streams that the first one waits for."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gateway, agent = await self.start_both()
            visitor = await self.connect(
                RawVisitor(b"a"), await self.map(self.serve(Echo()))
            )
            await visitor.hears(1)
            gateway.signal(number)
            await until(self.link_port_closed, "the gateway is stopping")
            self.assertIsNone(gateway.exit_code)
            gateway.signal(number)
            await gateway.ended(SOON)
            await visitor.ends(SOON)
            await agent.kill()
            (self.folder / "mappings.db").unlink()

    async def link_port_closed(self) -> bool:
        """Tell whether agents are taken no more."""
        return await self.refused(self.link_port)
