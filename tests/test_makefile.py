"""What the targets of the Makefile install on a fresh checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parents[1]
NEEDED = ("Makefile", "setup.cfg", "pyproject.toml", ".ci/constraints.txt")
PRODUCT, WITH_TOOLS = "--editable .", "--editable '.[dev]'"


class FreshCheckoutTests(SynchronousTestCase):
    """`make --dry-run` in a folder without .venv."""

    def setUp(self):
        if shutil.which("make") is None:
            raise SkipTest("make is missing")
        self.folder = Path(self.mktemp())
        for name in NEEDED:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)

    def installs(self, target):
        """Return what pip would be given for a target, in order."""
        # a `make test` around this one must not hand its variables down
        environ = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        done = subprocess.run(
            ["make", "--dry-run", target],
            cwd=self.folder,
            env={k: v for k, v in environ.items() if k != "MFLAGS"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return [
            WITH_TOOLS if WITH_TOOLS in line else PRODUCT
            for line in done.stdout.splitlines()
            if "--editable" in line
        ]

    def test_the_demo_installs_the_product_without_tools(self):
        self.assertEqual(self.installs("demo"), [PRODUCT])

    def test_the_tests_install_the_tools_too(self):
        self.assertEqual(self.installs("test"), [PRODUCT, WITH_TOOLS])

    def test_the_tests_add_the_tools_to_what_the_demo_installed(self):
        made = self.folder / ".venv" / ".product"
        made.parent.mkdir()
        made.touch()
        self.assertEqual(self.installs("demo"), [])
        self.assertEqual(self.installs("test"), [WITH_TOOLS])

    def test_tox_runs_the_demo_without_tools_too(self):
        tox = configparser.ConfigParser(interpolation=None)
        tox.read(ROOT / "tox.ini")
        self.assertEqual(tox["testenv:demo"]["extras"], "")
        self.assertIn("demo", tox["tox"]["env_list"])
