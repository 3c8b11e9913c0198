"""`gotunnel status`."""

import json
from pathlib import Path

from tests.certificates import Authority
from tests.cli.cases import GatewayCase
from tests.cli.fake_gateway import row
from tests.cli.test_map import AGENT


class StatusTests(GatewayCase):
    """Health, agents and mappings on one page."""

    def test_everything_at_once(self):
        self.gateway.agents = [AGENT]
        self.gateway.mappings.rows["tcp", 10022] = row(10022, name="ssh")
        output = self.run_command("status").stdout
        self.assertIn(f"gateway at {self.gateway.url}: ok, tunnel service on", output)
        self.assertIn("  store healthy\n", output)
        self.assertRegex(output, r"home +192\.0\.2\.7 +1 +2 +12\.3 ms +2026-01-02")
        self.assertIn("10022", output)

    def test_an_encrypted_key_asks_nothing_on_the_terminal(self):
        folder = Path(self.mktemp()).absolute()
        cert, key = Authority(folder).issue("caller", password=b"its password")
        said = self.run_command(
            "status", "--cert-file", cert, "--cert-key-file", key, expect=1
        )
        self.assertIn(
            f"{key} is encrypted: decrypt it, or give --cert-key-password-file",
            said.stderr,
        )
        password = folder / "password"
        password.write_bytes(b"its password\n")
        password.chmod(0o600)
        files = ["--cert-file", cert, "--cert-key-file", key]
        self.run_command("status", *files, "--cert-key-password-file", password)

    def test_an_empty_gateway(self):
        output = self.run_command("status").stdout
        self.assertIn("no agent is connected\n", output)
        self.assertIn("no mappings\n", output)

    def test_unhealthy_is_an_exit_code(self):
        """And it is shown all the same, by both forms."""
        self.gateway.status = "unhealthy"
        self.assertIn("unhealthy", self.run_command("status", expect=1).stdout)
        found = json.loads(self.run_command("status", "--json", expect=1).stdout)
        self.assertEqual(found["health"]["status"], "unhealthy")

    def test_degraded_is_none(self):
        self.gateway.status = "degraded"
        self.assertIn("degraded", self.run_command("status").stdout)

    def test_an_agent_of_the_old_protocol(self):
        agent = {"negotiated": False, "rtt_seconds": None}
        self.gateway.agents = [AGENT.model_copy(update=agent)]
        output = self.run_command("status").stdout
        self.assertIn("(v1)", output)

    def test_json_has_the_rows(self):
        self.gateway.agents = [AGENT]
        found = json.loads(self.run_command("status", "--json").stdout)
        self.assertEqual(found["agents"][0]["software"], "gotunnel 0.1.0")
        self.assertEqual(found["mappings"], [])
