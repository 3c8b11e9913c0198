"""Links and the API over TLS, judged with the programs that people use."""

from __future__ import annotations

import hashlib
import signal
import socket
import ssl
from typing import Any

from tests.certificates import Authority
from tests.integration.processes import require
from tests.integration.rig import RigCase, script
from tests.integration.traffic import Plan, Target

HOST = "127.0.0.1"


class SealedCase(RigCase):
    """A rig with an authority that gateway and agent trust."""

    def setUp(self) -> None:
        """Make the certificates."""
        super().setUp()
        self.authority = Authority(self.folder / "certs")
        self.gateway_cert = self.authority.issue("gateway", HOST)

    def link_files(self, **more: Any) -> dict[str, Any]:
        """Return `security.tunnel` of the gateway."""
        cert_file, key_file = self.gateway_cert
        return {
            "enable_tls": True,
            "cert_file": cert_file,
            "key_file": key_file,
            **more,
        }

    async def start_sealed_gateway(self, *, mutual: bool = False, **changes: Any):
        """Start a gateway whose links are sealed."""
        more = {"client_ca": self.authority.ca_file} if mutual else {}
        return await self.start_gateway(
            security={"tunnel": self.link_files(**more)}, **changes
        )

    def trust(self, **more: Any) -> dict[str, Any]:
        """Return `tls` of an agent."""
        return {"enabled": True, "ca_file": self.authority.ca_file, **more}

    def launch_named(self, called: str, **changes: Any):
        """Start an agent that may fail; do not wait for its link."""
        self.agent_config(called, **changes)
        return self.launch_agent(called=called)


class LinkTests(SealedCase):
    """Agents and the gateway know each other."""

    async def test_a_visitor_through_a_sealed_link(self):
        await self.start_sealed_gateway()
        await self.start_agent(tls=self.trust())
        port = await self.map(self.serve(Target()))
        for size in (1, 70_000, 3_000_000):
            await self.exchange(port, Plan(size, size, size))

    async def test_a_certificate_gives_the_agent_its_name(self):
        gateway = await self.start_sealed_gateway(mutual=True)
        cert_file, key_file = self.authority.issue("office")
        shown = {"cert_file": cert_file, "key_file": key_file}
        await self.start_agent("office", tls=self.trust(**shown))
        port = await self.map(self.serve(Target()), agent="office")
        await self.exchange(port, Plan(1, 1000, 1000))
        thief = self.launch_named("boss", tls=self.trust(**shown))
        await thief.says("the gateway refused the link: Unauthorized")
        await gateway.says(
            "Unauthorized: link from 127.0.0.1 refused: agent boss: its certificate "
            "is for office"
        )
        await self.exchange(port, Plan(1, 1000, 1000))

    async def test_an_agent_without_a_certificate_is_told_why(self):
        gateway = await self.start_sealed_gateway(mutual=True)
        agent = self.launch_named("default", tls=self.trust())
        await gateway.says("peer did not return a certificate")
        await agent.says("certificate required")

    async def test_an_agent_meets_the_gateway_it_means_or_none(self):
        self.gateway_cert = self.authority.issue("gateway", "gateway.test")
        gateway = await self.start_sealed_gateway()
        agent = self.launch_named("default", tls=self.trust())
        await agent.says("certificate is not for 127.0.0.1 (it is for gateway.test)")
        await agent.kill()
        await self.start_agent(tls=self.trust(server_name="gateway.test"))
        self.assertNotIn("Traceback", gateway.text())

    async def test_a_pinned_certificate_needs_no_authority(self):
        self.gateway_cert = self.authority.issue("gateway", self_signed=True)
        await self.start_sealed_gateway()
        with open(self.gateway_cert[0]) as file:
            der = ssl.PEM_cert_to_DER_cert(file.read())
        digest = hashlib.sha256(der).hexdigest()
        await self.start_agent(tls={"enabled": True, "fingerprint": digest})
        port = await self.map(self.serve(Target()))
        await self.exchange(port, Plan(1, 1000, 1000))

    async def test_a_plain_agent_is_refused_with_a_word(self):
        gateway = await self.start_sealed_gateway()
        self.launch_named("default")
        await gateway.says("refused: TLS handshake: ")

    async def test_a_certificate_is_read_anew_while_streams_live(self):
        gateway = await self.start_sealed_gateway()
        await self.start_agent(tls=self.trust())
        port = await self.map(self.serve(Target()))
        before = self.fingerprint()
        with socket.create_connection((HOST, port), 5) as visitor:
            for make, happen in (
                (1, lambda: gateway.signal(signal.SIGHUP)),
                (2, lambda: None),  # the change alone is noticed, too
            ):
                self.authority.issue("gateway", HOST)
                happen()
                await gateway.says("certificate of the link port read anew", times=make)
                self.assertNotEqual(before, self.fingerprint())
                before = self.fingerprint()
            self.assertIsNotNone(visitor.fileno())
        await self.exchange(port, Plan(1, 1000, 1000))
        self.assertEqual(gateway.text().count("agent link up"), 1)

    def fingerprint(self) -> str:
        """Return what the link port shows now."""
        pem = ssl.get_server_certificate((HOST, self.link_port), timeout=5)
        return hashlib.sha256(pem.encode()).hexdigest()


