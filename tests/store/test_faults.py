"""Kills and full disks, with real processes."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

from gateway.store.archive import backup
from tests.store.files import StoreTestCase

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20  # no child runs this long


class KillTests(StoreTestCase):
    """`kill -9` at any moment."""

    def insert_and_kill(self, chance):
        """Return the ids that a child acknowledged before it was killed."""
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.store.insert_forever", self.path],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        watchdog = threading.Timer(SECONDS, child.kill)
        watchdog.start()
        with child:
            first = child.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=chance.uniform(0, 0.1))
            child.kill()
            rest = child.stdout.read()
        watchdog.cancel()
        watchdog.join()
        self.assertEqual(child.returncode, -9)
        return [int(line) for line in (first + rest).splitlines()]

    async def test_acknowledged_mappings_survive_kill_9(self):
        """All that was acknowledged is there, and at most one mapping more."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        known: list[int] = []
        for _ in range(3):
            acknowledged = self.insert_and_kill(chance)
            store = await self.opened()
            mappings, faults = await store.load()
            await store.close()
            ids = [m.id for m in mappings]
            expected = known + acknowledged
            self.assertGreater(len(acknowledged), 0, f"seed {seed}")
            self.assertEqual(faults, [], f"seed {seed}")
            self.assertEqual(ids[: len(expected)], expected, f"seed {seed}")
            self.assertLessEqual(len(ids), len(expected) + 1, f"seed {seed}")
            self.assertEqual({len(m.name) for m in mappings}, {20_000}, f"seed {seed}")
            known = ids

    async def test_backup_of_a_killed_gateway(self):
        """What only the log of the dead gateway holds is in the backup."""
        acknowledged = self.insert_and_kill(random.Random(0))
        copy = os.path.join(self.folder, "backup.db")
        backup(self.path, copy)
        mappings, _ = await (await self.opened(copy)).load()
        self.assertEqual([m.id for m in mappings][: len(acknowledged)], acknowledged)


class FullDiskTests(StoreTestCase):
    """A file system with no room left."""

    def in_small_file_system(self):
        """Run the child with 600 KB of disk; skip where that cannot be had."""
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        mount = 'mount -t tmpfs -o size=600k none "$0"'
        unshare = ["unshare", "--mount", *user, "sh", "-c"]
        try:
            subprocess.run(
                [*unshare, mount, self.folder],
                check=True,
                capture_output=True,
                timeout=SECONDS,
            )
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("no small file system can be mounted here")
        script = f'{mount} && exec "$1" -m tests.store.fill_disk "$0"'
        return subprocess.run(
            [*unshare, script, self.folder, sys.executable],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def test_full_disk_fails_one_change_and_no_more(self):
        """The change is absent, the message clear, and the store lives on."""
        child = self.in_small_file_system()
        self.assertEqual((child.returncode, child.stderr), (0, ""))
        said = dict(line.split(": ", 1) for line in child.stdout.splitlines())
        for key in ["insert", "backup"]:
            self.assertIn("the disk is full", said[key])
            self.assertIn("free space", said[key])
        self.assertEqual(said["kept"], "True")
        self.assertEqual(said["after"], "True")
        self.assertNotIn("partial", said["names"])
        self.assertNotIn("copy.db", said["names"])
