"""Run commands against a fake gateway."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.internet import reactor  # noqa: TID251
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli.main import gotunnel
from tests.cli.fake_gateway import FakeGateway

# the command as a process of its own, also from a checkout that is not installed
COMMAND = [sys.executable, "-c", "from gateway.cli.main import main; main()"]
ENVIRON = {
    **{name: text for name, text in os.environ.items() if "GOTUNNEL_" not in name},
    "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
}
# whatever the caller's own environment holds
UNSET = dict.fromkeys(
    (
        "GOTUNNEL_URL",
        "GOTUNNEL_API_KEY",
        "GOTUNNEL_API_KEY_FILE",
        "GOTUNNEL_API_TOKEN",
        "GOTUNNEL_API_TOKEN_FILE",
        "LC_ALL",
        "LC_MESSAGES",
        "LANG",
    )
)


def run(*words: object, typed: str = "", env: dict[str, str] | None = None) -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(
        gotunnel,
        [str(word) for word in words],
        input=typed,
        env={**UNSET, **(env or {})},
        obj=reactor,
        prog_name="gotunnel",
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class GatewayCase(SynchronousTestCase):
    """A fake gateway, and commands that find it by GOTUNNEL_URL.

    Attributes:
        gateway: the fake.
        folder: a fresh folder.
    """

    def setUp(self) -> None:
        self.gateway = FakeGateway()
        self.addCleanup(self.gateway.stop)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def run_command(
        self,
        *words: object,
        typed: str = "",
        expect: int = 0,
        env: dict[str, str] | None = None,
    ) -> Result:
        """Run a command and check its exit code."""
        url = {"GOTUNNEL_URL": self.gateway.url}
        result = run(*words, typed=typed, env={**url, **(env or {})})
        self.assertEqual(result.exit_code, expect, result.output)
        return result