class RefusedStartTests(SealedCase):
    """A gateway that could not keep its promise does not start."""

    async def assert_refused(self, words: str, **changes: Any) -> None:
        self.gateway_config(**changes)
        gateway = self.launch_gateway()
        self.assertEqual(await gateway.ended(), 1, gateway.tail())
        self.assertIn(words, gateway.text())
        self.assertNotIn("Traceback", gateway.text())

    async def test_a_key_that_everybody_can_read(self):
        _, key_file = self.gateway_cert
        (self.folder / "certs" / "gateway.key").chmod(0o644)
        security = {"tunnel": self.link_files()}
        await self.assert_refused(
            f"{key_file}: every user of this machine may use this private key (mode "
            "0644); chmod 0600 it",
            security=security,
        )
        gateway = await self.start_gateway(
            security={**security, "allow_unsafe": ["readable_keys"]}
        )
        self.assertIn("UNSAFE: security.allow_unsafe accepts", gateway.text())

    async def test_files_that_are_none(self):
        for changes, words in (
            ({"cert_file": "/no/such.crt"}, "/no/such.crt: No such file"),
            ({"key_file": self.authority.issue("other")[1]}, "no private key for"),
            ({"client_ca": __file__}, "holds no certificate in PEM form"),
        ):
            await self.assert_refused(
                words, security={"tunnel": self.link_files(**changes)}
            )

    async def test_an_agent_checks_its_files_at_once(self):
        self.agent_config(tls=self.trust(ca_file="/no/such.crt"))
        agent = self.launch_agent()
        self.assertEqual(await agent.ended(), 1, agent.tail())
        self.assertIn("/no/such.crt: No such file", agent.text())


