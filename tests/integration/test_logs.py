"""The logs of real processes: one visitor on both ends, levels, and rotation."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from typing import Any

from tests.integration.processes import until
from tests.integration.rig import RigCase
from tests.integration.traffic import Plan, Target


class LogTests(RigCase):
    """What an operator looks for."""

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return what a log file of JSON holds."""
        text = (self.folder / name).read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def found(self, name: str, words: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            one
            for one in self.records(name)
            if words in one["message"] and fields.items() <= one.items()
        ]

    async def test_one_visitor_is_followed_on_both_ends_and_over_the_api(self):
        log = {"format": "json", "levels": {"gateway.agent.targets": "debug"}}
        place = {name: str(self.folder / name) for name in ("gw.log", "a.log")}
        access = str(self.folder / "access.log")
        await self.start_gateway(
            log={
                "format": "json",
                "file": place["gw.log"],
                "access": "combined",
                "access_file": access,
            }
        )
        await self.start_agent(log={**log, "file": place["a.log"]})
        port = await self.map(self.serve(Target()), name="my target")
        await self.exchange(port, Plan(1, 10_000, 100_000))
        await until(
            lambda: self.found("gw.log", "connection closed"), "the closing line"
        )
        await until(lambda: self.found("a.log", "connection closed"), "the agent's")
        (closed,) = self.found("gw.log", "connection closed", port=port)
        trace = closed["trace"]
        sent, received = closed["bytes_sent"], closed["bytes_received"]
        self.assertGreater(received, 100_000)
        self.assertEqual(("gotunnel", "INFO"), (closed["service"], closed["level"]))
        lines = self.found("a.log", "", trace=trace)
        self.assertEqual(
            ["dialling", "connection opened", "connection closed"],
            [one["message"].partition(":")[0] for one in lines],
        )
        for one in (closed, lines[-1]):
            self.assertEqual(
                (sent, received), (one["bytes_sent"], one["bytes_received"])
            )
            self.assertEqual(closed["visitor"], one["visitor"])
            self.assertGreater(one["duration_seconds"], 0)
        answer = await self.api("GET", f"/api/logs?trace={trace}")
        said = [one["message"] for one in answer.body["data"]["lines"]]
        self.assertEqual(2, len(said))
        self.assertEqual(closed["message"], said[1])
        await until(lambda: Path(access).read_text("utf-8"), "its line")
        (line,) = Path(access).read_text("utf-8").splitlines()
        fields = shlex.split(line)
        self.assertEqual(closed["visitor"], fields[0])
        self.assertEqual([str(port), "my target", "default"], fields[3:6])
        self.assertEqual([str(sent), str(received)], fields[9:11])
        self.assertEqual(trace, fields[-1])

    async def test_files_are_opened_anew_and_levels_read_anew_by_signals(self):
        path = self.folder / "a.log"
        await self.start_gateway()
        agent = await self.start_agent(log={"file": str(path)})
        await until(lambda: "agent link up" in path.read_text("utf-8"), "the link")
        os.rename(path, self.folder / "a.log.old")
        agent.signal(signal.SIGUSR1)
        agent.signal(signal.SIGUSR2)
        await until(
            lambda: path.exists() and "for 15 minutes" in path.read_text("utf-8"),
            "the new file",
        )
        agent.signal(signal.SIGUSR2)
        await until(lambda: "as configured again" in path.read_text("utf-8"), "the end")
        self.agent_config(log={"file": str(path), "levels": ["gateway.agent=debug"]})
        agent.signal(signal.SIGHUP)
        await until(
            lambda: "levels of the log read anew" in path.read_text("utf-8"), "levels"
        )
        port = await self.map(self.serve(Target()))
        await self.exchange(port, Plan(1, 100, 100))
        await until(lambda: "[DEBUG]" in path.read_text("utf-8"), "a line at debug")
        self.agent_config(log={"file": str(path), "levels": ["gateway.agent=loud"]})
        agent.signal(signal.SIGHUP)
        await until(lambda: "stay as they are" in path.read_text("utf-8"), "a fault")
