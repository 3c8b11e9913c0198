"""Pid files that are left over."""

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.pidfile import remove_stale_pidfile


class PidfileTests(SynchronousTestCase):
    """`remove_stale_pidfile`."""

    def setUp(self):
        self.file = Path(self.mktemp())

    def removes(self, content):
        self.file.write_text(content)
        removed = remove_stale_pidfile(str(self.file))
        self.assertEqual(removed, not self.file.exists())
        return removed

    def test_our_own_number_was_another_processes(self):
        self.assertTrue(self.removes(f"{os.getpid()}"))

    def removes_that_of(self, name):
        """Return what happens to the pid file of a running program of that name."""
        command = ["sh", "-c", "echo up; read word", name]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
            assert other.stdout is not None
            other.stdout.readline()
            return self.removes(f"{other.pid}\n")

    def test_a_number_that_another_program_has_now(self):
        self.assertTrue(self.removes_that_of("cat"))

    def test_a_running_twistd_keeps_its_file(self):
        self.assertFalse(self.removes_that_of("twistd"))
        self.assertFalse(self.removes_that_of("/usr/bin/gotunnel"))

    def test_what_is_no_number_is_left_to_twistd(self):
        for content in ("", "none", "1" * 40, "99999999"):
            self.assertFalse(self.removes(content))

    def test_no_file(self):
        self.assertFalse(remove_stale_pidfile(""))
        self.assertFalse(remove_stale_pidfile(str(self.file)))
