"""`gotunnel check` and `gotunnel firewall`."""

import configparser
import json
import socket
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.agent_tap import Options as AgentOptions
from gateway.config import files
from gateway.ops.findings import Verdict
from gateway.ops.preflight import Surroundings, look
from gateway.policy.credentials import AgentCredential
from gateway.store.keys import count_in_file, put
from gateway.store.schema import migrate
from gateway.tap import Options
from tests.certificates import Authority
from tests.cli.cases import run
from tests.config.loading import SECRET, load
from tests.integration.ports import take_ports

ETC = Path(__file__).parents[2] / "etc"
NOW = datetime.now(UTC)
LONG = SECRET + SECRET


class CheckCase(SynchronousTestCase):
    """Findings of a configuration in surroundings of the test's."""

    def setUp(self):
        self.link_port, self.api_port = take_ports(), take_ports()

    def config(self, text=""):
        return load(
            f"{{api: {{listen_port: {self.api_port}}}, "
            f"tunnel: {{listen_port: {self.link_port}}}, {text}}}"
        )

    def findings(
        self, text="", *, now=NOW, descriptors=100_000, files=None, loaded=None
    ):
        loaded = loaded or self.config(text)
        around = Surroundings(now, descriptors, (files or {}).get)
        return look(loaded.config, loaded.warnings, around)

    def assert_found(self, verdict, words, *args, **kwargs):
        found = self.findings(*args, **kwargs)
        matching = [one for one in found if words in one.what]
        self.assertEqual([verdict], [one.verdict for one in matching], found)
        if verdict is not Verdict.GOOD:
            self.assertTrue(matching[0].advice)


class FindingTests(CheckCase):
    """Each point of the list."""

    def test_every_area_is_looked_at(self):
        areas = {one.area for one in self.findings()}
        wanted = {"network", "security", "performance", "monitoring", "backup"}
        self.assertEqual(areas, wanted)

    def test_ports(self):
        self.assert_found(Verdict.GOOD, f"*:{self.link_port} can be opened")
        with closing(socket.create_server(("", self.link_port))):
            self.assert_found(Verdict.MIND, f"*:{self.link_port} is in use")
        bad = load("tunnel: {bind: 192.0.2.77, listen_port: 9000}")
        self.assert_found(Verdict.BAD, "192.0.2.77:9000", loaded=bad)

    def test_keys_made_at_run_time_are_credentials_too(self):
        path = str(Path(self.mktemp()).absolute())
        loaded = self.config(f"database: {{path: {path}}}")
        for made in (False, True):
            if made:
                with closing(sqlite3.connect(path)) as connection:
                    migrate(connection, 0, 0)
                    put(connection, AgentCredential(name="office", verifiers=()))
                    connection.commit()
            around = Surroundings(NOW, 100_000, lambda name: None, count_in_file)
            said = [one.what for one in look(loaded.config, loaded.warnings, around)]
            self.assertEqual(made, "agents must show a credential" in said)
            self.assertNotEqual(made, any("NO CREDENTIAL" in one for one in said))

    def test_the_range_of_the_system(self):
        name = "/proc/sys/net/ipv4/ip_local_port_range"
        for text, verdict, words in (
            ("32768\t60999\n", Verdict.GOOD, "nobody else's"),
            ("15000 60999", Verdict.MIND, "overlaps the ports 15000-60999"),
        ):
            self.assert_found(verdict, words, files={name: text})
        self.assert_found(
            Verdict.MIND, "begins at 443", "port_range: {from: 443, end: 500}"
        )

    def test_credentials_and_seals(self):
        self.assert_found(Verdict.BAD, "NO CREDENTIAL")
        self.assert_found(Verdict.BAD, "links are not sealed")
        self.assert_found(Verdict.MIND, "every user of this machine")
        self.assert_found(
            Verdict.BAD,
            "the API is not sealed",
            loaded=load(
                f"{{api: {{bind: ''}}, security: {{api: {{api_key: {SECRET}}}}}}}"
            ),
        )
        self.assert_found(
            Verdict.GOOD,
            "callers of the API must show",
            f"security: {{api: {{jwt_secret: {LONG}}}}}",
        )
        self.assert_found(Verdict.MIND, "direct mappings may lead to everything")

    def test_certificates(self):
        authority = Authority(self.mktemp())
        cert, key = authority.issue("gw", "gw.test", ends=60)
        text = (
            f"security: {{tunnel: {{enable_tls: true, cert_file: {cert}, "
            f"key_file: {key}, client_ca: {authority.ca_file}}}}}"
        )
        _, locked = authority.issue("gw", "gw.test", ends=60, password=b"a password")
        self.assert_found(Verdict.BAD, f"{locked} is encrypted: decrypt it, or", text)
        authority.issue("gw", "gw.test", ends=60)
        good = "the certificate is good"
        self.assert_found(Verdict.GOOD, good, text)
        self.assert_found(Verdict.GOOD, "agents must show a credential", text)
        for days, verdict in (
            (45, Verdict.MIND),
            (61, Verdict.BAD),
            (-30, Verdict.BAD),
        ):
            self.assert_found(verdict, good, text, now=NOW + timedelta(days=days))
        Path(key).chmod(0o644)
        self.assert_found(Verdict.BAD, "may use this private key", text)

    def test_limits_and_what_is_off(self):
        self.assert_found(Verdict.MIND, "a direct visitor needs two", descriptors=1024)
        self.assert_found(
            Verdict.MIND, "unlimited", "limits: {connections: 0}", descriptors=1 << 20
        )
        self.assert_found(Verdict.MIND, "limits.memory is off", "limits: {memory: 0}")
        files = {"/proc/sys/net/core/somaxconn": "128"}
        self.assert_found(Verdict.MIND, "keeps 128 connections", files=files)

    def test_files(self):
        self.assert_found(
            Verdict.BAD, "the folder cannot be written", "log: {file: /proc/no/gw.log}"
        )
        self.assert_found(Verdict.GOOD, "will be made at the first start")


