"""The shipped services, their user, logs and examples fit each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import yaml
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.docs.pages import ROOT

ETC = ROOT / "etc"
SERVICES = ("gotunnel", "gotunnel-agent")
ROTATED = "/var/log/gotunnel"


def unit(name):
    """Return the last value of each setting of a unit."""
    lines = (ETC / "systemd" / f"{name}.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))


def strings(value):
    """Return every text in a loaded YAML document."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


class UnitTests(SynchronousTestCase):
    """etc/systemd, etc/sysusers.d and etc/logrotate.d."""

    def test_services_have_folders_for_state_and_logs(self):
        for name in SERVICES:
            found = unit(name)
            self.assertEqual(found["StateDirectory"], name)
            self.assertEqual(found["WorkingDirectory"], f"/var/lib/{name}")
            self.assertEqual(f"/var/log/{found['LogsDirectory']}", ROTATED)

    def test_services_have_the_documented_limits(self):
        for name in SERVICES:
            found = unit(name)
            limits = [found[key] for key in ("MemoryMax", "CPUQuota", "LimitNOFILE")]
            self.assertEqual(limits, ["512M", "200%", "65536"])

    def test_the_user_of_the_services_is_made(self):
        if shutil.which("systemd-sysusers") is None:
            raise SkipTest("systemd-sysusers is missing")
        root = Path(self.mktemp()).absolute()
        (root / "etc").mkdir(parents=True)
        rules = ETC / "sysusers.d" / "gotunnel.conf"
        subprocess.run(["systemd-sysusers", f"--root={root}", rules], check=True)
        users = (root / "etc/passwd").read_text().splitlines()
        groups = (root / "etc/group").read_text().splitlines()
        for name in SERVICES:
            self.assertIn(unit(name)["User"], [one.split(":")[0] for one in users])
            self.assertIn(unit(name)["Group"], [one.split(":")[0] for one in groups])

    def test_the_logs_are_rotated_as_the_user_of_the_services(self):
        text = (ETC / "logrotate.d" / "gotunnel").read_text()
        self.assertIn(f"{ROTATED}/*.log {{", text)
        for name in SERVICES:
            found = unit(name)
            self.assertIn(f"su {found['User']} {found['Group']}\n", text)
            self.assertIn(f"systemctl kill -s USR1 {name}.service ", text)


class ExampleTests(SynchronousTestCase):
    """etc/examples."""

    def test_paths_are_those_of_the_services(self):
        """A service may write into its own folders only."""
        good = ("/etc/gotunnel/", "/var/lib/gotunnel/", f"{ROTATED}/")
        for path in sorted((ETC / "examples").glob("*.yaml")):
            names = strings(yaml.safe_load(path.read_text()))
            strange = [
                one for one in names if one[:1] == "/" and not one.startswith(good)
            ]
            self.assertEqual(strange, [], path.name)

    def test_the_secured_agent_fits_the_secured_gateway(self):
        gateway = yaml.safe_load((ETC / "examples/secured-gateway.yaml").read_text())
        agent = yaml.safe_load((ETC / "examples/agent-secured.yaml").read_text())
        tls = gateway["security"]["tunnel"]
        self.assertTrue(tls["enable_tls"] and agent["tls"]["enabled"])
        self.assertEqual(tls["client_ca"], agent["tls"]["ca_file"])
        self.assertTrue(
            agent["server"].endswith(f":{gateway['tunnel']['listen_port']}")
        )
        self.assertIn(f"agent-{agent['name']}.crt", agent["tls"]["cert_file"])
        self.assertNotIn("auth_token_file", gateway["tunnel"])
        self.assertTrue(agent["token_file"].endswith(f"/{agent['name']}.key"))
