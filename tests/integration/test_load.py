"""Many streams at once, and what they leave behind: nothing."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterable

from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.trial.unittest import SkipTest

from tests.integration.processes import (
    Program,
    pause,
    raise_descriptor_limit,
    reactor,
    until,
)
from tests.integration.rig import RigCase
from tests.integration.traffic import (
    BrokenTransferError,
    Echo,
    Plan,
    RawVisitor,
    Target,
    VisitorProtocol,
)

IDLE_STREAMS = 10_000
IDLE_BYTES = 12 << 10  # memory that an idle stream may cost each process
IDLE_SECONDS = 6.0
# resident memory of a process that has just started and serves nobody
IDLE_AGENT_BYTES = 66 << 20
IDLE_GATEWAY_BYTES = 82 << 20
IDLE_SHARE = 0.02  # of a core that each process may use while nothing happens
# what stalled visitors may cost each process: their windows grow while kernels still
# take what they do not read; all of it would be 640 MiB
STALLED_BYTES = 32 << 20
MIB = 1 << 20


class LoadTests(RigCase):
    """A gateway and an agent under load."""

    async def settle(self, counts: dict[Program, int]) -> None:
        """Wait until each process holds as many descriptors as before."""

        def settled() -> bool:
            return all(program.descriptors() <= n for program, n in counts.items())

        names = ", ".join(f"{program.name} {n}" for program, n in counts.items())
        await until(settled, f"as few descriptors as before: {names}")

    def descriptors(self, programs: Iterable[Program]) -> dict[Program, int]:
        """Return how many descriptors each process holds."""
        return {program: program.descriptors() for program in programs}

    async def no_streams(self) -> None:
        """Wait until the gateway counts no visitor and no stream."""

        async def empty() -> bool:
            rows = await self.mappings()
            agents = (await self.api("GET", "/api/agents")).body["data"]["agents"]
            streams = sum(agent["streams"] for agent in agents)
            return streams == 0 and all(row["connections"] == 0 for row in rows)

        await until(empty, "the gateway's tables are empty")

    async def test_an_idle_process_stays_small(self):
        gateway, agent = await self.start_both()
        self.assertLess(agent.memory_bytes(), IDLE_AGENT_BYTES)
        self.assertLess(gateway.memory_bytes(), IDLE_GATEWAY_BYTES)

    async def test_hundred_streams_of_random_sizes(self):
        """Every byte of every stream arrives, and every descriptor is given back."""
        programs = await self.start_both()
        port = await self.map(self.serve(Target()))
        await self.exchange(port, Plan(0, 10, 10))
        await self.no_streams()
        before = self.descriptors(programs)
        sizes = random.Random(20241121)
        await gatherResults(
            ensureDeferred(self.exchange(port, self.random_plan(seed, sizes), 60))
            for seed in range(100)
        )
        await self.no_streams()
        await self.settle(before)

    @staticmethod
    def random_plan(seed: int, sizes: random.Random) -> Plan:
        """Return an exchange of up to 2 MiB each way, most of them small."""
        return Plan(
            seed,
            int(2 ** sizes.uniform(0, 21)),
            int(2 ** sizes.uniform(0, 21)),
        )

    async def test_ten_thousand_idle_streams(self):
        """They cost little memory and no time, stay alive, and leave nothing."""
        if raise_descriptor_limit() < IDLE_STREAMS + 500:
            raise SkipTest(f"fewer than {IDLE_STREAMS + 500} open files are allowed")
        limits = {"connections": 2 * IDLE_STREAMS}
        programs = await self.start_both(limits=limits)
        port = await self.serve_crowd("echo")
        warm = await self.start_crowd("visit", port, 20)
        await warm.kill()
        await self.no_streams()
        before = self.descriptors(programs)
        memory = {program: program.memory_bytes() for program in programs}
        visitors = await self.start_crowd("visit", port, IDLE_STREAMS)
        for program in programs:
            each = (program.memory_bytes() - memory[program]) / IDLE_STREAMS
            line = f"{program.name}: {each / 1024:.1f} KiB an idle stream"
            print(line, file=sys.stderr)  # noqa: T201
            self.assertLess(each, IDLE_BYTES, program.name)
        spent = {program: program.cpu_seconds() for program in programs}
        await pause(IDLE_SECONDS)
        for program in programs:
            share = (program.cpu_seconds() - spent[program]) / IDLE_SECONDS
            self.assertLessEqual(share, IDLE_SHARE, program.name)
        visitors.signal(signal.SIGUSR1)
        await visitors.says("here", 60.0, times=2)
        await visitors.kill()
        await self.no_streams()
        await self.settle(before)

    async def arrive(self, port: int, count: int) -> list[RawVisitor]:
        """Let visitors come, a few hundred at a time, and hear one byte each."""
        visitors: list[RawVisitor] = []
        for start in range(0, count, 200):
            batch = [RawVisitor(b"a") for _ in range(min(200, count - start))]
            await gatherResults(ensureDeferred(self.connect(v, port)) for v in batch)
            for visitor in batch:
                self.assertEqual(await visitor.hears(1), b"a")
            visitors += batch
        return visitors

    async def talk(self, visitors: list[RawVisitor]) -> None:
        """Let each visitor say a word, hear it back and leave."""
        for visitor in visitors:
            visitor.transport.write(b"still here")
        for visitor in visitors:
            self.assertEqual(await visitor.hears(10), b"still here")
            visitor.transport.loseConnection()
        for visitor in visitors:
            await visitor.ends()

    async def test_visitor_that_never_reads_slows_no_other(self):
        """Ten stalled downloads cost bounded memory; others run as before."""
        programs = await self.start_both()
        port = await self.map(self.serve(Target()))
        plan = Plan(1, 8 * MIB, 8 * MIB)
        await self.exchange(port, plan)
        alone = await self.seconds_of(port, plan)
        memory = {program: program.memory_bytes() for program in programs}
        stalled = [
            await self.connect(
                VisitorProtocol(Plan(n, 0, 64 * MIB), reading=False), port
            )
            for n in range(10)
        ]
        crowded = await self.seconds_of(port, plan)
        self.assertLess(crowded, 5 * alone + 2)
        for program in programs:
            grown = program.memory_bytes() - memory[program]
            self.assertLess(grown, STALLED_BYTES, program.name)
        stalled[0].resume()
        await stalled[0].done.addTimeout(30, reactor)
        for visitor in stalled[1:]:
            visitor.transport.abortConnection()
            with self.assertRaises(BrokenTransferError):
                await visitor.done
        await self.no_streams()

    async def seconds_of(self, port: int, plan: Plan) -> float:
        """Return how long an exchange takes."""
        started = reactor.seconds()
        await self.exchange(port, plan)
        return reactor.seconds() - started

    async def test_visitors_that_reset_leave_nothing(self):
        """Resets before, while and after the target is reached are all cleaned up."""
        programs = await self.start_both()
        port = await self.map(self.serve(Echo()))
        await self.talk(await self.arrive(port, 5))
        await self.no_streams()
        before = self.descriptors(programs)
        for number in range(100):
            visitor = await self.connect(RawVisitor(b"x" * (number % 3)), port)
            if number % 2:
                visitor.transport.abortConnection()
            else:
                visitor.transport.loseConnection()
        await self.no_streams()
        await self.settle(before)
        await self.exchange(await self.map(self.serve(Target())), Plan(1, 100, 100))


class FewDescriptorsTests(RigCase):
    """A gateway that may open no more than 64 descriptors."""

    async def test_gateway_outlives_too_many_visitors(self):
        """It turns some away, and serves again when they are gone."""
        self.gateway_config()
        self.agent_config()
        gateway = self.launch_gateway(descriptors=64)
        await self.gateway_up(gateway)
        await self.agent_up(self.launch_agent())
        target_port = self.serve(Echo())
        tunnel = await self.map(target_port)
        direct = await self.map(target_port, target_host="127.0.0.1", use_tunnel=False)
        visitors = [RawVisitor(b"a") for _ in range(200)]
        for number, visitor in enumerate(visitors):
            await self.connect(visitor, (tunnel, direct)[number % 2])
        await until(
            lambda: any(visitor.heard for visitor in visitors), "some are served"
        )
        for visitor in visitors:
            if visitor.connected:
                visitor.transport.abortConnection()
        await until(self.health, "the API answers again")
        port = await self.map(self.serve(Target()))
        await self.exchange(port, Plan(1, 100_000, 100_000))
        for mapped in (tunnel, direct):

            async def served(port: int = mapped) -> bool:
                visitor = await self.connect(RawVisitor(b"b"), port)
                return await visitor.hears(1) == b"b"

            await until(served, "visitors that come later are served")
        self.assertIsNone(gateway.exit_code)
