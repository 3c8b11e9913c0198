"""OpenSSH through a mapping: a terminal, and files both ways."""

from __future__ import annotations

import getpass
import hashlib
import os
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.integration.ports import take_ports
from tests.integration.processes import require
from tests.integration.rig import RigCase
from tests.integration.traffic import content

MIB = 1 << 20
FILE_BYTES = 64 * MIB


def digest(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SshTests(RigCase):
    """A server of our own, with keys of our own, behind the agent."""

    async def prepare(self) -> int:
        """Start everything; return the public port that leads to the server."""
        programs = require("sshd", "ssh", "scp", "ssh-keygen")
        key, host_key = self.folder / "key", self.folder / "host_key"
        for path in (key, host_key):
            await self.run_program(
                *(programs["ssh-keygen"], "-q", "-t", "ed25519", "-N", "", "-f", path)
            )
        port = take_ports()
        config = self.folder / "sshd_config"
        config.write_text(
            f"""
            Port {port}
            ListenAddress 127.0.0.1
            HostKey {host_key}
            AuthorizedKeysFile {key}.pub
            PasswordAuthentication no
            PermitRootLogin prohibit-password
            PidFile none
            StrictModes no
            UsePAM no
            Subsystem sftp internal-sftp
            """
        )
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # sshd asks for it as root
        self.sshd = self.start(programs["sshd"], "-D", "-e", "-f", config)
        await self.start_both()
        await self.sshd.says("Server listening")
        return await self.map(port)

    def client(self, program: str, port: int, port_option: str) -> list[str]:
        """Return a command of the SSH client with all options it needs here."""
        options = (
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "LogLevel=ERROR",
        )
        command = [require(program)[program], "-F", "/dev/null", port_option, str(port)]
        command += ["-i", str(self.folder / "key")]
        for option in options:
            command += ["-o", option]
        return command

    async def test_interactive_command(self):
        """What is typed runs on a terminal, and the exit code comes back."""
        port = await self.prepare()
        ssh = await self.run_program(
            *(*self.client("ssh", port, "-p"), "-tt", f"{getpass.getuser()}@127.0.0.1"),
            typed=b"stty -echo; PS1=\ntty\nexpr 6 \\* 7\nexit 5\n",
            expect=None,
        )
        if "chown(/dev/pts" in self.sshd.text():
            raise SkipTest("sshd may give terminals to root alone on this system")
        self.assertEqual(ssh.exit_code, 5, ssh.tail())
        words = ssh.text().split()
        self.assertIn("42", words)
        self.assertTrue(any(word.startswith("/dev/pts/") for word in words), words)

    async def test_copy_both_ways(self):
        """Two big files cross the mapping, each way one, whole."""
        port = await self.prepare()
        here, there = self.folder / "here", self.folder / "there"
        back = self.folder / "back"
        with here.open("wb") as file:
            for start in range(0, FILE_BYTES, MIB):
                file.write(content(start, start, MIB))
        scp = self.client("scp", port, "-P")
        remote = f"{getpass.getuser()}@127.0.0.1:{there}"
        await self.run_program(*scp, "-q", here, remote)
        self.assertEqual(digest(there), digest(here))
        await self.run_program(*scp, "-q", remote, back)
        self.assertEqual(digest(back), digest(here))
