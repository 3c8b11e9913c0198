"""Both kinds of poll, on a pair of sockets."""

import socket

from twisted.trial.unittest import SynchronousTestCase

from gateway.bench.polling import READABLE, WRITABLE, PlainPoll, new_poll


class PollTests(SynchronousTestCase):
    """What the loops of load and far end rely on."""

    def setUp(self):
        self.near, self.far = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def test_both_tell_the_same(self):
        fd = self.near.fileno()
        for poll in (new_poll(), PlainPoll()):
            poll.register(fd, READABLE)
            self.assertEqual(poll.poll(0), [])
            self.far.send(b"x")
            self.assertEqual(poll.poll(60), [(fd, READABLE)])
            poll.modify(fd, READABLE | WRITABLE)
            self.assertEqual(poll.poll(60), [(fd, READABLE | WRITABLE)])
            poll.unregister(fd)
            self.assertEqual(poll.poll(0), [])
            self.near.recv(1)
