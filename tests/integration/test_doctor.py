"""`gotunnel doctor` on both ends, healthy and with faults."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Any

from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.threads import deferToThread

from gateway.agent.probe import Prober
from gateway.cli.doctor import WORDS, examine
from gateway.config.agent import AgentConfig
from gateway.config.gateway import GatewayConfig
from gateway.config.parse import load_agent, load_gateway
from gateway.ops.findings import Verdict
from gateway.ops.path import judge_probe
from tests.certificates import Authority
from tests.integration.ports import take_ports
from tests.integration.processes import reactor
from tests.integration.rig import script
from tests.integration.test_keys import KeyCase
from tests.integration.test_tls import HOST, SealedCase
from tests.integration.traffic import ISocket, Plan, RawVisitor, Target
from tests.link.rig import KEEP_ALIVE, hello_ack


class DoctorCase(SealedCase):
    """What the command finds."""

    async def examine(
        self, name: str, *, expect: int = 0, **started: Any
    ) -> list[dict[str, str]]:
        """Run the command on a configuration of the test's folder."""
        done = await self.run_program(
            *(script("gotunnel"), "doctor", "--json", "--config"),
            self.folder / name,
            expect=expect,
            **started,
        )
        found: list[dict[str, str]] = json.loads(done.text())
        for one in found:
            self.assertEqual(one["verdict"] == "ok", not one["advice"], one)
        return found

    async def agent_finds(
        self, area: str, words: str, *, verdict: str = "bad", **changes: Any
    ) -> dict[str, str]:
        """Examine an agent of a new configuration, and return the finding meant."""
        file = str(self.agent_config(**changes))
        return await self.finds(load_agent(file, environ={}, options={}).config,
                                area, words, verdict)  # fmt: skip

    async def gateway_finds(
        self, area: str, words: str, *, verdict: str = "bad"
    ) -> dict[str, str]:
        """Examine the gateway, and return the finding meant."""
        file = str(self.folder / "gateway.yaml")
        return await self.finds(load_gateway(file, environ={}, options={}).config,
                                area, words, verdict)  # fmt: skip

    async def finds(
        self, config: GatewayConfig | AgentConfig, area: str, words: str, verdict: str
    ) -> dict[str, str]:
        """Do what the command does, without the time that a process takes to start."""
        found = await deferToThread(examine, config)
        shown = [
            {
                "area": one.area,
                "verdict": WORDS[one.verdict],
                "what": one.what,
                "wanted": one.wanted,
                "advice": one.advice,
            }
            for one in found
        ]
        return self.one(shown, area, words, verdict)

    def one(
        self, found: list[dict[str, str]], area: str, words: str, verdict: str
    ) -> dict[str, str]:
        """Return the one finding that says something."""
        told = "\n".join(
            f"{one['area']} {one['verdict']} {one['what']}" for one in found
        )
        matching = [
            one
            for one in found
            if (one["area"], one["verdict"]) == (area, verdict) and words in one["what"]
        ]
        self.assertEqual(len(matching), 1, f"{area} {verdict} {words!r} in\n{told}")
        return matching[0]


class HealthyTests(DoctorCase):
    """Nothing is wrong, and nothing is disturbed."""

    async def test_both_ends_while_a_visitor_is_served(self):
        gateway = await self.start_sealed_gateway()
        agent = await self.start_agent(tls=self.trust())
        port = await self.map(self.serve(Target()))
        visitor = await self.connect(RawVisitor(), port)
        found = await self.examine("agent-default.yaml")
        for area, words in (
            ("dns", f"{HOST} is {HOST}"),
            ("ports", "answers in"),
            ("tls", "TLSv1.3"),
            ("tls", "CN=gateway is good until"),
            ("link", "would take this agent"),
            ("version", "both ends are gotunnel"),
            ("clock", "the gateway's"),
            ("path", "round trip"),
            ("path", "from the gateway"),
            ("path", "MB/s to the gateway"),
        ):
            self.one(found, area, words, "ok")
        found = await self.examine("gateway.yaml")
        for area, words in (
            ("ports", "tunnel.listen_port"),
            ("ports", "api.listen_port"),
            ("health", "it is well"),
            ("version", "agent default is gotunnel"),
            ("tls", "security.tunnel: the certificate is good"),
            ("disk", "the database"),
        ):
            self.one(found, area, words, "ok")
        self.assertTrue(visitor.connected)
        await self.exchange(port, Plan(1, 1000, 1000))
        await gateway.says("a probe, which takes no place")
        self.assertEqual(gateway.text().count("agent link up"), 1)
        self.assertNotIn("agent link down", agent.text())
        done = await self.run_program(
            *(script("gotunnel"), "doctor", "--config", self.folder / "gateway.yaml")
        )
        self.assertIn(
            "OK    health       the gateway says that it is well", done.text()
        )