class CommandTests(CheckCase):
    """The commands."""

    def write(self, text, mode=0o600):
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def test_a_secret_that_every_user_can_read_is_refused(self):
        self.patch(files, "_is_shut", lambda name: False)  # wherever this runs
        path = self.write(f"tunnel: {{auth_token: {SECRET}}}", 0o644)
        for command in ("check", "doctor"):
            result = run(command, "--config", path)
            self.assertNotEqual(result.exit_code, 0)
            self.assertIn("is open to every user of this machine", result.output)
            self.assertNotIn(SECRET, result.output)

    def test_check_says_what_is_bad_and_ends_with_1(self):
        path = self.write("api: {listen_port: 8089}")
        result = run("check", "--config", path)
        self.assertEqual(result.exit_code, 1)
        self.assertIn("BAD   NO CREDENTIAL", result.stdout)
        self.assertIn("-> see docs/security.md", result.stdout)
        rows = json.loads(run("check", "-c", path, "--json").stdout)
        self.assertIn("bad", {row["verdict"] for row in rows})

    def test_a_bad_file_is_said(self):
        for command in ("check", "firewall"):
            result = run(command, "--config", self.write("tunel: 5"))
            self.assertEqual(result.exit_code, 1)
            self.assertIn("did you mean tunnel?", result.stderr)

    CONFIG = (
        "{api: {bind: '', listen_port: 8080}, port_range: {from: 10000, end: 10100}, "
        "security: {api: {allowed_ips: [192.168.0.0/16, 'fd00::/8']}}}"
    )

    def test_the_rules_of_the_first_release_in_iptables(self):
        said = run("firewall", "--config", self.write(self.CONFIG)).stdout
        wanted = [
            "iptables -A INPUT -p tcp --dport 8080 -s 192.168.0.0/16 -j ACCEPT",
            "iptables -A INPUT -p tcp --dport 8080 -i lo -j ACCEPT",
            "iptables -A INPUT -p tcp --dport 8080 -j DROP",
            "iptables -A INPUT -p tcp --dport 9000 -j ACCEPT",
            "iptables -A INPUT -p tcp --dport 10000:10100 -j ACCEPT",
        ]
        self.assertEqual(said.splitlines()[2 : 2 + len(wanted)], wanted)
        self.assertIn("ip6tables -A INPUT -p tcp --dport 8080 -s fd00::/8", said)
        self.assertNotIn("-P INPUT DROP", said)
        closed = run(
            "firewall",
            "-c",
            self.write(self.CONFIG),
            "--drop-others",
            "--ssh-port",
            2222,
        ).stdout
        self.assertIn("--dport 2222 -j ACCEPT", closed)
        self.assertIn("iptables -P INPUT DROP", closed)

    def test_an_api_for_this_machine_alone_needs_no_rule(self):
        said = run("firewall", "--config", self.write("{}")).stdout
        self.assertNotIn("8080", said)
        self.assertIn("--dport 10000:20000 -j ACCEPT", said)

    def test_forwards_of_the_configuration_are_let_in(self):
        path = self.write(
            "protocols: [{listen: ':443', target: 'a:1'}, "
            "{listen: '127.0.0.1:444', target: 'a:1'}, "
            "{listen: ':10001', target: 'a:1'}, "
            "{listen: ':445', target: 'a:1', enabled: false}]"
        )
        said = run("firewall", "-c", path).stdout.splitlines()
        self.assertIn("iptables -A INPUT -p tcp --dport 443 -j ACCEPT", said)
        self.assertEqual(8, len(said))
        rules = run("firewall", "-c", path, "--form", "nftables").stdout
        self.assertIn("tcp dport 443 accept", rules)
        self.assertNotIn("444", rules)

    def test_scripts_are_well_formed(self):
        for words in ((), ("--drop-others",)):
            path = self.write(self.CONFIG)
            script = run("firewall", "-c", path, *words).stdout
            done = subprocess.run(["sh", "-n"], input=script, text=True, check=False)
            self.assertEqual(done.returncode, 0)
            rules = run("firewall", "-c", path, *words, "--form", "nftables").stdout
            self.assertEqual(rules.count("{"), rules.count("}"))
            self.assertIn("tcp dport 8080 ip saddr { 192.168.0.0/16 } accept", rules)


