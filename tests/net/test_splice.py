"""Pipes of the kernel and the pool that lends them."""

import errno
import fcntl
import gc
import os
import socket
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from gateway.net.splice import AVAILABLE, MOST_BYTES, PipePool


def descriptors():
    """Return how many descriptors this process has open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class PoolTests(SynchronousTestCase):
    """Who gets a pipe, and which one."""

    skip = None if AVAILABLE else "this system cannot splice"

    def setUp(self):
        self.before = descriptors()
        self.pool = PipePool(most=3)
        left, right = socket.socketpair()
        self.left, self.right = left, right
        self.addCleanup(left.close)
        self.addCleanup(right.close)

    def take(self):
        """Return a pipe that must be there."""
        pipe = self.pool.take()
        assert pipe is not None
        return pipe

    def test_an_empty_pipe_is_lent_again(self):
        pipe = self.take()
        pipe.release()
        self.assertIs(self.pool.take(), pipe)
        self.assertEqual((self.pool.open, self.pool.lent), (1, 1))

    def test_a_pipe_with_bytes_in_it_is_closed(self):
        pipe = self.take()
        self.left.send(b"secret of another visitor")
        pipe.fill(self.right.fileno())
        pipe.release()
        self.assertEqual(self.pool.open, 0)
        self.assertEqual(self.take().held, 0)

    def test_a_pipe_that_was_refused_is_closed(self):
        pipe = self.take()
        self.left.send(b"bytes")
        pipe.fill(self.right.fileno())
        self.assertEqual(pipe.take_over(), b"bytes")
        pipe.release()
        self.assertEqual((pipe.held, self.pool.open), (0, 0))

    def test_there_is_a_limit(self):
        pipes = [self.take() for _ in range(3)]
        self.assertIsNone(self.pool.take())
        pipes.pop().release()
        self.assertIsNotNone(self.pool.take())

    def test_few_idle_ones_are_kept(self):
        for pipe in [self.take() for _ in range(3)]:
            pipe.release()
        self.assertEqual((self.pool.open, self.pool.lent), (2, 0))

    def test_pipes_are_closed_with_their_pool(self):
        pipe = self.take()
        self.take().release()
        del pipe
        self.assertEqual(self.pool.lent, 0)
        del self.pool
        self.left.close()
        self.right.close()
        self.assertEqual(descriptors(), self.before)

    def test_the_system_is_not_asked_again_and_again(self):
        fault = OSError(errno.EMFILE, "none left")
        with mock.patch("os.pipe2", side_effect=fault) as pipe2:
            for _ in range(100):
                self.assertIsNone(self.pool.take())
            self.assertEqual(pipe2.call_count, 1)
        taken = [self.pool.take() for _ in range(2000)]
        self.assertEqual(len([pipe for pipe in taken if pipe is not None]), 3)

    def resized(self, largest):
        """Let pipes be at most so large; return one, or None."""

        def limited(fd, command, size=0):
            if command == fcntl.F_SETPIPE_SZ and size > largest:
                raise PermissionError(errno.EPERM, "above the limit")
            return largest

        with mock.patch("fcntl.fcntl", limited):
            return self.pool.take()

    def test_smaller_pipes_do_as_well(self):
        self.assertIsNotNone(self.resized(1 << 18))
        self.assertIsNotNone(self.resized(1 << 16))

    def test_tiny_pipes_are_of_no_use(self):
        self.assertIsNone(self.resized(8192))
        self.assertEqual((self.pool.open, descriptors()), (0, self.before + 2))

    def test_a_pipe_counts_what_it_holds(self):
        pipe = self.take()
        self.left.send(b"x" * 1000)
        self.assertEqual(pipe.fill(self.right.fileno()), 1000)
        self.assertEqual(pipe.held, 1000)
        self.assertLess(pipe.held, MOST_BYTES)
        self.assertEqual(pipe.drain(self.right.fileno()), 1000)
        self.assertEqual((pipe.held, self.left.recv(2000)), (0, b"x" * 1000))

    def test_ends_and_emptiness_are_told_apart(self):
        pipe = self.take()
        self.right.setblocking(False)
        with self.assertRaises(BlockingIOError):
            pipe.fill(self.right.fileno())
        self.left.close()
        self.assertEqual(pipe.fill(self.right.fileno()), 0)
