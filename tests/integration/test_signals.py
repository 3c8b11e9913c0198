"""Signals, terminals, folders and pid files of real processes."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from functools import partial
from pathlib import Path

from tests.integration.ports import take_ports
from tests.integration.processes import Program, until
from tests.integration.rig import RigCase, script, twistd

CHECKOUT = Path(__file__).parents[2]
EARLY = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class EarlyTests(RigCase):
    """Signals before the process is ready: it waits for its configuration file."""

    async def survives(self, file: Path, command: list[str], ready: str) -> Program:
        """Start a command, send it signals while it reads `file`, and let it go on."""
        text = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        program = self.start(*command)
        opened: list[int] = []

        def is_read() -> bool:
            try:
                opened.append(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return False
            return True

        await until(is_read, "the configuration is read", 60)
        for number in EARLY:
            program.signal(number)
        file.unlink()
        file.write_bytes(text)
        os.write(opened[0], text)
        os.close(opened[0])
        await program.says(ready, 60)
        return program

    async def test_a_gateway_reloads_when_it_is_up(self):
        command = [script("gotunnel"), "server", "--config", "gateway.yaml"]
        gateway = await self.survives(self.gateway_config(), command, "gateway ready")
        await gateway.says("SIGHUP: reading anew")
        await gateway.says("everything is logged for 15 minutes")

    async def test_an_agent(self):
        config = self.agent_config()
        agent = await self.survives(config, twistd("gotunnel-agent", config), "starts")
        await agent.says("SIGHUP: reading anew")

    async def test_a_forwarder(self):
        place, target = take_ports(), take_ports()
        config = self.write_config(
            "forwards.yaml",
            {
                "protocols": [
                    {
                        "name": "tcp",
                        "listen": f"127.0.0.1:{place}",
                        "target": f"127.0.0.1:{target}",
                    }
                ]
            },
        )
        command = [script("gotunnel"), "proxy", "--config", str(config)]
        await self.survives(config, command, "forwarding 127.0.0.1")


class TerminalTests(RigCase):
    """The terminal that a process was started from is closed."""

    async def on_terminal(self, *command: str) -> tuple[Program, int]:
        """Start a command on a terminal; return who holds that, and its process id."""
        holder = self.start(
            sys.executable,
            "-m",
            "tests.integration.terminal",
            *command,
            name="terminal",
            env={"PYTHONPATH": str(CHECKOUT)},
        )
        await holder.says("started ")
        pid = int(holder.text().split("started ")[1].split()[0])
        self.addCleanup(self.kill, holder, pid)
        return holder, pid

    def kill(self, holder: Program, pid: int) -> None:
        """End what runs on a terminal, which is in a session of its own."""
        if "ended" not in holder.text():
            os.kill(pid, signal.SIGKILL)

    async def test_it_ends_with_its_terminal(self):
        self.gateway_config()
        forwarded = take_ports()
        for command, port in (
            (["server", "--config", "gateway.yaml"], self.api_port),
            (
                ["forward", "--listen", f":{forwarded}", "--target", "[::1]:9"],
                forwarded,
            ),
        ):
            holder, _ = await self.on_terminal(script("gotunnel"), *command)
            await until(partial(self.serves, port), "it serves", 60)
            holder.signal(signal.SIGUSR1)
            await holder.says("ended 0", 30)

    async def test_an_agent_does_even_without_a_gateway(self):
        config = self.agent_config(log={"file": str(self.folder / "log")})
        command = [script("gotunnel"), "agent", "--config", str(config)]
        holder, _ = await self.on_terminal(*command)
        log = self.folder / "log"
        await until(lambda: log.exists() and "next try" in self.log(), "it tries", 60)
        holder.signal(signal.SIGUSR1)
        await holder.says("ended 0", 30)

    async def serves(self, port: int) -> bool:
        return not await self.refused(port)

    async def test_while_the_terminal_is_there_it_reloads(self):
        config = self.gateway_config(log={"file": str(self.folder / "log")})
        holder, pid = await self.on_terminal(*twistd("gotunnel", config))
        await until(self.health, "it answers", 60)
        os.kill(pid, signal.SIGHUP)
        await until(lambda: "reading anew" in self.log(), "it reloads")
        os.kill(pid, signal.SIGTERM)
        await holder.says("ended 0", 30)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    async def test_under_nohup_it_stays_and_reloads_later(self):
        config = self.gateway_config(log={"file": str(self.folder / "log")})
        holder, pid = await self.on_terminal("nohup", *twistd("gotunnel", config))
        await until(self.health, "it answers", 60)
        holder.signal(signal.SIGUSR1)
        await holder.says("closed")
        await until(lambda: "running on" in self.log(), "it notices")
        self.assertNotIn("reading anew", self.log())
        os.kill(pid, signal.SIGHUP)
        await until(lambda: "reading anew" in self.log(), "it reloads")
        self.assertIsNotNone(await self.health())
        os.kill(pid, signal.SIGTERM)
        await holder.says("ended 0", 30)


class FolderTests(RigCase):
    """Relative names of files, and pid files that are left over."""

    async def test_names_start_from_the_folder_of_the_start(self):
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        self.gateway_config(
            database={"path": "data/mappings.db"},
            tunnel={"auth_token_file": "token"},
            log={"file": "gateway.log"},
        )
        options = ["-n", "--pidfile=", f"--rundir={elsewhere}", "gotunnel"]
        gateway = self.start(
            script("twistd"), *options, "--config", "gateway.yaml", name="gateway"
        )
        await self.gateway_up(gateway)
        self.assertTrue((self.folder / "data" / "mappings.db").exists())
        config = self.folder / "gateway.yaml"
        config.write_text(config.read_text() + "log_level: debug\n")
        log = self.folder / "gateway.log"
        log.rename(self.folder / "before.log")
        gateway.signal(signal.SIGHUP)
        await until(
            lambda: (
                log.exists() and "reloaded: log_level is applied" in log.read_text()
            ),
            "it reads the same file anew",
        )
        self.assertEqual([], os.listdir(elsewhere))

    async def test_a_pid_file_with_its_own_number_is_no_other_process(self):
        """As in a container, where each process is number 1, after a kill."""
        config = self.gateway_config()
        command = [script("twistd"), "-n", "gotunnel", "--config", str(config)]
        gateway = self.start(
            "sh", "-c", f"echo $$ > twistd.pid; exec {shlex.join(command)}"
        )
        await self.gateway_up(gateway)
        written = (self.folder / "twistd.pid").read_text()
        self.assertEqual(gateway.pid, int(written))

    async def test_a_pid_file_of_a_running_gateway_is_respected(self):
        config = self.gateway_config()
        command = [script("twistd"), "-n", "gotunnel", "--config", str(config)]
        gateway = self.start(*command)
        await self.gateway_up(gateway)
        second = await self.run_program(*command, expect=1)
        self.assertIn("Another twistd server is running", second.text())