class UnitTests(SynchronousTestCase):
    """The systemd units."""

    def unit(self, name):
        parser: Any = configparser.RawConfigParser(strict=False, delimiters="=")
        parser.optionxform = str
        parser.read(ETC / "systemd" / name)
        return parser

    def test_they_start_what_is_there(self):
        for name, plugin, options in (
            ("gotunnel.service", "gotunnel", Options),
            ("gotunnel-agent.service", "gotunnel-agent", AgentOptions),
        ):
            words = self.unit(name)["Service"]["ExecStart"].split()
            at = words.index(plugin)
            self.assertEqual(words[1:at], ["-n", "--pidfile="])
            flags = {f"--{row[0]}" for row in options.optParameters}
            self.assertIn(words[at + 1], flags)

    def test_they_are_confined(self):
        for name in ("gotunnel.service", "gotunnel-agent.service"):
            service = self.unit(name)["Service"]
            for key, value in (
                ("NoNewPrivileges", "yes"),
                ("ProtectSystem", "strict"),
                ("PrivateTmp", "yes"),
            ):
                self.assertEqual(service[key], value)
            self.assertNotEqual(service["User"], "root")
        gateway = self.unit("gotunnel.service")["Service"]
        self.assertEqual(gateway["CapabilityBoundingSet"], "CAP_NET_BIND_SERVICE")
