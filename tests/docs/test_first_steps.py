"""The README and the operations guide, done as a reader would do them.

Their commands use the product's usual ports, so they run in a network of their own.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.docs.pages import ROOT, examples

BANNER = "SSH-2.0-OpenSSH_9.2p1"
SSHD = (
    "import socket; s = socket.create_server(('127.0.0.1', 22))\n"
    f"while True: s.accept()[0].sendall(b'{BANNER}\\r\\n')"
)
README_STEPS = {
    *("checkout", "install", "gateway", "agent", "mapping", "api"),
    *("expose", "forward", "declared"),
}
WAIT = "curl -sf -o answer --retry 100 --retry-delay 0 --retry-all-errors"
ALONE = ("unshare", "--net", "--map-root-user", "--mount", "--fork", "--kill-child")


def _can_be_alone():
    try:
        probe = subprocess.run(
            [*ALONE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return probe.returncode == 0


class FirstStepsTests(SynchronousTestCase):
    """Each guide in a fresh folder."""

    def setUp(self):
        if not _can_be_alone():
            raise SkipTest("unshare and ip, or the right to use them, are missing")
        if shutil.which("curl") is None:
            raise SkipTest("curl is missing")
        self.folder = pathlib.Path(self.mktemp()).absolute()
        shutil.copytree(ROOT / "etc", self.folder / "etc")

    def run_script(self, *lines):
        """Run lines of shell and return what they print; none of them may fail."""
        script = "\n".join(
            [
                "set -eu",
                "ip link set lo up",
                "trap 'kill $(jobs -p) 2>/dev/null || :' EXIT",
                *lines,
            ]
        )
        environ = {
            **os.environ,
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            [*ALONE, "bash", "-c", script],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=110,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr}")
        return done.stdout

    def test_every_example_of_the_readme_is_run(self):
        """A block without a mark would be run by nobody."""
        blocks = (ROOT / "README.md").read_text().count("```sh\n")
        self.assertEqual(set(examples("README.md")), README_STEPS)
        self.assertEqual(blocks, len(README_STEPS))

    def test_the_checkout_has_both_commands(self):
        """A clone of the repository has what `make demo` and `make test` need."""
        self.run_script(
            "mkdir repository && cd repository && git init -q",
            f"cp -r {ROOT}/Makefile {ROOT}/setup.cfg {ROOT}/pyproject.toml .",
            f"cp -r {ROOT}/.ci .",
            "git add . && git -c user.name=t -c user.email=t@localhost commit -qm t",
            "cd ..",
            # a `make test` around this one must not hand its variables down
            "unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES TESTS TRIAL",
            examples("README.md")["checkout"]
            .replace("REPOSITORY", "./repository")
            .replace("make ", "make --dry-run "),
        )

    def test_the_first_mapping_leads_to_the_target(self):
        """The README's commands, in its order, end at the agent's port 22."""
        steps = examples("README.md")
        out = self.run_script(
            f'"{sys.executable}" -c "{SSHD}" &',
            f"{steps['gateway'].strip()} > gateway.log &",
            f"{WAIT} localhost:8080/health",
            f"{steps['agent'].strip()} > agent.log &",
            "until curl -s localhost:8080/health | grep -q 'tunnel_connected\":true'",
            "do :; done",
            steps["mapping"],
            f'"{sys.executable}" -c "import socket; print(socket.create_connection('
            "('localhost', 10022)).recv(100).decode())\"",
            steps["api"],
        )
        self.assertIn(BANNER, out)
        self.assertIn('"target_port":22', out.replace(" ", ""))

    def test_what_one_line_can_do(self):
        """A port on demand, a plain forwarder, and mappings out of a file."""
        steps = examples("README.md")
        out = self.run_script(
            "echo hello > index.html",
            f'"{sys.executable}" -m http.server 3000 2> /dev/null &',
            f"{steps['gateway'].strip()} > gateway.log &",
            f"{WAIT} localhost:8080/health",
            f"{steps['forward'].strip()} > forward.log &",
            f"{WAIT} localhost:8081/health && echo forwarded",
            f"{steps['expose'].strip()} > agent.log &",
            "port=$(sed -n '/^public address: tcp.*:/{s///p;q}' \\",
            "    < <(tail -n +1 -f --pid=$! agent.log))",
            f"{WAIT} localhost:$port/index.html && cat answer",
            "gotunnel map add 10022",
            steps["declared"],
            "gotunnel map list",
        )
        for said in ("forwarded", "hello", "10022"):
            self.assertIn(said, out)

    def test_the_installed_commands_are_found_as_they_are_written(self):
        """An environment is made and activated before anything goes into it."""
        make, activate, install = examples("README.md")["install"].strip().split(" && ")
        self.assertEqual(install, "pip install .")
        out = self.run_script(
            make.replace("python3", f'"{sys.executable}"') + " --without-pip",
            activate,
            "command -v python",
        )
        self.assertEqual(out.strip(), str(self.folder / "venv/bin/python"))

    def test_the_gateway_runs_as_a_daemon(self):
        """It writes its pid and its log, and its end removes the pid file."""
        start, stop = examples("docs/operations.md")["daemon"].strip().splitlines()
        self.run_script(
            start,
            f"{WAIT} localhost:8080/health",
            stop,
            "while test -e gateway.pid; do :; done",
            "grep -q 'gateway stopped' gateway.log",
        )

    def test_a_private_set_of_certificates_is_made(self):
        """The commands of the security guide, and what they make."""
        self.run_script(examples("docs/security.md")["certificates"])
        made = {path.name for path in (self.folder / "certs").iterdir()}
        names = ("ca", "gateway", "agent-office")
        self.assertEqual(
            made, {f"{n}.{kind}" for n in names for kind in ("crt", "key")}
        )

    def test_a_backup_can_be_restored(self):
        """The gateway's database, copied while it runs and put back after."""
        backup, restore = examples("docs/operations.md")["backup"].strip().splitlines()
        gateway = examples("README.md")["gateway"].strip()
        out = self.run_script(
            f"{gateway} > gateway.log &",
            f"{WAIT} localhost:8080/health",
            "gotunnel map add 10080",
            backup,
            "gotunnel map remove 10080",
            "kill %1; wait %1",
            restore,
            f"{gateway} > gateway.log &",
            f"{WAIT} localhost:8080/health",
            "gotunnel map list",
        )
        self.assertIn("10080", out.splitlines()[-1])
