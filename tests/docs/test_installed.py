"""The shipped services, installed into a throw-away root and run as their user.

A mount namespace puts the folders of that root over /etc, /var/lib, /var/log and /opt,
so that units, examples and the rule for logrotate are used as they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.docs.pages import ROOT
from tests.docs.test_services import unit

PROGRAMS = ("unshare", "setpriv", "ip", "curl", "systemd-sysusers", "logrotate")
# in a process namespace of its own: its first process takes all others along
ALONE = (
    *("unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork"),
    "--kill-child",
)
PLACES = ("etc", "var/lib", "var/log", "opt")
SYSTEMCTL = """#!/bin/sh
# kill -s USR1 NAME.service
exec kill -s "$3" "$(cat "/opt/$4.pid")"
"""
# what systemd does for User=, StateDirectory=, LogsDirectory= and WorkingDirectory=
SERVICE = """
service() { # NAME STATE LOGS FOLDER COMMAND...
    mkdir -p /var/log/$3
    install -d -o gotunnel -g gotunnel -m 700 /var/lib/$2
    chown gotunnel:gotunnel /var/log/$3
    chmod 750 /var/log/$3
    cd $4
    shift 4
    exec setpriv --reuid gotunnel --regid gotunnel --init-groups --no-new-privs \\
        --bounding-set -all --inh-caps -all "$@"
}
"""


def reachable(folder):
    """Return commands after which every user can reach a folder, and nobody outside."""
    closed = [p for p in Path(folder).parents if not p.stat().st_mode & 0o001]
    if not closed:
        return []
    return [
        f"mkdir -p kept && mount --bind {folder} kept",
        f"mount -t tmpfs -o mode=755 none {closed[-1]}",
        f"mkdir -p {folder} && mount --move kept {folder}",
    ]


def start(name):
    """Return the command that starts a service as its unit says."""
    found = unit(name)
    return (
        f"service {name} {found['StateDirectory']} {found['LogsDirectory']} "
        f"{found['WorkingDirectory']} {found['ExecStart']}"
    )


class InstalledTests(SynchronousTestCase):
    """Gateway and agent of the secured examples, under the units' user and paths."""

    def setUp(self):
        missing = [one for one in PROGRAMS if shutil.which(one) is None]
        if missing or os.geteuid() != 0:
            raise SkipTest(f"root is needed, and {', '.join(missing) or 'no program'}")
        self.root = Path(self.mktemp()).absolute()
        for place in PLACES:
            (self.root / place).mkdir(parents=True)
        config = self.root / "etc" / "gotunnel"
        config.mkdir()
        examples = ROOT / "etc" / "examples"
        shutil.copy(examples / "secured-gateway.yaml", config / "gw.yaml")
        agent = (examples / "agent-secured.yaml").read_text()
        (config / "agent.yaml").write_text(
            agent + 'expose: [{name: own, local: "127.0.0.1:3000", port: 10022}]\n'
        )
        (self.root / "etc/hosts").write_text(
            "127.0.0.1 localhost gateway.example.com\n"
        )
        (self.root / "opt/gotunnel").mkdir()
        (self.root / "opt/gotunnel/bin").symlink_to(Path(sys.executable).parent)
        (self.root / "opt/tools").mkdir()
        (self.root / "opt/tools/systemctl").write_text(SYSTEMCTL)
        (self.root / "opt/tools/systemctl").chmod(0o755)
        rule = self.root / "etc/logrotate.d/gotunnel"
        rule.parent.mkdir()
        shutil.copy(ROOT / "etc/logrotate.d/gotunnel", rule)

    def run_script(self, *lines):
        """Run lines of shell in the root as root; none of them may fail."""
        script = "\n".join(
            [
                "set -eu",
                "mount --make-rprivate /",
                *reachable(sys.base_prefix),
                f"systemd-sysusers --root=. {ROOT}/etc/sysusers.d/gotunnel.conf",
                *(f"mount --bind ./{place} /{place}" for place in PLACES),
                "ip link set lo up",
                "trap 'kill $(jobs -p) 2>/dev/null || :' EXIT",
                SERVICE,
                *lines,
            ]
        )
        done = subprocess.run(
            [*ALONE, "bash", "-c", script],
            cwd=self.root,
            env={
                "PATH": f"/opt/tools:/opt/gotunnel/bin:{os.environ['PATH']}:/usr/sbin",
                "PYTHONPATH": str(ROOT),
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        logs = [p.read_text() for p in (self.root / "var/log").rglob("*.log")]
        said = "\n".join([done.stdout, done.stderr, *logs])
        self.assertEqual(done.returncode, 0, said)
        return done.stdout

    def test_gateway_and_agent_run_as_the_user_of_the_units(self):
        """The files of the examples are made as they say; then a visitor is served."""
        wait = "curl -skf -o /dev/null --retry 100 --retry-delay 0 --retry-all-errors"
        commands = (ROOT / "etc/examples/secured-gateway.yaml").read_text()
        made = [
            line.removeprefix("#   ")
            for line in commands.splitlines()
            if line.startswith("#   ")
        ]
        self.run_script(
            *made[:-4],
            f"({start('gotunnel')}) &",
            "echo $! > /opt/gotunnel.service.pid",
            f"{wait} https://127.0.0.1:8080/livez",
            *made[-4:],
            "chgrp gotunnel certs/* office.key && chmod 640 certs/* office.key",
            "echo hello > /opt/index.html",
            "python -m http.server --directory /opt 3000 2> /dev/null &",
            f"({start('gotunnel-agent')}) &",
            "echo $! > /opt/gotunnel-agent.service.pid",
            f"{wait} localhost:10022/index.html",
            "test $(stat -c %U /var/lib/gotunnel/mappings.db) = gotunnel",
            "test $(stat -c %U /var/log/gotunnel/agent.log) = gotunnel",
            "logrotate --force --state /opt/state /etc/logrotate.d/gotunnel",
            "cd /var/log/gotunnel && test -s gateway.log.1 && test -s agent.log.1",
            "for log in gateway.log agent.log; do",
            '    timeout 20 sh -c "until test -e $log; do :; done"',
            "done",
        )