class ProgramTests(SealedCase):
    """What openssl and curl are told."""

    def setUp(self) -> None:
        """Find the programs."""
        super().setUp()
        self.programs = require("openssl", "curl")

    async def openssl(self, *options: str):
        """Connect once with `openssl s_client`; return what it printed."""
        client = self.start(
            self.programs["openssl"],
            "s_client",
            "-connect",
            f"{HOST}:{self.link_port}",
            *options,
            name="s_client",
            typed=b"",
        )
        await client.ended()
        return client.text()

    async def test_openssl_gets_good_suites_only(self):
        gateway = await self.start_sealed_gateway()
        said = await self.openssl("-CAfile", self.authority.ca_file, "-tls1_2")
        self.assertIn("Verify return code: 0 (ok)", said)
        self.assertRegex(said, "Cipher is ECDHE-ECDSA-(AES|CHACHA20)")
        self.assertIn("TLSv1.3", await self.openssl("-tls1_3"))
        for options, words in (
            (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "unsupported protocol"),
            (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"), "no shared cipher"),
        ):
            self.assertIn("Cipher is (NONE)", await self.openssl(*options))
            del words
        await gateway.says("link from 127.0.0.1 refused: TLS handshake: unsupported")

    async def test_curl_uses_the_api_over_https(self):
        cert_file, key_file = self.gateway_cert
        api = {"enabled": True, "cert_file": cert_file, "key_file": key_file}
        self.gateway_config(api={"tls": api})
        gateway = self.launch_gateway()
        await gateway.says("gateway ready")
        url = f"https://{HOST}:{self.api_port}"
        curl = (self.programs["curl"], "-sS", "--cacert", self.authority.ca_file)
        answer = await self.run_program(*curl, f"{url}/api/mapping/list")
        self.assertIn("success", answer.text())
        plain = await self.run_program(
            self.programs["curl"], "-sS", f"http://{HOST}:{self.api_port}/", expect=None
        )
        self.assertNotEqual(plain.exit_code, 0)
        await gateway.says(
            "request from 127.0.0.1 refused: TLS handshake: http request"
        )
        status = (script("gotunnel"), "status", "--url", url)
        done = await self.run_program(*status, "--ca-file", self.authority.ca_file)
        self.assertIn("healthy", done.text())
        stranger = await self.run_program(*status, expect=3)
        self.assertIn("certificate verify failed", stranger.text())

    async def test_the_api_asks_callers_for_a_certificate(self):
        cert_file, key_file = self.gateway_cert
        api = {
            "enabled": True,
            "cert_file": cert_file,
            "key_file": key_file,
            "client_ca": self.authority.ca_file,
        }
        self.gateway_config(api={"tls": api, "bind": ""})
        gateway = self.launch_gateway()
        await gateway.says("gateway ready")
        url = f"https://{HOST}:{self.api_port}"
        files = ("--ca-file", self.authority.ca_file)
        mine, its_key = self.authority.issue("operator")
        status = (script("gotunnel"), "status", "--url", url, *files)
        await self.run_program(*status, "--cert-file", mine, "--cert-key-file", its_key)
        await self.run_program(*status, expect=3)
        await gateway.says("peer did not return a certificate")


class TokenTests(RigCase):
    """Tokens admit callers of a real gateway."""

    async def test_a_reader_looks_and_an_admin_changes(self):
        curl = require("curl")["curl"]
        secret_file = self.folder / "jwt"
        secret_file.write_text("a-secret-of-at-least-thirty-two-letters")
        secret_file.chmod(0o600)
        self.gateway_config(
            security={"api": {"enable_auth": True, "jwt_secret_file": str(secret_file)}}
        )
        gateway = self.launch_gateway()
        await self.gateway_up(gateway)
        refused = await self.api("GET", "/api/mapping/list")
        self.assertEqual(refused.status, 401)
        token = (
            script("gotunnel"),
            "token",
            "alice",
            "--secret-file",
            str(secret_file),
        )
        codes = []
        for role in ("reader", "admin"):
            made = await self.run_program(*token, "--role", role)
            shown = self.folder / role
            shown.write_text(made.text())
            for words in (
                ("map", "list"),
                ("map", "add", str(self.first_port), "--tunnel"),
            ):
                done = await self.run_program(
                    *(script("gotunnel"), *words, "--api-token-file", str(shown)),
                    *("--url", f"http://{HOST}:{self.api_port}"),
                    expect=None,
                )
                codes.append(done.exit_code)
        self.assertEqual(codes, [0, 1, 0, 0])
        asked = await self.run_program(
            *(curl, "-s", "-w", "%{http_code}", "-H", "Authorization: nonsense"),
            f"http://{HOST}:{self.api_port}/api/mapping/list",
        )
        self.assertIn('"Invalid token"', asked.text())
        self.assertTrue(asked.text().endswith("401"))
        await gateway.says("Unauthorized: request from 127.0.0.1 refused")


class FirstSetUpTests(RigCase):
    """`gotunnel cert` makes all that a private set-up needs."""

    async def test_from_nothing_to_a_visitor(self):
        folder = self.folder / "certs"
        cert = (script("gotunnel"), "cert")
        options = ("--dir", str(folder))
        await self.run_program(*cert, "ca", *options)
        await self.run_program(*cert, "gateway", "127.0.0.1", "gw.test", *options)
        await self.run_program(*cert, "agent", "office", *options)
        await self.start_gateway(
            security={
                "tunnel": {
                    "enable_tls": True,
                    "cert_file": str(folder / "gateway.crt"),
                    "key_file": str(folder / "gateway.key"),
                    "client_ca": str(folder / "ca.crt"),
                }
            }
        )
        await self.start_agent(
            "office",
            tls={
                "enabled": True,
                "ca_file": str(folder / "ca.crt"),
                "cert_file": str(folder / "agent-office.crt"),
                "key_file": str(folder / "agent-office.key"),
            },
        )
        port = await self.map(self.serve(Target()), agent="office")
        await self.exchange(port, Plan(1, 1000, 1000))