class FaultTests(DoctorCase):
    """One fault each."""

    async def test_a_stopped_gateway(self):
        self.gateway_config(health={"listen_port": take_ports()})
        found = await self.examine("gateway.yaml", expect=1)
        for key in ("tunnel", "api", "health"):
            self.one(found, "ports", f"{key}.listen_port: ", "bad")
        self.one(found, "health", "Connection refused", "bad")
        await self.agent_finds("ports", "Connection refused")

    async def test_a_mapping_whose_agent_is_absent(self):
        await self.start_gateway()
        port = await self.map(self.serve(Target()), agent="nobody")
        found = await self.gateway_finds(
            "mappings", f"port {port} is unreachable", verdict="warn"
        )
        self.assertIn("agent nobody was never seen here", found["what"])

    async def test_names_and_ports_that_lead_nowhere(self):
        await self.start_gateway(
            protocols=[{"listen": f"{HOST}:{take_ports()}", "target": "no.invalid:80"}]
        )
        other = take_ports()
        await self.agent_finds("ports", f"{HOST}:{other}", server=f"{HOST}:{other}")
        await self.agent_finds("dns", "nowhere.invalid", server="nowhere.invalid")
        await self.gateway_finds("dns", "the target no.invalid")
        wish = {"local": other, "name": "web"}
        await self.agent_finds("targets", "expose web", expose=[wish])

    async def test_certificates(self):
        self.gateway_cert = self.authority.issue("old", HOST, starts=-9, ends=-2)
        await self.start_sealed_gateway()
        said = await self.agent_finds("tls", "expired", tls=self.trust())
        self.assertIn("renew", (await self.agent_finds(
            "tls", "the certificate CN=old is good from", tls=self.trust()
        ))["advice"])  # fmt: skip
        self.assertTrue(said["wanted"])
        stranger = Authority(self.folder / "others", "others")
        trust = self.trust(ca_file=stranger.ca_file)
        await self.agent_finds("tls", "issuer that is not trusted", tls=trust)
        await self.gateway_finds("tls", "security.tunnel: the certificate is good from")

    async def test_another_name_and_no_tls(self):
        self.gateway_cert = self.authority.issue("gateway", "gateway.test")
        await self.start_sealed_gateway()
        await self.agent_finds("tls", "is not for 127.0.0.1", tls=self.trust())
        await self.agent_finds("link", "closed the connection")

    async def test_credentials(self):
        await self.start_gateway()
        wrong = self.folder / "wrong"
        wrong.write_text("x" * 30)
        wrong.chmod(0o600)
        await self.agent_finds(
            "link", "refused: authentication failed", token_file=str(wrong)
        )

    async def test_too_few_descriptors(self):
        self.gateway_config()
        gateway = self.launch_gateway(descriptors=256)
        await self.gateway_up(gateway)
        words = f"the running process {gateway.pid} may open 256 files"
        await self.gateway_finds("descriptors", words)
        self.agent_config()
        found = await self.examine("agent-default.yaml", expect=1, descriptors=256)
        self.one(found, "descriptors", "a process started here may open 256", "bad")

    async def test_a_port_that_another_program_holds(self):
        self.gateway_config()
        self.serve(Target(), self.api_port)
        held = await self.gateway_finds("ports", "api.listen_port")
        self.assertIn(f"process {os.getpid()}", held["what"])

    async def test_clocks_that_differ(self):
        await self.start_gateway()
        config = load_agent(str(self.agent_config()), environ={}, options={}).config
        for seconds, verdict in ((0, "good"), (-10, "mind"), (3600, "bad")):

            def clock(seconds: float = seconds) -> float:
                return time.time() + seconds

            prober = Prober(config, os.urandom, clock)
            probe = await deferToThread(prober.probe, config.server[0])
            found_all = judge_probe(probe, datetime.now(UTC))
            [found] = [one for one in found_all if one.area == "clock"]
            self.assertIs(found.verdict, Verdict(verdict), found)


class Stranger(Protocol):
    """Answers the first bytes by fixed words."""

    transport: ISocket

    def __init__(self, words: bytes) -> None:
        self._words = words

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(self._words)


class Strangers(ServerFactory):
    """Build a stranger for each connection."""

    noisy = False

    def __init__(self, words: bytes) -> None:
        self._words = words

    def buildProtocol(self, addr: object) -> Stranger:
        """Return one."""
        return Stranger(self._words)


class StrangerTests(DoctorCase):
    """Who does not know probes."""

    async def test_other_gateways_and_none(self):
        for words, verdict, said in (
            (hello_ack(), "warn", "it does not know probes"),
            (KEEP_ALIVE, "bad", "it speaks the plain version 0x01 protocol"),
            (b"SSH-2.0-OpenSSH\r\n", "bad", "it is no gateway"),
        ):
            port = take_ports()
            listening = reactor.listenTCP(port, Strangers(words), interface=HOST)
            self.addCleanup(listening.stopListening)
            server = f"{HOST}:{port}"
            await self.agent_finds("link", said, verdict=verdict, server=server)


class KeyedTests(KeyCase, DoctorCase):
    """Agents with keys of their own."""

    async def test_a_key_is_proved_and_displaces_nobody(self):
        await self.start_open_gateway()
        file = await self.key_for("office", "--max-links", "1")
        agent = await self.start_agent("office", token_file=file)
        found = await self.examine("agent-office.yaml")
        self.one(found, "link", "would take this agent", "ok")
        self.assertNotIn("agent link down", agent.text())


class LoadingTests(DoctorCase):
    """Whose configuration it is."""

    async def test_it_is_found_out(self):
        for name, config, words in (
            ("both.yaml", {"log_level": "info"}, "say which by --role"),
            ("wrong.yaml", {"tunel": {}}, "did you mean tunnel?"),
        ):
            file = self.write_config(name, config)
            done = await self.run_program(
                *(script("gotunnel"), "doctor", "--config"), file, expect=1
            )
            self.assertIn(words, done.text())
